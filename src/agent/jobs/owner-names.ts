/** Of a job whose files belong to users and groups by name: what its target keeps of the names. */
import type { Clock } from "../../platform/clock.ts";
import { readJsonIfPresent, writeFileAtomic } from "../../platform/files.ts";
import { systemNameService } from "../../platform/name-service.ts";
import type { OwnerNames } from "../../protocol/stream-messages.ts";
import { OwnerMapper } from "../../replication/owner-mapper.ts";

/** `path`: a file that keeps the names which the source has told. */
export function openOwnerMapper(path: string, clock: Clock): OwnerMapper {
  return new OwnerMapper({
    clock,
    lookUp: systemNameService,
    names: load(path),
    save: (names) => writeFileAtomic(path, `${JSON.stringify(names)}\n`),
  });
}

/** Only this agent writes it; what is lost of it, the source tells again. */
function load(path: string): OwnerNames {
  const { users, groups } = (readJsonIfPresent(path) ?? {}) as Partial<OwnerNames>;
  return { users: users ?? [], groups: groups ?? [] };
}

/**
 * On the target, of a job whose files belong to users and groups by name: changes the source's
 * numbers in ops to those that the same names have here. This happens between the log, which holds
 * what the source sent, and the ring, from which the applier makes and compares the replica. So
 * making and comparing agree, and what an op needs is decided before the applier sees it.
 *
 * What has no counterpart here - a name that is unknown, a number that has no name on the source -
 * keeps its number, and is reported.
 */
import { StandinError } from "../base/errors.ts";
import { forEachRecord } from "../model/op-records.ts";
import type { OpView } from "../model/op.ts";
import { changeOwners, type OwnerKind } from "../model/owner-ids.ts";
import type { Clock } from "../platform/clock.ts";
import type { NameService } from "../platform/name-service.ts";
import {
  type NamesById,
  OWNER_NAMES_MAX,
  type OwnerNames,
  type UnknownOwners,
} from "../protocol/stream-messages.ts";

const REFRESH_MS = 600_000;
/** A user who is missing may be added at any moment. */
const REFRESH_UNKNOWN_MS = 5000;
const RETRY_MS = 1000;
const SHOWN_MAX = 20;
const NEVER: number = Number.NEGATIVE_INFINITY;
/** Neither has a name that could differ: root, and the number that stands for none. */
const FIXED: ReadonlySet<number> = new Set([0, 0xffffffff]);

interface Decided {
  /** Here; undefined: unknown, the source's number is kept. */
  readonly id: number | undefined;
  readonly askedAtMs: number;
}

export interface OwnerMapperOptions {
  readonly clock: Clock;
  readonly lookUp: NameService;
  /** What was known before. */
  readonly names: OwnerNames;
  /** Keeps the names: when it returns they survive a power cut. */
  readonly save: (names: OwnerNames) => void;
}

const KINDS: readonly OwnerKind[] = ["user", "group"];

export class OwnerMapper {
  readonly #options: OwnerMapperOptions;
  readonly #names: Readonly<Record<OwnerKind, Map<number, string | null>>>;
  readonly #decided = { user: new Map<number, Decided>(), group: new Map<number, Decided>() };
  #problem: string | undefined;
  /** Asked for often, and changed seldom. */
  #unknown: UnknownOwners | undefined;

  constructor(options: OwnerMapperOptions) {
    const { users, groups } = options.names;
    this.#options = options;
    this.#names = { user: new Map(users), group: new Map(groups) };
  }

  /** Why ops are not applied at the moment, in words. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** The source says what numbers are called, before it sends ops with them. */
  learn({ users, groups }: OwnerNames): void {
    const news = { user: this.#newsOf("user", users), group: this.#newsOf("group", groups) };
    if (news.user.length + news.group.length === 0) return;
    const { user, group } = this.#names;
    // First: what could not be saved is news again when it is told again.
    this.#options.save({
      users: [...new Map([...user, ...news.user])],
      groups: [...new Map([...group, ...news.group])],
    });
    for (const kind of KINDS) this.#take(kind, news[kind]);
    this.#unknown = undefined;
  }

  #newsOf(kind: OwnerKind, told: NamesById): NamesById {
    const names = this.#names[kind];
    const room = OWNER_NAMES_MAX - names.size;
    const added = told.filter(([id]) => !names.has(id)).slice(0, room);
    const changed = told.filter(([id, name]) => names.has(id) && names.get(id) !== name);
    return [...added, ...changed];
  }

  #take(kind: OwnerKind, news: NamesById): void {
    for (const [id, name] of news) {
      this.#names[kind].set(id, name);
      // It holds for ops that wait to be changed, and is looked up anew for those that follow.
      const decided = this.#decided[kind].get(id);
      if (decided !== undefined) this.#decided[kind].set(id, { ...decided, askedAtMs: NEVER });
    }
  }

  /**
   * Settles when it is decided what each number in the records becomes. While the name service does
   * not answer, what was decided before holds; for what is new it waits, until `signal` is aborted.
   */
  async prepare(payload: Uint8Array, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const due = this.#due(payload);
    while (!signal.aborted) {
      try {
        for (const kind of KINDS) if (due[kind].size > 0) await this.#decide(kind, due[kind]);
        this.#problem = undefined;
        return;
      } catch (error) {
        if (!(error instanceof StandinError)) throw error;
        if (KINDS.every((kind) => [...due[kind]].every((id) => this.#decided[kind].has(id))))
          return;
        this.#problem = `owners by name: ${error.message}. ${error.hint ?? ""}`.trim();
        await clock.sleep(RETRY_MS, signal);
      }
    }
  }

  /** Numbers in the records that are not decided, or were so long ago. */
  #due(payload: Uint8Array): Readonly<Record<OwnerKind, ReadonlySet<number>>> {
    const nowMs = this.#options.clock.monotonicMs();
    const due = { user: new Set<number>(), group: new Set<number>() };
    forEachRecord(payload, (op) => {
      changeOwners(op, (kind, id) => {
        const decided = this.#decided[kind].get(id);
        const keepsMs = decided?.id === undefined ? REFRESH_UNKNOWN_MS : REFRESH_MS;
        const isKept = decided !== undefined && nowMs - decided.askedAtMs < keepsMs;
        if (!isKept && !FIXED.has(id)) due[kind].add(id);
        return id;
      });
    });
    return due;
  }

  async #decide(kind: OwnerKind, ids: ReadonlySet<number>): Promise<void> {
    const names = this.#names[kind];
    const asked = new Set([...ids].flatMap((id) => lookedUpName(names.get(id))));
    const found = new Map<string, number>();
    if (asked.size > 0) {
      for (const { name, id } of await this.#options.lookUp(kind, [...asked])) found.set(name, id);
    }
    const askedAtMs = this.#options.clock.monotonicMs();
    for (const id of ids) {
      const name = names.get(id) ?? undefined;
      const here = name === undefined ? undefined : found.get(name);
      this.#decided[kind].set(id, { id: here, askedAtMs });
    }
    this.#unknown = undefined;
  }

  /** Changes an op for which {@link prepare} has settled. */
  change(op: OpView): void {
    changeOwners(op, (kind, id) => this.#decided[kind].get(id)?.id ?? id);
  }

  get unknown(): UnknownOwners {
    this.#unknown ??= this.#findUnknown();
    return this.#unknown;
  }

  #findUnknown(): UnknownOwners {
    const names: string[] = [];
    let count = 0;
    for (const kind of KINDS) {
      for (const [id, decided] of this.#decided[kind]) {
        if (decided.id !== undefined) continue;
        count += 1;
        if (names.length < SHOWN_MAX) names.push(shown(kind, id, this.#names[kind].get(id)));
      }
    }
    return { count, names };
  }
}

/** A name that is a number would be taken for one. */
function lookedUpName(name: string | null | undefined): string[] {
  return name === null || name === undefined || /^\d+$/.test(name) ? [] : [name];
}

function shown(kind: OwnerKind, id: number, name: string | null | undefined): string {
  return name === null || name === undefined ? `${kind} ${id} (nameless)` : `${kind} ${name}`;
}

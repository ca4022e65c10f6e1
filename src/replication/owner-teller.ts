/**
 * On the source: which names have to be told to a target before it gets an op. A number is looked
 * up when it is first seen, and told once on each connection.
 */
import { forEachRecord } from "../model/op-records.ts";
import { changeOwners, type OwnerKind } from "../model/owner-ids.ts";
import type { NameService } from "../platform/name-service.ts";
import { type NamesById, OWNER_NAMES_MAX, type OwnerNames } from "../protocol/stream-messages.ts";

/** Names change seldom, and a change is no reason to ask for each op. */
const REFRESH_MS = 600_000;
/** A number without a name is one that may get one. */
const REFRESH_NAMELESS_MS = 10_000;
/** In one message. */
const TOLD_AT_ONCE_MAX = 1000;

interface Known {
  readonly name: string | null;
  readonly askedAtMs: number;
}

const KINDS: readonly OwnerKind[] = ["user", "group"];

export class OwnerTeller {
  readonly #lookUp: NameService;
  readonly #known = { user: new Map<number, Known>(), group: new Map<number, Known>() };
  readonly #told = {
    user: new Map<number, string | null>(),
    group: new Map<number, string | null>(),
  };

  constructor(lookUp: NameService) {
    this.#lookUp = lookUp;
  }

  /** A new connection: nothing is told yet. */
  connected(): void {
    for (const kind of KINDS) this.#told[kind].clear();
  }

  /**
   * What has to be told before these records, in messages that are small enough. @throws
   * {StandinError} `NAME_SERVICE`
   */
  async untold(payload: Uint8Array, nowMs: number): Promise<OwnerNames[]> {
    const seen = { user: new Set<number>(), group: new Set<number>() };
    forEachRecord(payload, (op) => {
      changeOwners(op, (kind, id) => {
        seen[kind].add(id);
        return id;
      });
    });
    const users = await this.#untoldOf("user", seen.user, nowMs);
    const groups = await this.#untoldOf("group", seen.group, nowMs);
    const messages: OwnerNames[] = [];
    for (let at = 0; at < Math.max(users.length, groups.length); at += TOLD_AT_ONCE_MAX) {
      const end = at + TOLD_AT_ONCE_MAX;
      messages.push({ users: users.slice(at, end), groups: groups.slice(at, end) });
    }
    return messages;
  }

  async #untoldOf(kind: OwnerKind, ids: ReadonlySet<number>, nowMs: number): Promise<NamesById> {
    const known = this.#known[kind];
    const told = this.#told[kind];
    const asked = [...ids].filter((id) => this.#isToBeAsked(known, id, nowMs));
    if (asked.length > 0) await this.#ask(kind, asked, nowMs);
    const news: [number, string | null][] = [];
    for (const id of ids) {
      const found = known.get(id);
      if (found === undefined || told.get(id) === found.name) continue;
      told.set(id, found.name);
      news.push([id, found.name]);
    }
    return news;
  }

  /** While the name service does not answer, what is known holds. */
  async #ask(kind: OwnerKind, ids: readonly number[], nowMs: number): Promise<void> {
    const known = this.#known[kind];
    try {
      const names = new Map<number, string>();
      for (const { name, id } of await this.#lookUp(kind, ids)) names.set(id, name);
      for (const id of ids) known.set(id, { name: names.get(id) ?? null, askedAtMs: nowMs });
    } catch (error) {
      if (!ids.every((id) => known.has(id))) throw error;
    }
  }

  /** Root is root everywhere. */
  #isToBeAsked(known: ReadonlyMap<number, Known>, id: number, nowMs: number): boolean {
    if (id === 0) return false;
    const found = known.get(id);
    if (found === undefined) return known.size < OWNER_NAMES_MAX;
    const keepsMs = found.name === null ? REFRESH_NAMELESS_MS : REFRESH_MS;
    return nowMs - found.askedAtMs >= keepsMs;
  }
}

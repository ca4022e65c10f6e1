/**
 * Reads the ring from any LSN that is not released yet, for senders that are at different places,
 * and cuts frames of whole ops.
 */
import { alignUp } from "../base/bytes.ts";
import { OP_HEADER_BYTES, OpKind, OpView } from "../model/op.ts";
import type { OpRecords } from "../model/op-records.ts";
import { newPayload, type PayloadPool } from "../protocol/frame.ts";
import type { Ring } from "./ring.ts";

/** Ops that were looked for in one call, so that a call stays short. */
const LOOK_MAX = 65_536;

export class RingFramer {
  readonly #ring: Ring;
  readonly #void = new OpView(new ArrayBuffer(OP_HEADER_BYTES));
  #published: number;

  constructor(ring: Ring) {
    this.#ring = ring;
    this.#published = ring.applied;
  }

  /** The last LSN up to which every op can be read. */
  look(): number {
    const { head } = this.#ring;
    const end = Math.min(head, this.#published + LOOK_MAX);
    while (this.#published < end && this.#ring.isPublished(this.#published + 1)) {
      this.#published += 1;
    }
    return this.#published;
  }

  /**
   * Copies ops from `from` on, as many as fit `bytesMax`, but one at least. `from` must be beyond
   * what was released. `pool`: has the memory for it. Undefined when there is none yet.
   */
  cut(from: number, bytesMax: number, pool?: PayloadPool): OpRecords | undefined {
    let bytes = 0;
    let last = from - 1;
    for (; last < this.#published; last++) {
      const size = alignUp(this.#ring.locate(last + 1).size || OP_HEADER_BYTES, 8);
      if (bytes > 0 && bytes + size > bytesMax) break;
      bytes += size;
    }
    if (last < from) return undefined;
    const payload = pool?.take(bytes) ?? newPayload(bytes);
    let at = 0;
    for (let lsn = from; lsn <= last; lsn++) at += this.#copy(lsn, payload, at);
    return { firstLsn: from, lastLsn: last, payload, hasHeadroom: true };
  }

  #copy(lsn: number, into: Uint8Array, at: number): number {
    const { arena, start, size } = this.#ring.locate(lsn);
    if (size === 0) {
      // An LSN that a killed engine left open has no record.
      this.#void.start(OpKind.void, 0, 0);
      this.#void.lsn = lsn;
      into.set(this.#void.bytes, at);
      return OP_HEADER_BYTES;
    }
    const from = this.#ring.physical(arena, start);
    into.set(this.#ring.memory.bytes.subarray(from, from + size), at);
    return alignUp(size, 8);
  }
}

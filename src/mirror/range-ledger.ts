/**
 * Blocks that were found to differ and are still to be brought, node by node. A node is right when
 * its comparison has ended and the last of its ranges has come. Bounded: a node with too many is
 * brought whole from its first difference on.
 */

export interface Range {
  readonly node: number;
  readonly offset: number;
  readonly length: number;
}

/** Ranges of one node that are kept apart. */
const RANGES_MAX = 4096;
/** Neighbouring blocks are asked for in one, up to this. */
const RANGE_BYTES_MAX = 16 << 20;

interface NodeRanges {
  queued: Range[];
  /** Commands that are under way. */
  underWay: number;
  isCompared: boolean;
  isFailed: boolean;
}

export class RangeLedger {
  readonly #nodes = new Map<number, NodeRanges>();

  get size(): number {
    return this.#nodes.size;
  }

  add(range: Range): void {
    const ranges = this.#of(range.node);
    const last = ranges.queued.at(-1);
    const joins =
      last !== undefined &&
      last.offset + last.length === range.offset &&
      (last.length + range.length <= RANGE_BYTES_MAX || ranges.queued.length >= RANGES_MAX);
    if (joins) ranges.queued[ranges.queued.length - 1] = joined(last, range);
    else if (ranges.queued.length >= RANGES_MAX) ranges.queued = [spanning(ranges.queued, range)];
    else ranges.queued.push(range);
  }

  #of(node: number): NodeRanges {
    let ranges = this.#nodes.get(node);
    if (ranges === undefined) {
      ranges = { queued: [], underWay: 0, isCompared: false, isFailed: false };
      this.#nodes.set(node, ranges);
    }
    return ranges;
  }

  /** Takes the next range to ask for. */
  take(): Range | undefined {
    for (const ranges of this.#nodes.values()) {
      const range = ranges.queued.shift();
      if (range === undefined) continue;
      ranges.underWay += 1;
      return range;
    }
    return undefined;
  }

  /** A range has come. Returns true when the node is right now. */
  came(node: number, isWhole: boolean): boolean {
    const ranges = this.#nodes.get(node);
    if (ranges === undefined) return false;
    ranges.underWay -= 1;
    ranges.isFailed ||= !isWhole;
    return this.#isRight(node, ranges);
  }

  /** The comparison of the node has ended. Returns true when it is right now. */
  compared(node: number): boolean {
    const ranges = this.#nodes.get(node);
    if (ranges === undefined) return true;
    ranges.isCompared = true;
    return this.#isRight(node, ranges);
  }

  #isRight(node: number, ranges: NodeRanges): boolean {
    if (!ranges.isCompared || ranges.underWay > 0 || ranges.queued.length > 0) return false;
    this.#nodes.delete(node);
    return !ranges.isFailed;
  }

  isOpen(node: number): boolean {
    return this.#nodes.has(node);
  }

  forget(node: number): void {
    this.#nodes.delete(node);
  }

  clear(): void {
    this.#nodes.clear();
  }
}

function joined(first: Range, second: Range): Range {
  return { ...first, length: first.length + second.length };
}

/** One range over all of them and what lies between. */
function spanning(ranges: readonly Range[], more: Range): Range {
  const offset = Math.min(more.offset, ...ranges.map((range) => range.offset));
  const end = Math.max(more.offset + more.length, ...ranges.map((r) => r.offset + r.length));
  return { node: more.node, offset, length: end - offset };
}

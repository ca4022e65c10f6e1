/** The entries written last, kept in memory until those have read them who are close behind. */
import type { LogEntry } from "./segment-format.ts";
import type { Segment } from "./segment.ts";

export interface RecentEntry {
  readonly entry: LogEntry;
  readonly segment: Segment;
  /** Where it ends in the segment's file. */
  readonly end: number;
}

/** What an entry costs besides its payload. */
const OVERHEAD_BYTES = 256;

export class RecentEntries {
  readonly #bytesMax: number;
  #entries: RecentEntry[] = [];
  #start = 0;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** To be called for every entry, in order: what is kept has no holes. */
  push(recent: RecentEntry): void {
    this.#entries.push(recent);
    this.#bytes += recent.entry.payload.length + OVERHEAD_BYTES;
    while (this.#bytes > this.#bytesMax) this.#forgetOldest();
  }

  /** Every reader has done with what is before `lsn`; `onDone` is told of each entry of it. */
  forgetBelow(lsn: number, onDone?: (entry: LogEntry) => void): void {
    while ((this.#entries[this.#start]?.entry.lastLsn ?? lsn) < lsn) {
      const entry = this.#forgetOldest();
      onDone?.(entry);
    }
  }

  #forgetOldest(): LogEntry {
    const oldest = this.#entries[this.#start] as RecentEntry;
    this.#start++;
    this.#bytes -= oldest.entry.payload.length + OVERHEAD_BYTES;
    if (this.#start > 64 && this.#start > this.#entries.length / 2) {
      this.#entries = this.#entries.slice(this.#start);
      this.#start = 0;
    }
    return oldest.entry;
  }

  /** The first entry that holds `lsn` or a later one, undefined when that cannot be told. */
  find(lsn: number): RecentEntry | undefined {
    const entries = this.#entries;
    const first = entries[this.#start];
    if (first === undefined || first.entry.firstLsn > lsn) return undefined;
    let low = this.#start;
    let high = entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((entries[middle] as RecentEntry).entry.lastLsn < lsn) low = middle + 1;
      else high = middle;
    }
    return entries[low];
  }
}

/** Entries whose bytes follow from their LSN, and how a log is looked at as a whole. */
import type { SegmentLog } from "../../src/journal/segment-log.ts";
import type { LogEntry } from "../../src/journal/segment-format.ts";
import type { ReadUntil } from "../../src/journal/log-reader.ts";
import { PAGE_BYTES } from "../../src/base/bytes.ts";
import { Prng } from "../../src/base/prng.ts";
import { MemoryLogFiles } from "../../src/platform/memory-log-files.ts";
import { pageMemory } from "../../src/platform/page-memory.ts";

export function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

export function memoryFiles(): MemoryLogFiles {
  return new MemoryLogFiles(new Prng(1));
}

/** 16 bytes. */
export function streamId(number: number): Uint8Array {
  return new Uint8Array(16).fill(number);
}

/** `bytes` undefined: a length that follows from the LSN as well, a multiple of 8 mostly. */
export function payloadOf(lsn: number, bytes?: number): Uint8Array {
  const prng = new Prng(lsn);
  const length = prng.chance(0.2) ? 1 + prng.int(900) : 8 * (1 + prng.int(20));
  return prng.bytes(bytes ?? length);
}

/** Appends `count` entries of one LSN each behind the last. */
export function appendSome(log: SegmentLog, count: number, bytes?: number): void {
  for (let index = 0; index < count; index++) {
    const lsn = log.appendedLsn + 1;
    log.append({ firstLsn: lsn, lastLsn: lsn, payload: payloadOf(lsn, bytes) });
  }
}

/** One entry behind the last, with its payload in pages of its own. */
export function appendInPages(log: SegmentLog, bytes?: number): void {
  const lsn = log.appendedLsn + 1;
  const content = payloadOf(lsn, bytes);
  const pages = pageMemory(content.length + 3 * PAGE_BYTES).fill(0xaa);
  pages.set(content, PAGE_BYTES);
  const payload = pages.subarray(PAGE_BYTES, PAGE_BYTES + content.length);
  log.append({ firstLsn: lsn, lastLsn: lsn, payload, pages });
}

export async function readAll(
  log: SegmentLog,
  fromLsn = log.firstLsn,
  until: ReadUntil = "written",
): Promise<LogEntry[]> {
  const reader = log.reader(fromLsn, until);
  const entries: LogEntry[] = [];
  for (;;) {
    const entry = await reader.next();
    if (entry === undefined) break;
    entries.push(entry);
  }
  await reader.close();
  return entries;
}

export async function lsnsOf(log: SegmentLog, fromLsn?: number): Promise<number[]> {
  return (await readAll(log, fromLsn)).map(({ firstLsn }) => firstLsn);
}

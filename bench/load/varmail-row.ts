/** A mail server's files, as filebench's varmail has them: many small ones, flushed, by workers. */
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { Worker } from "node:worker_threads";

import { noise, settle } from "./calls.ts";
import type { Load, LoadResult, LoadRow } from "./load-request.ts";

const FILES = 1000;
/** One in five is missing at first. */
const MISSING_EACH = 5;
const FILE_BYTES = 16 << 10;

export interface VarmailOrder {
  readonly folder: string;
  readonly files: number;
  readonly seconds: number;
  readonly seed: number;
  /** i32: 0 until all workers are ready. */
  readonly gate: SharedArrayBuffer;
}

async function varmail({ workFolder, folderFd, seconds, workers }: Load): Promise<LoadResult> {
  const content = noise(FILE_BYTES).bytes;
  for (let file = 0; file < FILES; file++) {
    if (file % MISSING_EACH === MISSING_EACH - 1) continue;
    writeFileSync(`${workFolder}/m${String(file).padStart(8, "0")}`, content);
  }
  settle(folderFd);
  const gate = new SharedArrayBuffer(4);
  const threads = Array.from({ length: workers }, (_, index) => {
    const order: VarmailOrder = {
      folder: workFolder,
      files: FILES,
      seconds,
      seed: index * 7919 + 1,
      gate,
    };
    return new Worker(new URL("./varmail-worker.ts", import.meta.url), { workerData: order });
  });
  await Promise.all(threads.map((thread) => once(thread, "message")));
  const counts = threads.map((thread) => once(thread, "message"));
  const started = performance.now();
  Atomics.store(new Int32Array(gate), 0, 1);
  Atomics.notify(new Int32Array(gate), 0);
  const operations = (await Promise.all(counts)).reduce((sum, [count]) => sum + Number(count), 0);
  return { operations, seconds: (performance.now() - started) / 1000 };
}

export const MAIL_ROWS: Readonly<Record<string, LoadRow>> = { varmail };

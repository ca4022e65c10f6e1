/**
 * A worker that serves clients who each write and then sync, over and over, on files that are
 * counters: one tells how often a file was written, one how many of these writes are durable.
 */
import { parentPort, workerData } from "node:worker_threads";
import { LockTable } from "../../src/capture/lock-table.ts";
import { ANSWERED_LATER, SyncAhead, type SyncAheadShared } from "../../src/capture/sync-ahead.ts";
import type { Request } from "../../src/fuse/message.ts";
import { Prng } from "../../src/base/prng.ts";

const { syncAhead, locks, state, worker, workers, rounds } = workerData as {
  syncAhead: SyncAheadShared;
  locks: SharedArrayBuffer;
  state: SharedArrayBuffer;
  worker: number;
  workers: number;
  rounds: number;
};

/** Inode number of each client's file. */
const FILES = [7, 8, 8];
const WANTS_WRITE = 0;
const WANTS_SYNC = 1;
const IS_SERVED = 2;

const words = new Int32Array(state);
/** Per inode number. */
const WRITTEN = 0;
const DURABLE = 16;
/** Per client. */
const WANTS = 32;
const NEEDS = 48;
/** Workers that have begun. */
const BEGUN = 64;
/** FSYNCs that another worker answered. */
const LATER = 65;
/** It goes on for that long until one was. */
const ROUNDS_MAX = 20_000_000;

const table = new LockTable(locks);
const prng = new Prng(worker + 1);
let torn = 0;
let ahead = 0;

function linger(): void {
  for (let i = prng.int(300); i > 0; i--) Atomics.load(words, 0);
}

function sync(ino: number): number {
  const written = Atomics.load(words, WRITTEN + ino);
  linger();
  for (;;) {
    const durable = Atomics.load(words, DURABLE + ino);
    if (durable >= written) return 0;
    Atomics.compareExchange(words, DURABLE + ino, durable, written);
  }
}

function answerSync(client: number): void {
  const ino = FILES[client] as number;
  const needed = words[NEEDS + client] as number;
  if (Atomics.load(words, DURABLE + ino) < needed) torn += 1;
  Atomics.store(words, WANTS + client, WANTS_WRITE);
}

const syncs = new SyncAhead({
  shared: syncAhead,
  worker,
  sync: (ino) => {
    ahead += 1;
    return sync(ino);
  },
  answer: answerSync,
});

function write(client: number): void {
  const ino = FILES[client] as number;
  table.lock(ino);
  linger();
  words[NEEDS + client] = Atomics.add(words, WRITTEN + ino, 1) + 1;
  const epoch = table.epoch(ino);
  table.unlock(ino);
  const isPlanned = syncs.wrote(ino, epoch);
  Atomics.store(words, WANTS + client, WANTS_SYNC);
  if (isPlanned) syncs.run(ino);
}

function serveSync(client: number): void {
  const ino = FILES[client] as number;
  const request = { uniqueLow: client, uniqueHigh: 0, resent: false } as Request;
  const taken = syncs.take(request, { ino, epoch: table.epoch(ino), dataOnly: true });
  if (taken === ANSWERED_LATER) Atomics.add(words, LATER, 1);
  else {
    if (taken === undefined) sync(ino);
    answerSync(client);
  }
}

function isEnough(round: number): boolean {
  return round >= ROUNDS_MAX || (round >= rounds && Atomics.load(words, LATER) > 0);
}

// All at the same time.
Atomics.add(words, BEGUN, 1);
while (Atomics.load(words, BEGUN) < workers) Atomics.wait(words, BEGUN, 0, 1);
for (let round = 0; !isEnough(round); round++) {
  const client = prng.int(FILES.length);
  const wants = Atomics.load(words, WANTS + client);
  if (wants === IS_SERVED) continue;
  if (Atomics.compareExchange(words, WANTS + client, wants, IS_SERVED) !== wants) continue;
  if (wants === WANTS_WRITE) write(client);
  else serveSync(client);
}
parentPort?.postMessage({ torn, later: Atomics.load(words, LATER), ahead });

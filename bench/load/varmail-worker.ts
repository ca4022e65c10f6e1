/**
 * One worker of the varmail row. A loop deletes a file; creates one, appends and flushes it; reads
 * one whole, appends and flushes it; reads one whole. Each step counts as an operation.
 */
import { closeSync, fstatSync, openSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";

import { ENOENT } from "../../src/platform/errno.ts";
import {
  close,
  fsync,
  ftruncate,
  O_CREAT,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
} from "../../src/platform/libc.ts";
import {
  allocateNative,
  openatAt,
  readAt,
  unlinkatAt,
  writeAt,
} from "../../src/platform/native.ts";
import { must, Names, noise, randomNumbers } from "./calls.ts";
import type { VarmailOrder } from "./varmail-row.ts";

const O_APPEND = 0o2000;
const APPEND_BYTES_MIN = 1024;
const APPEND_BYTES_SPAN = 15 * 1024;
/** A file that grew beyond this starts anew. */
const FILE_BYTES_MAX = 512 << 10;
const READ_BYTES = 1 << 20;

const order = workerData as VarmailOrder;
const random = randomNumbers(order.seed * 2_654_435_761);
const names = new Names("m", 1);
const content = noise(16 << 10).address;
const into = allocateNative(READ_BYTES).address;
const folderFd = openSync(order.folder, "r");

function anyName(): number {
  return names.write(random() % order.files);
}

/** Undefined when there is no such file, which is no error here. */
function openAny(flags: number): number | undefined {
  const fd = openatAt(folderFd, anyName(), flags, 0o644);
  return fd === -ENOENT ? undefined : must(fd, "open");
}

function append(fd: number): void {
  const length = APPEND_BYTES_MIN + (random() % APPEND_BYTES_SPAN);
  if (must(writeAt(fd, content, length), "append") !== length) throw new Error("append");
  must(fsync(fd), "fsync");
}

function readWhole(fd: number): void {
  while (must(readAt(fd, into, READ_BYTES), "read") > 0);
}

function deleteOne(): number {
  const result = unlinkatAt(folderFd, anyName(), 0);
  if (result === -ENOENT) return 0;
  must(result, "unlink");
  return 1;
}

/** Open, write, flush, close. */
function deliver(): number {
  const fd = must(openatAt(folderFd, anyName(), O_CREAT | O_WRONLY | O_APPEND, 0o644), "create");
  if (fstatSync(fd).size > FILE_BYTES_MAX) must(ftruncate(fd, 0), "ftruncate");
  append(fd);
  close(fd);
  return 4;
}

/** Open, read, write, flush, close. */
function readAndAppend(): number {
  const fd = openAny(O_RDWR | O_APPEND);
  if (fd === undefined) return 0;
  readWhole(fd);
  append(fd);
  close(fd);
  return 5;
}

/** Open, read, close. */
function readOne(): number {
  const fd = openAny(O_RDONLY);
  if (fd === undefined) return 0;
  readWhole(fd);
  close(fd);
  return 3;
}

parentPort?.postMessage("ready");
const gate = new Int32Array(order.gate);
while (Atomics.load(gate, 0) === 0) Atomics.wait(gate, 0, 0);
const until = performance.now() + order.seconds * 1000;
let operations = 0;
while (performance.now() < until) {
  operations += deleteOne() + deliver() + readAndAppend() + readOne();
}
closeSync(folderFd);
parentPort?.postMessage(operations);

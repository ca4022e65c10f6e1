/** Rows on a tree of many small files that {@link buildTree} made; they work in the tree itself. */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";

import { AT_FDCWD, close, O_CREAT, O_RDONLY, O_WRONLY } from "../../src/platform/libc.ts";
import { allocateNative, openatAt, pwriteAt, statxAt } from "../../src/platform/native.ts";
import { must, noise, randomNumbers } from "./calls.ts";
import type { Load, LoadResult, LoadRow } from "./load-request.ts";

export const FILES_PER_FOLDER = 1000;

export function folderName(folder: number): string {
  return `folder-${String(folder).padStart(4, "0")}`;
}

export function treeFile(root: string, file: number): string {
  return `${root}/${folderName(Math.floor(file / FILES_PER_FOLDER))}/file-${file}`;
}

/** `entries` files of `fileBytes` each, all different. */
function buildTree({ folder, entries, fileBytes }: Load): LoadResult {
  const started = performance.now();
  const content = Buffer.from(noise(Math.max(fileBytes, 16)).bytes.subarray(0, fileBytes));
  for (let file = 0; file < entries; file++) {
    if (file % FILES_PER_FOLDER === 0) {
      mkdirSync(`${folder}/${folderName(file / FILES_PER_FOLDER)}`);
    }
    if (fileBytes >= 4) content.writeUInt32LE(file);
    writeFileSync(treeFile(folder, file), content);
  }
  return { operations: entries, seconds: (performance.now() - started) / 1000 };
}

/** Lists every folder and asks for the attributes of every file, as `ls -lR` does. */
function walkTree({ folder, entries }: Load): LoadResult {
  const started = performance.now();
  const path = allocateNative(4096);
  const out = allocateNative(256).address;
  const encoder = new TextEncoder();
  let found = 0;
  for (const name of readdirSync(folder)) {
    if (!name.startsWith("folder-")) continue;
    for (const file of readdirSync(`${folder}/${name}`)) {
      const { written } = encoder.encodeInto(`${folder}/${name}/${file}\0`, path.bytes);
      if (written === 0) throw new Error("a path is too long");
      must(statxAt(AT_FDCWD, path.address, 0, 0x7ff, out), "stat");
      found += 1;
    }
  }
  if (found < entries) throw new Error(`${found} files instead of ${entries}`);
  return { operations: found, seconds: (performance.now() - started) / 1000 };
}

const TURN_MS = 5;
const WRITE_BYTES = 4096;

/**
 * Overwrites the first 4 KiB of random files of the tree, one more operation in ten being a new
 * file. At `pace` operations a second.
 */
function updateTree({ folder, workFolder, entries, seconds, pace }: Load): LoadResult {
  const random = randomNumbers();
  const data = noise(WRITE_BYTES).address;
  const path = allocateNative(4096);
  const encoder = new TextEncoder();
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  const started = performance.now();
  let operations = 0;
  for (;;) {
    const elapsedMs = performance.now() - started;
    if (elapsedMs >= seconds * 1000) return { operations, seconds: elapsedMs / 1000 };
    if (pace > 0 && operations >= (elapsedMs * pace) / 1000) {
      Atomics.wait(sleeper, 0, 0, TURN_MS);
      continue;
    }
    const isNew = operations % 10 === 9;
    const name = isNew ? `${workFolder}/n${operations}` : treeFile(folder, random() % entries);
    encoder.encodeInto(`${name}\0`, path.bytes);
    const flags = O_WRONLY | (isNew ? O_CREAT : O_RDONLY);
    const fd = must(openatAt(AT_FDCWD, path.address, flags, 0o644), "open");
    must(pwriteAt(fd, data, WRITE_BYTES, 0), "pwrite");
    close(fd);
    operations += 1;
  }
}

export const TREE_ROWS: Readonly<Record<string, LoadRow>> = {
  "build-tree": buildTree,
  "walk-tree": walkTree,
  "update-tree": updateTree,
};

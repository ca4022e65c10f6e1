/** What each contender is asked to do while it runs, and what it took. */
import { randomBytes } from "node:crypto";
import { closeSync, openSync, readSync, renameSync, statSync, writeSync } from "node:fs";

import { systemClock } from "../../../src/platform/clock.ts";
import { runCommand } from "../run-command.ts";
import { Manifest } from "./manifest.ts";
import type { Stage } from "./stage.ts";

const EQUAL_MS = 600_000;
const LAG_EVERY_MS = 200;
const LAG_POLL_MS = 2;
const LAG_FILE_BYTES = 4096;
const LOAD_EVERY_MS = 10;
const LOAD_FILE_BYTES = 8192;
const LOG_LINE_BYTES = 200;
const BYTE_POLL_MS = 5;

/** A running contender, and what its copy must hold. */
export interface Scene {
  readonly stage: Stage;
  readonly source: string;
  readonly copy: string;
  readonly manifest: Manifest;
}

export type Figures = Readonly<Record<string, number>>;

let made = 0;

/** A name that was not there before: steps may be repeated. */
function newName(kind: string): string {
  made += 1;
  return `${kind}-${made}`;
}

/** Time from the end of a file's writing until it is whole on the copy, polled by its name. */
export async function measureLag({ copy, manifest }: Scene, seconds: number) {
  const folder = newName("lag");
  manifest.addFolder(folder);
  const count = Math.round((seconds * 1000) / LAG_EVERY_MS);
  const pending = new Map<string, { writtenMs: number; content: Buffer }>();
  const lags: number[] = [];
  const startedMs = performance.now();
  for (let written = 0; written < count || pending.size > 0; ) {
    if (performance.now() - startedMs > seconds * 1000 + EQUAL_MS) throw new Error("files missing");
    if (written < count && performance.now() >= startedMs + written * LAG_EVERY_MS) {
      const name = `${folder}/file-${written++}`;
      const content = randomBytes(LAG_FILE_BYTES);
      manifest.addFile(name, content);
      pending.set(name, { writtenMs: performance.now(), content });
    }
    for (const [name, { writtenMs, content }] of pending) {
      if (!holds(`${copy}/${name}`, content)) continue;
      lags.push(performance.now() - writtenMs);
      pending.delete(name);
    }
    await systemClock.sleep(LAG_POLL_MS);
  }
  const sorted = lags.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.ceil(share * sorted.length) - 1] as number;
  return { p50Seconds: at(0.5) / 1000, p99Seconds: at(0.99) / 1000, maxSeconds: at(1) / 1000 };
}

function holds(path: string, content: Buffer): boolean {
  if (statSync(path, { throwIfNoEntry: false })?.size !== content.length) return false;
  return readPiece(path, 0, content.length)?.equals(content) === true;
}

/** Undefined when the file is not there at the moment. */
function readPiece(path: string, position: number, length: number): Buffer | undefined {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return undefined;
  }
  const piece = Buffer.alloc(length);
  const count = readSync(fd, piece, 0, length, position);
  closeSync(fd);
  return piece.subarray(0, count);
}

/** New files at a steady pace, and lines to a log. */
export async function measureLoad(
  scene: Scene,
  seconds: number,
  filesPerSecond: number,
): Promise<Figures> {
  const { source, manifest } = scene;
  const folder = newName("load");
  return await measure(scene, async () => {
    const startedMs = performance.now();
    manifest.addFolder(folder);
    const lines: Buffer[] = [];
    const log = openSync(`${source}/${folder}/log`, "a");
    for (let written = 0; written < seconds * filesPerSecond; ) {
      const due = (performance.now() - startedMs) * (filesPerSecond / 1000);
      for (; written < due && written < seconds * filesPerSecond; written++) {
        manifest.addFile(`${folder}/file-${written}`, randomBytes(LOAD_FILE_BYTES));
        const line = Buffer.from(`${written} `.padEnd(LOG_LINE_BYTES - 1, ".").concat("\n"));
        writeSync(log, line);
        lines.push(line);
      }
      await systemClock.sleep(LOAD_EVERY_MS);
    }
    closeSync(log);
    manifest.note(`${folder}/log`, Buffer.concat(lines));
  });
}

/** `folder` gets another name. */
export async function measureRename(scene: Scene, folder: string, to: string): Promise<Figures> {
  const { source, manifest } = scene;
  return await measure(scene, async () => {
    renameSync(`${source}/${folder}`, `${source}/${to}`);
    manifest.renamed(folder, to);
  });
}

/** What a change took: time from its end until the copy is equal, and CPU and bytes until then. */
async function measure(scene: Scene, change: () => Promise<void>): Promise<Figures> {
  const { stage, copy, manifest } = scene;
  const before = { ...stage.traffic(), cpu: stage.cpuSeconds(), ms: performance.now() };
  await change();
  const changedMs = performance.now();
  const equalMs = await manifest.untilEqual(copy, EQUAL_MS);
  return figuresSince(stage, before, changedMs, equalMs);
}

interface Before {
  readonly forth: number;
  readonly back: number;
  readonly cpu: number;
  readonly ms: number;
}

function figuresSince(stage: Stage, before: Before, changedMs: number, equalMs: number): Figures {
  const cpuSeconds = stage.cpuSeconds() - before.cpu;
  const { forth, back } = stage.traffic();
  return {
    changeSeconds: (changedMs - before.ms) / 1000,
    equalSeconds: (equalMs - changedMs) / 1000,
    cpuSeconds,
    forthBytes: forth - before.forth,
    backBytes: back - before.back,
  };
}

/** One byte of a large file is another one. */
export async function measureByte(
  { stage, source, copy }: Omit<Scene, "manifest">,
  file: string,
  position: number,
): Promise<Figures> {
  const [byte = 0] = readPiece(`${source}/${file}`, position, 1) ?? [];
  const before = { ...stage.traffic(), cpu: stage.cpuSeconds(), ms: performance.now() };
  const changed = 255 - byte;
  const fd = openSync(`${source}/${file}`, "r+");
  writeSync(fd, Buffer.of(changed), 0, 1, position);
  closeSync(fd);
  const changedMs = performance.now();
  while (readPiece(`${copy}/${file}`, position, 1)?.[0] !== changed) {
    if (performance.now() - changedMs > EQUAL_MS) throw new Error("the byte does not come");
    await systemClock.sleep(BYTE_POLL_MS);
  }
  const figures = figuresSince(stage, before, changedMs, performance.now());
  await checkSame(`${source}/${file}`, `${copy}/${file}`);
  return figures;
}

/** Until the copy has the file as it is. */
export async function untilSame(source: string, copy: string, file: string): Promise<void> {
  const deadline = performance.now() + EQUAL_MS;
  const path = `${copy}/${file}`;
  const { size } = statSync(`${source}/${file}`);
  const last = readPiece(`${source}/${file}`, size - 1, 1);
  for (;;) {
    const isLong = statSync(path, { throwIfNoEntry: false })?.size === size;
    // The end comes last, or under another name until all is there.
    if (isLong && last !== undefined && readPiece(path, size - 1, 1)?.equals(last) === true) {
      const { code } = await runCommand("cmp", [`${source}/${file}`, path], {
        accept: [0, 1],
        limitMs: EQUAL_MS,
      });
      if (code === 0) return;
    }
    if (performance.now() > deadline) throw new Error(`no ${file} on the copy`);
    await systemClock.sleep(500);
  }
}

async function checkSame(path: string, copy: string): Promise<void> {
  await runCommand("cmp", [path, copy], { limitMs: EQUAL_MS });
}

/** A tree of folders and small files, the manifest of which is kept. */
export function makeFiles(source: string, folder: string, count: number): Manifest {
  const manifest = new Manifest(source);
  manifest.addFolder(folder);
  for (let i = 0; i < count; i++) {
    if (i % 1000 === 0) manifest.addFolder(`${folder}/part-${i / 1000}`);
    const name = `${folder}/part-${Math.floor(i / 1000)}/file-${i}`;
    manifest.addFile(name, randomBytes(LOAD_FILE_BYTES));
  }
  return manifest;
}

export function makeLarge(path: string, bytes: number): Promise<unknown> {
  const size = ["bs=1M", `count=${Math.ceil(bytes / (1 << 20))}`, "iflag=fullblock"];
  return runCommand("dd", ["if=/dev/urandom", `of=${path}`, ...size], { limitMs: EQUAL_MS });
}

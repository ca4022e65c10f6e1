/**
 * An application of the prefix test on a mounted image: writers that append records to a log or put
 * them into files of their own, fsync, and then note them outside; and one that makes and removes
 * files without ever syncing. Runs until it is killed.
 */
import { randomInt } from "node:crypto";
import { appendFile, mkdir, open, readdir, rename, rm, writeFile } from "node:fs/promises";

import { NoteFile, recordText } from "./numbered-records.ts";

const LIFETIME_MS_MAX = 100_000;
const SEGMENT_RECORDS = 100;
const UNSYNCED_FILES = 40;
const UNSYNCED_BYTES_MAX = 60_000;

export const RECORD_BYTES_MAX = 3000;

/** Every fifth record is a file. */
export function isFile(number: number): boolean {
  return number % 5 === 0;
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path);
  await folder.sync();
  await folder.close();
}

async function writeRecords(folder: string, writer: string, notes: NoteFile): Promise<void> {
  const home = `${folder}/${writer}`;
  await mkdir(home);
  await syncFolder(folder);
  let log = await open(`${home}/0.log`, "a");
  await syncFolder(home);
  for (let number = 1; performance.now() < LIFETIME_MS_MAX; number++) {
    const text = recordText(writer, number, RECORD_BYTES_MAX);
    if (isFile(number)) await writeRecordFile(home, number, text);
    else {
      await log.write(`${text}\n`);
      await log.datasync();
    }
    notes.note(number);
    if (number % SEGMENT_RECORDS === 0) {
      await log.close();
      log = await open(`${home}/${number}.log`, "a");
      await syncFolder(home);
    }
  }
}

async function writeRecordFile(home: string, number: number, text: string): Promise<void> {
  const file = await open(`${home}/new`, "w");
  await file.write(text);
  await file.sync();
  await file.close();
  await rename(`${home}/new`, `${home}/${number}.record`);
  await syncFolder(home);
}

async function churn(folder: string): Promise<void> {
  await mkdir(`${folder}/unsynced`);
  for (let at = 0; performance.now() < LIFETIME_MS_MAX; at++) {
    const path = `${folder}/unsynced/${at % UNSYNCED_FILES}`;
    await writeFile(`${path}.new`, Buffer.alloc(randomInt(UNSYNCED_BYTES_MAX), "u"));
    await appendFile(`${path}.new`, "end");
    await rename(`${path}.new`, path);
    if (at % 3 === 0) await rm(path);
  }
}

/** Cuts before this one, while the others write: freeing blocks is part of the load. */
async function removeOthers(root: string, name: string): Promise<void> {
  for (const other of await readdir(root)) {
    if (other !== name && other !== "lost+found") await rm(`${root}/${other}`, { recursive: true });
  }
}

async function main(root: string, name: string, noteFolder: string, writers: string[]) {
  const folder = `${root}/${name}`;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  await syncFolder(root);
  await Promise.all([
    removeOthers(root, name),
    churn(folder),
    ...writers.map((writer) =>
      writeRecords(folder, writer, new NoteFile(`${noteFolder}/${writer}.notes`)),
    ),
  ]);
}

if (import.meta.main) {
  const [root = "", name = "", noteFolder = "", ...writers] = process.argv.slice(2);
  await main(root, name, noteFolder, writers);
}

/** An ext4 file system in one protected file, mounted by loop, for the prefix test. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { isFile, RECORD_BYTES_MAX } from "./image-writer.ts";
import { LoadProcess } from "./load-process.ts";
import { LoopMount } from "./loop-mount.ts";
import { lastWithoutGap, type LastNumbers, NoteFile, recordText } from "./numbered-records.ts";
import { type PrefixSubject, untilAllNoted } from "./prefix-stage.ts";
import { killIfThere } from "./process-tree.ts";
import { runCommand } from "./run-command.ts";

const WRITERS = ["carl", "dora", "emil"];
const IMAGE = "disk.img";
const IMAGE_SIZE = "96M";

export class ImageSubject implements PrefixSubject {
  readonly #folder: string;
  readonly #live: LoopMount;
  readonly #check: LoopMount;
  readonly #notes: ReadonlyMap<string, NoteFile>;
  #load: LoadProcess | undefined;
  #cutName = "";

  constructor(folder: string) {
    this.#folder = folder;
    this.#live = new LoopMount(`${folder}/live`);
    this.#check = new LoopMount(`${folder}/check`);
    this.#notes = new Map(
      WRITERS.map((writer) => [writer, new NoteFile(`${folder}/${writer}.notes`)]),
    );
  }

  async prepare(source: string): Promise<void> {
    const image = `${source}/${IMAGE}`;
    const now = "lazy_itable_init=0,lazy_journal_init=0";
    await runCommand("truncate", "--size", IMAGE_SIZE, image);
    await runCommand("mkfs.ext4", "-q", "-E", now, image);
  }

  async startLoad(source: string, cut: number): Promise<void> {
    // Discarding makes the loop device punch holes into the protected file.
    await this.#live.mount(`${source}/${IMAGE}`, "discard");
    for (const notes of this.#notes.values()) notes.begin();
    this.#cutName = `cut-${cut}`;
    const script = join(import.meta.dirname, "image-writer.ts");
    const args = [script, this.#live.path, this.#cutName, this.#folder, ...WRITERS];
    const logFile = `${this.#folder}/image-writer.log`;
    this.#load = new LoadProcess(process.execPath, args, { logFile });
    await untilAllNoted(this);
  }

  noted(): LastNumbers {
    return new Map([...this.#notes].map(([writer, notes]) => [writer, notes.last()]));
  }

  pids(): number[] {
    return this.#load === undefined ? [] : [this.#load.pid()];
  }

  afterKill(): Promise<void> {
    return this.#live.tearDown();
  }

  async inspect(copy: string): Promise<LastNumbers> {
    const image = `${copy}/${IMAGE}`;
    await this.#check.mount(image, "noatime"); // replays the journal
    const found = new Map(WRITERS.map((writer) => [writer, this.#lastRecord(writer)]));
    await this.#check.unmount();
    await runCommand("e2fsck", "-fn", image);
    return found;
  }

  #lastRecord(writer: string): number {
    const home = `${this.#check.path}/${this.#cutName}/${writer}`;
    const names = readdirSync(home);
    const files = names.filter((name) => name.endsWith(".record"));
    for (const name of files) {
      const text = recordText(writer, Number.parseInt(name, 10), RECORD_BYTES_MAX);
      assert.equal(readFileSync(`${home}/${name}`, "utf8"), text, `${writer}/${name}`);
    }
    const logs = names
      .filter((name) => name.endsWith(".log"))
      .toSorted((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
    const logged = logs.flatMap((name, at) =>
      recordsIn(`${home}/${name}`, writer, at === logs.length - 1),
    );
    return lastWithoutGap(writer, [...files.map((name) => Number.parseInt(name, 10)), ...logged]);
  }

  async clear(): Promise<void> {
    const pid = this.#load?.child.pid;
    if (pid !== undefined) killIfThere(pid);
    await this.#check.tearDown();
    await this.#live.tearDown();
  }
}

/** The numbers in a log. Behind the last durable record of the last log anything may be. */
function recordsIn(path: string, writer: string, isLastLog: boolean): number[] {
  const numbers: number[] = [];
  const lines = readFileSync(path, "utf8").split("\n");
  for (const [at, line] of lines.entries()) {
    const number = Number(line.split(" ")[1]);
    const isWhole = number > 0 && line === recordText(writer, number, RECORD_BYTES_MAX);
    const isRest = at === lines.length - 1;
    if (isWhole && !isRest) numbers.push(number);
    else assert.ok(isRest && (isLastLog || line === ""), `${path}: a wrong record, line ${at + 1}`);
  }
  assert.ok(numbers.every((number) => !isFile(number)));
  return numbers;
}

/**
 * Does the same operations on a bare folder and on a protected one, and compares: each result, both
 * trees, what lies beneath the mount, and the copy.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { Prng } from "../../src/base/prng.ts";
import { compareTrees, compareTreesFully } from "../support/compare-trees.ts";
import { LoopImage } from "../support/loop-image.ts";
import { ProtectedFolder } from "../support/protected-folder.ts";
import { type Operation, randomOperations } from "./operation.ts";
import { shrink } from "./shrink.ts";
import { Side } from "./side.ts";

/** So often the loop lets the applier's reports in. */
const TURN_EVERY = 50;

export interface FuzzRun {
  readonly seed: number;
  readonly count: number;
  /** Kills the engine on the way, once in so many operations. */
  readonly killEvery?: number;
  /** Hears of a failure before it is shrunk, which may take minutes. */
  readonly report?: (failure: string) => void;
}

export class DifferentialFuzzer {
  readonly #image: LoopImage;
  readonly #folder: ProtectedFolder;
  #runs = 0;
  #noticesSeen = 0;

  private constructor(image: LoopImage, folder: ProtectedFolder) {
    this.#image = image;
    this.#folder = folder;
  }

  static async start(): Promise<DifferentialFuzzer> {
    const image = new LoopImage({ bytes: 2 ** 31 });
    try {
      mkdirSync(join(image.path, "bare"));
      const folder = await ProtectedFolder.start({ under: image.path, replica: true });
      return new DifferentialFuzzer(image, folder);
    } catch (error) {
      image.remove();
      throw error;
    }
  }

  async remove(): Promise<void> {
    await this.#folder.remove();
    this.#image.remove();
  }

  /** What is wrong, with the shortest sequence that shows it; undefined when all is well. */
  async run(run: FuzzRun): Promise<string | undefined> {
    const operations = randomOperations(new Prng(run.seed), run.count);
    const failure = await this.#try(operations, run);
    if (failure === undefined) return undefined;
    run.report?.(`seed ${run.seed}: ${failure}\n`);
    let last = failure;
    const short = await shrink(operations, async (candidate) => {
      const found = await this.#try(candidate, run);
      if (found !== undefined) last = found;
      return found !== undefined;
    });
    const lines = short.map((operation) => `  ${JSON.stringify(operation)}`);
    return `seed ${run.seed}: ${failure}\nshrunk to ${short.length}: ${last}\n${lines.join("\n")}`;
  }

  async #try(operations: readonly Operation[], run: FuzzRun): Promise<string | undefined> {
    this.#runs += 1;
    const name = `run-${this.#runs}`;
    const bare = new Side(join(this.#image.path, "bare", name));
    const mounted = new Side(join(this.#folder.path, name));
    const kills = run.killEvery === undefined ? undefined : new Prng(run.seed);
    try {
      for (const [i, operation] of operations.entries()) {
        const expected = bare.do(operation);
        if (kills?.chance(1 / (run.killEvery ?? 1)) === true) this.#folder.killEngine();
        const result = mounted.do(operation);
        if (!isDeepStrictEqual(result, expected)) {
          const [is, was] = [JSON.stringify(result), JSON.stringify(expected)];
          return `operation ${i} ${JSON.stringify(operation)}: ${is} on the mount, ${was} bare`;
        }
        if (i % TURN_EVERY === 0) await nextTurn();
      }
      return await this.#compare(name);
    } finally {
      bare.closeAll();
      mounted.closeAll();
      for (const side of [bare, mounted])
        rmSync(side.folder.path, { recursive: true, force: true });
    }
  }

  async #compare(name: string): Promise<string | undefined> {
    const folder = this.#folder;
    const mount = join(folder.path, name);
    const bare = join(this.#image.path, "bare", name);
    // The two were not written at the same moment.
    const { differences } = compareTreesFully(bare, mount, { facts: ["mtime"] });
    if (differences.length > 0) return `mount and bare differ:\n${differences.join("\n")}`;
    const beneath = compareTrees(`${folder.beneath}/${name}`, mount);
    if (beneath.length > 0) return `the mount shows what is not beneath:\n${beneath.join("\n")}`;
    await folder.flush();
    const copy = compareTrees(`${folder.beneath}/${name}`, join(folder.replica, name));
    const notices = folder.notices().slice(this.#noticesSeen);
    this.#noticesSeen += notices.length;
    const mended = notices.map((notice) => JSON.stringify(notice)).join("\n");
    if (copy.length > 0)
      return `source and copy differ:\n${copy.join("\n")}\n${mended}\n${folder.state()}`;
    if (mended !== "") return `the applier had to mend:\n${mended}`;
    return folder.log() === "" ? undefined : `the engine says: ${folder.log()}`;
  }
}

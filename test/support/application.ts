/** An application that does all kinds of things in a folder, and checks what it reads. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { LoadProcess } from "./load-process.ts";

const LOAD = join(import.meta.dirname, "mixed-load.ts");

/** `STANDIN_PACE_MS`: rest between two operations, on a machine that others need as well. */
const PACE_MS = process.env.STANDIN_PACE_MS ?? "0";

/** A stretch of time by the wall clock. */
export interface Stretch {
  readonly atMs: number;
  readonly ms: number;
}

/** Of which one operation took the whole. */
export interface Pause extends Stretch {
  readonly kind: string;
}

export interface ApplicationResult {
  readonly ops: number;
  /** Operations that took long. */
  readonly pauses: readonly Pause[];
  /** In which no operation ended, whether or not one had begun: the process may not have run. */
  readonly silences: readonly Stretch[];
}

export class Application {
  readonly #load: LoadProcess;
  readonly #ended: Promise<number | null>;
  readonly #log: string;
  readonly #folder: string;

  constructor(folder: string, seed: number, log: string) {
    this.#log = log;
    this.#folder = folder;
    const args = [LOAD, folder, String(seed), PACE_MS];
    this.#load = new LoadProcess(process.execPath, args, { logFile: log });
    this.#ended = new Promise((resolve) => this.#load.child.once("exit", resolve));
  }

  /** Until it works. */
  async ready(): Promise<void> {
    const deadline = performance.now() + 30_000;
    while (!existsSync(this.#folder) && performance.now() < deadline) await sleep(10);
  }

  async stop(): Promise<ApplicationResult> {
    this.#load.child.kill("SIGTERM");
    const code = await this.#ended;
    const text = readFileSync(this.#log, "utf8");
    const { signalCode } = this.#load.child;
    assert.equal(code, 0, `${signalCode ?? "ended"}: ${text}`);
    return JSON.parse(text) as ApplicationResult;
  }

  kill(): void {
    this.#load.child.kill("SIGKILL");
  }
}

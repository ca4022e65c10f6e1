/**
 * Applications at work in a protected folder, and one on a bare folder beside: what that one waits
 * for at the same time is not our doing. The machine may be busy with others' work, or have stopped
 * all of us.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

import { Application, type Pause, type Stretch } from "./application.ts";

const APPLICATIONS = 3;
const PAUSE_MS_MAX = 1000;
/** Processes are not stopped, and go on, in the same instant. */
const AROUND_MS = 1500;
/** What starting Node takes at most on a quiet machine. */
const QUIET_START_MS = 150;

/**
 * How much slower this machine is now than one that has nothing else to do: a new engine is a new
 * process, and cannot be quicker than others. Asked while our applications do not work: what they
 * take from the machine is no excuse.
 */
function slowness(): number {
  const startMs = performance.now();
  spawnSync(process.execPath, ["-e", "0"]);
  return Math.max(1, (performance.now() - startMs) / QUIET_START_MS);
}

export interface LoadResult {
  readonly ops: number;
  /** The longest pause, without what the application on the bare folder waited then, too. */
  readonly longestMs: number;
  /** What it may be: a second, on a machine that has nothing else to do. */
  readonly allowedMs: number;
  readonly shown: string;
}

/** How much of a pause lies outside of all silences. */
export function netMs({ atMs, ms }: Stretch, silences: readonly Stretch[]): number {
  let net = 0;
  let fromMs = atMs;
  for (const silence of silences.toSorted((a, b) => a.atMs - b.atMs)) {
    // Short ones are everyday life, and excuse no more than themselves.
    const around = silence.ms >= AROUND_MS ? AROUND_MS : 0;
    const untilMs = Math.min(atMs + ms, silence.atMs - around);
    net += Math.max(0, untilMs - fromMs);
    fromMs = Math.max(fromMs, silence.atMs + silence.ms + around);
  }
  return Math.round(net + Math.max(0, atMs + ms - fromMs));
}

export class Load {
  readonly #applications: Application[];
  readonly #control: Application;
  readonly #slownessBefore: number;

  private constructor(applications: Application[], control: Application, slownessBefore: number) {
    this.#applications = applications;
    this.#control = control;
    this.#slownessBefore = slownessBefore;
  }

  /** They work when it settles. `home`: for their logs. */
  static async start(t: TestContext, folder: string, home: string, seed: number): Promise<Load> {
    const before = slowness();
    const bare = mkdtempSync(join(tmpdir(), "standin-bare-"));
    const log = (name: string) => join(home, `${name}.out`);
    const names = Array.from({ length: APPLICATIONS }, (_, i) => `app-${i}`);
    const applications = names.map(
      (name, i) => new Application(join(folder, name), seed * 100 + i, log(name)),
    );
    const control = new Application(join(bare, "app"), seed * 100 + 99, log("control"));
    const all = [...applications, control];
    t.after(() => {
      for (const each of all) each.kill();
      rmSync(bare, { recursive: true, force: true });
    });
    for (const each of all) await each.ready();
    return new Load(applications, control, before);
  }

  /** @throws when an application met an error, or read what it did not write. */
  async stop(): Promise<LoadResult> {
    const results = await Promise.all(this.#applications.map((each) => each.stop()));
    const bare = await this.#control.stop();
    const allowedMs = PAUSE_MS_MAX * Math.max(this.#slownessBefore, slowness());
    const pauses = results.flatMap((each) => each.pauses);
    const nets = pauses.map((pause) => ({ ...pause, net: netMs(pause, bare.silences) }));
    const none: Pause & { net: number } = { kind: "none", atMs: 0, ms: 0, net: 0 };
    const longest = nets.reduce((a, b) => (a.net > b.net ? a : b), none);
    const ops = results.reduce((sum, each) => sum + each.ops, 0);
    const bareMs = bare.silences.reduce((max, { ms }) => Math.max(max, ms), 0);
    const longestMs = longest.net;
    const shown =
      `${ops} operations, longest pause ${longestMs} ms (of ${longest.ms} ms, ${longest.kind}), ` +
      `bare ${bareMs} ms, allowed ${Math.round(allowedMs)} ms`;
    return { ops, longestMs, allowedMs, shown };
  }
}

/**
 * Two machines on one: a network namespace and a control group for each side, joined by a cable
 * (veth) and by nothing else. So the same meters hold for every contender, whatever processes it
 * starts: the cable's counters, and the control groups' CPU time.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";

import { systemClock } from "../../../src/platform/clock.ts";
import { readMountTable } from "../../../src/platform/mount-table.ts";
import type { Cleanup } from "../cleanup.ts";

const POLL_MS = 5;
const FREEZE_MS = 20_000;
const EMPTY_MS = 20_000;
/** Joins the control group before the program begins, so that nothing of it goes uncounted. */
const JOIN = 'echo 0 > "$1/cgroup.procs" || exit; shift; exec "$@"';

/** Bytes on the cable since it was made, frames' headers included. */
export interface Traffic {
  /** From the source's side to the copy's. */
  readonly forth: number;
  readonly back: number;
}

export class Side {
  readonly address: string;
  readonly namespace: string;
  readonly #group: string;

  constructor(namespace: string, address: string, group: string) {
    this.namespace = namespace;
    this.address = address;
    this.#group = group;
  }

  /** Starts a program on this side's network; its output goes to `log`, a descriptor. */
  start(log: number, command: string, ...args: readonly string[]): ChildProcess {
    const network = ["nsenter", `--net=/run/netns/${this.namespace}`];
    const all = ["-c", JOIN, "sh", this.#group, ...network, command, ...args];
    return spawn("sh", all, { stdio: ["ignore", log, log], cwd: "/" });
  }

  /** Of all processes that ever ran on this side. */
  cpuSeconds(): number {
    const text = readFileSync(`${this.#group}/cpu.stat`, "latin1");
    return Number(/^usage_usec (\d+)/m.exec(text)?.[1]) / 1e6;
  }

  /** All processes of this side stand still at one instant, until {@link thaw}. */
  async freeze(): Promise<void> {
    writeFileSync(`${this.#group}/cgroup.freeze`, "1");
    await this.#until("frozen 1", FREEZE_MS);
  }

  thaw(): void {
    writeFileSync(`${this.#group}/cgroup.freeze`, "0");
  }

  /** Everything of this side dies at one instant. */
  async kill(): Promise<void> {
    writeFileSync(`${this.#group}/cgroup.kill`, "1");
    await this.#until("populated 0", EMPTY_MS);
  }

  async #until(event: string, limitMs: number): Promise<void> {
    const deadline = performance.now() + limitMs;
    while (!readFileSync(`${this.#group}/cgroup.events`, "latin1").includes(event)) {
      if (performance.now() > deadline) throw new Error(`${this.#group}: not ${event} in time`);
      await systemClock.sleep(POLL_MS);
    }
  }

  async remove(): Promise<void> {
    await this.kill();
    rmdirSync(this.#group);
  }
}

export class Stage {
  readonly source: Side;
  readonly target: Side;

  private constructor(source: Side, target: Side) {
    this.source = source;
    this.target = target;
  }

  static create(cleanup: Cleanup): Stage {
    const unified = unifiedHierarchy();
    // A network for documentation (RFC 5737): nobody is there, and no route leads out.
    const sides = ["source", "target"].map((role, i) => {
      const name = `standin-bench-${process.pid}-${role}`;
      const side = new Side(name, `192.0.2.${i + 1}`, `${unified}/${name}`);
      mkdirSync(`${unified}/${name}`);
      cleanup.add(`remove the control group ${name}`, () => side.remove());
      ip("netns", "add", name);
      cleanup.add(`remove the network namespace ${name}`, () => ip("netns", "delete", name));
      return side;
    });
    const [source, target] = sides as [Side, Side];
    const far = ["peer", "name", "eth0", "netns", target.namespace];
    ip("-n", source.namespace, "link", "add", "eth0", "type", "veth", ...far);
    for (const { namespace, address } of sides) {
      ip("-n", namespace, "addr", "add", `${address}/30`, "dev", "eth0");
      ip("-n", namespace, "link", "set", "eth0", "up");
      ip("-n", namespace, "link", "set", "lo", "up");
    }
    return new Stage(source, target);
  }

  traffic(): Traffic {
    const table = run("nsenter", `--net=/run/netns/${this.source.namespace}`, "cat", COUNTERS);
    const counters = /^ *eth0:(.*)$/m.exec(table)?.[1]?.trim().split(/\s+/).map(Number) ?? [];
    const [back, forth] = [counters[RECEIVED_AT], counters[SENT_AT]];
    if (back === undefined || forth === undefined) throw new Error(`no cable in ${table}`);
    return { forth, back };
  }

  cpuSeconds(): number {
    return this.source.cpuSeconds() + this.target.cpuSeconds();
  }

  /** Everything of both sides dies. */
  async clear(): Promise<void> {
    this.target.thaw();
    for (const side of [this.source, this.target]) await side.kill();
  }
}

const COUNTERS = "/proc/self/net/dev";
const RECEIVED_AT = 0;
const SENT_AT = 8;

/** Where control groups of the second version are; on some systems beside those of the first. */
function unifiedHierarchy(): string {
  const found = readMountTable().find(({ type }) => type === "cgroup2")?.path;
  if (found === undefined || !existsSync(`${found}/cgroup.procs`)) {
    throw new Error("no cgroup2 file system is mounted");
  }
  return found;
}

function ip(...args: readonly string[]): void {
  run("ip", ...args);
}

function run(command: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
  return stdout;
}

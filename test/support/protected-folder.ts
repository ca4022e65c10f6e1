/**
 * A folder that the real keeper and engine protect, with a real applier when a copy is wanted, and
 * the way to take it all away again whatever state a test ended in.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { KeeperConfig, KeeperEvent } from "../../src/capture/keeper-config.ts";
import { RecordingState, Ring, RingReader } from "../../src/journal/ring.ts";
import { HeaderAt } from "../../src/journal/ring-layout.ts";
import type { ProcessIdentity } from "../../src/platform/processes.ts";

const SOURCES = join(import.meta.dirname, "../../src");
const WAIT_MS = 30_000;

export interface ProtectedOptions {
  /** Where the folders are made; by default the folder for temporary files. */
  readonly under?: string;
  readonly workers?: number;
  readonly ringBytes?: number;
  /** Keeps a copy with the real applier. Without, the ring is not recorded to. */
  readonly replica?: boolean;
  /** Fills the folder before it is mounted. */
  readonly prepare?: (path: string) => void;
}

type Report = Record<string, unknown>;

export class ProtectedFolder {
  readonly home: string;
  /** What applications use. */
  readonly path: string;
  readonly replica: string;
  /** The files beneath the mount. */
  readonly beneath: string;
  readonly ring: Ring;
  readonly #rootFd: number;
  readonly #shm: string;
  readonly #workers: number;
  #keeper: ChildProcess | undefined;
  #applier: ChildProcess | undefined;
  #reports: Report[] = [];
  #applierErrors = "";
  #flushes = 0;

  private constructor(options: ProtectedOptions) {
    this.home = mkdtempSync(join(options.under ?? tmpdir(), "standin-protected-"));
    this.path = join(this.home, "source");
    this.replica = join(this.home, "replica");
    // Other users must reach it.
    chmodSync(this.home, 0o755);
    mkdirSync(this.path);
    mkdirSync(this.replica);
    options.prepare?.(this.path);
    this.#shm = mkdtempSync("/dev/shm/standin-protected-");
    this.#workers = options.workers ?? 4;
    const arenas = this.#workers + 1;
    const arenaBytes = Math.floor((options.ringBytes ?? 64 << 20) / arenas / 4096) * 4096;
    this.ring = Ring.create(join(this.#shm, "ring"), { arenas, indexSlots: 1 << 18, arenaBytes });
    this.#rootFd = openSync(this.path, "r");
    this.beneath = `/proc/${process.pid}/fd/${this.#rootFd}/.`;
  }

  /** Mounts, and waits until the folder is served. */
  static async start(options: ProtectedOptions = {}): Promise<ProtectedFolder> {
    const folder = new ProtectedFolder(options);
    try {
      folder.#startKeeper(null);
      await folder.#serving();
      if (options.replica === true) {
        folder.startApplier();
        await folder.#until("mirror", () => folder.#find("mirrored"));
      }
    } catch (error) {
      await folder.remove();
      throw error;
    }
    return folder;
  }

  #startKeeper(adopt: ProcessIdentity | null): void {
    const config: KeeperConfig = {
      shmDir: this.#shm,
      mounts: [{ index: 0, path: this.path, nosuid: false, nodev: false }],
      workers: this.#workers,
      recordCopies: true,
      adopt,
    };
    const stdout = openSync(join(this.home, "keeper.events"), "a");
    const stderr = openSync(join(this.home, "keeper.log"), "a");
    const script = join(SOURCES, "capture/keeper-process.ts");
    // The cache makes a new engine as quick as it is in production.
    const env = { ...process.env, NODE_COMPILE_CACHE: "/var/cache/standin" };
    this.#keeper = spawn(process.execPath, [script, JSON.stringify(config)], {
      stdio: ["ignore", stdout, stderr],
      cwd: "/",
      env,
    });
    this.#keeper.on("error", () => {});
    closeSync(stdout);
    closeSync(stderr);
  }

  /** All that the keepers and engines of this folder have reported. */
  events(): KeeperEvent[] {
    const text = readFileSync(join(this.home, "keeper.events"), "utf8");
    const lines = text.split("\n").slice(0, -1);
    return lines.map((line) => JSON.parse(line) as KeeperEvent);
  }

  /** What keeper and engine wrote to stderr: their bugs. */
  log(): string {
    return readFileSync(join(this.home, "keeper.log"), "utf8");
  }

  async #serving(): Promise<void> {
    await this.#until("engine", () => {
      const last = this.events().findLast(({ event }) =>
        ["serving", "failed", "gave-up", "adopted", "engine-died"].includes(event),
      );
      if (last?.event === "failed") throw new Error(last.message);
      return last?.event === "serving" ? last : undefined;
    });
  }

  async #until<T>(what: string, probe: () => T | undefined, waitMs = WAIT_MS): Promise<T> {
    const deadline = performance.now() + waitMs;
    for (;;) {
      const found = probe();
      if (found !== undefined) return found;
      if (performance.now() > deadline) {
        const reports = JSON.stringify(this.#reports.slice(-3));
        throw new Error(`no ${what}: ${this.log()}\n${this.#applierErrors}\n${reports}`);
      }
      await sleep(5);
    }
  }

  /** The engine that serves now. */
  engine(): ProcessIdentity {
    const enginePid = this.ring.word(HeaderAt.enginePid);
    const started = this.events().findLast(
      (event) => event.event === "engine-started" && event.pid === enginePid,
    );
    if (started?.event !== "engine-started") throw new Error(`no engine ${enginePid} started`);
    return { pid: started.pid, startTicks: started.startTicks };
  }

  killEngine(): void {
    killQuietly(this.ring.word(HeaderAt.enginePid));
  }

  /** Kills the engine, and waits until another serves. */
  async replaceEngine(): Promise<void> {
    const before = this.ring.word(HeaderAt.engineGeneration);
    this.killEngine();
    await this.#until("new engine", () => {
      return this.ring.word(HeaderAt.engineGeneration) !== before || undefined;
    });
  }

  /** Kills the applier and starts another. */
  async replaceApplier(): Promise<void> {
    const applier = this.#applier;
    if (applier === undefined) return;
    const ended = new Promise((resolve) => applier.once("exit", resolve));
    applier.kill("SIGKILL");
    await ended;
    this.#reports = this.#reports.filter(({ event }) => event === "notice");
    this.startApplier();
  }

  /** Kills the keeper and starts another, until that has taken over. */
  async replaceKeeper(): Promise<void> {
    const engine = this.engine();
    const count = this.#servingCount();
    this.#keeper?.kill("SIGKILL");
    this.#startKeeper(engine);
    await this.#until("new keeper", () => this.#servingCount() > count || undefined);
  }

  #servingCount(): number {
    return this.events().filter(({ event }) => event === "serving").length;
  }

  startApplier(): void {
    const config = {
      shmDir: this.#shm,
      mounts: [{ index: 0, rootIno: statSync(this.beneath).ino, replica: this.replica }],
      orphans: "delete",
    };
    const path = join(this.home, "applier.json");
    writeFileSync(path, JSON.stringify(config));
    const script = join(SOURCES, "agent/applier-process.ts");
    const child = spawn(process.execPath, [script, path], { stdio: "pipe", cwd: "/" });
    let rest = "";
    child.stdout.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#hear(JSON.parse(line) as Report);
    });
    child.stderr.on("data", (chunk: Buffer) => {
      this.#applierErrors += chunk.toString();
    });
    child.stdin.on("error", () => {});
    child.on("error", () => {});
    this.#applier = child;
  }

  #hear(report: Report): void {
    this.#reports.push(report);
    if (this.#reports.length > 1000) this.#reports.splice(0, 500);
  }

  #find(event: string): Report | undefined {
    return this.#reports.find((report) => report.event === event);
  }

  /** What the applier noticed: paths that it had to bring anew, and why. */
  notices(): Report[] {
    return this.#reports.filter(({ event }) => event === "notice");
  }

  /** Ring and last status in a line, for messages. */
  state(): string {
    const { head, applied, recording } = this.ring;
    const [gaps, lost] = [this.ring.word(HeaderAt.gaps), this.ring.word(HeaderAt.opsLost)];
    const status = this.#reports.findLast(({ event }) => event === "status");
    return JSON.stringify({ head, applied, recording, gaps, lost, status });
  }

  /** Until the copy is whole, and everything that was written before is in it. */
  async flush(waitMs = WAIT_MS): Promise<void> {
    const { head } = this.ring;
    // One command at a time: an applier that is killed forgets it.
    await this.#until(
      "rest",
      () => {
        const status = this.#reports.findLast(({ event }) => event === "status");
        const isWhole = status?.protected === true && Number(status.appliedLsn) >= head;
        return isWhole ? status : undefined;
      },
      waitMs,
    );
    this.#flushes += 1;
    const id = this.#flushes;
    const command = { command: "flush", id, lsn: head };
    this.#applier?.stdin?.write(`${JSON.stringify(command)}\n`);
    await this.#until("flush", () => this.#reports.find(({ flushed }) => flushed === id), waitMs);
  }

  /** Records, and throws away what is recorded, as long as `while_` is true. */
  async discard(while_: () => boolean): Promise<number> {
    this.ring.recording = RecordingState.on;
    const reader = new RingReader(this.ring);
    let count = 0;
    while (while_()) {
      while (reader.peek() !== undefined) {
        reader.release();
        count += 1;
      }
      await sleep(1);
    }
    return count;
  }

  isMounted(): boolean {
    return this.#device() !== undefined;
  }

  /** Minor number of the mount's device: the connection's name in /sys/fs/fuse. */
  #device(): number | undefined {
    for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
      const [, , device, , path] = line.split(" ");
      if (path === this.path) return Number(device?.split(":")[1]);
    }
    return undefined;
  }

  /** Unmounts as in production; returns the keeper's exit code. */
  async stop(): Promise<number | null> {
    const keeper = this.#keeper;
    if (keeper === undefined) return null;
    const ended = new Promise<number | null>((resolve) => keeper.once("exit", resolve));
    keeper.kill("SIGTERM");
    const code = await Promise.race([ended, sleep(20_000, null, { ref: false })]);
    this.#keeper = undefined;
    return code;
  }

  /** Leaves nothing behind. Never waits for what may hang. */
  async remove(): Promise<void> {
    // More than once: a loaded machine may be too slow for one try.
    for (let round = 0; round < 5; round++) {
      const minor = this.#device();
      if (minor === undefined) break;
      spawnSync("umount", ["-l", this.path], { timeout: 20_000 });
      abortConnection(minor);
    }
    this.#keeper?.kill("SIGKILL");
    this.#applier?.kill("SIGKILL");
    for (const event of this.events()) {
      if (event.event === "engine-started" && isOurs(event)) killQuietly(event.pid);
    }
    await sleep(20);
    closeSync(this.#rootFd);
    rmSync(this.#shm, { recursive: true, force: true });
    removeFlags(this.home);
    rmSync(this.home, { recursive: true, force: true });
  }
}

/** Files that cannot be changed cannot be removed. */
function removeFlags(folder: string): void {
  spawnSync("chattr", ["-R", "-f", "-ia", folder], { timeout: 20_000, stdio: "ignore" });
}

function isOurs({ pid, startTicks }: ProcessIdentity): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(text.slice(text.lastIndexOf(")") + 2).split(" ")[19]) === startTicks;
  } catch {
    return false;
  }
}

/** Those who wait for the mount are told that it is gone. */
function abortConnection(minor: number): void {
  try {
    writeFileSync(`/sys/fs/fuse/connections/${minor}/abort`, "1");
  } catch {
    // The connection has ended with its mount.
  }
}

function killQuietly(pid: number): void {
  try {
    if (pid > 0) process.kill(pid, "SIGKILL");
  } catch {
    // It is gone already.
  }
}

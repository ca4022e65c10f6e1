/** An applier in this process, on a real folder, with a source that can be made to wait. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { after } from "node:test";
import { ApplierRuntime, type Notice } from "../../src/agent/applier-runtime.ts";
import { Ring } from "../../src/journal/ring.ts";
import type { PassKind } from "../../src/mirror/pass-state.ts";
import { WANTED } from "../../src/model/node-tree.ts";
import { umask } from "../../src/platform/libc.ts";
import { closeRuntime } from "./close-runtime.ts";
import { compareTrees } from "./compare-trees.ts";
import type { Pieces } from "./fake-mirror.ts";
import { FakeSource } from "./fake-source.ts";
import { Patience } from "./patience.ts";

umask(0);
const made: string[] = [];
after(() => {
  for (const path of made) rmSync(path, { recursive: true, force: true });
});

const ROUND_MS = 10;
/** What has found no place is removed when nothing is asked for any more, 250 ms later at most. */
const QUIET_ROUNDS = 30;

export interface ApplierBenchOptions {
  readonly prepare?: (bench: { source: string; replica: string }) => void;
  readonly orphans?: "keep" | "aside" | "delete";
  readonly exclude?: readonly string[];
  /** Where source and replica are made. */
  readonly under?: string;
  /** In which the source answers. */
  readonly pieces?: Pieces;
}

export class ApplierBench {
  readonly home: string;
  readonly shm = mkdtempSync("/dev/shm/standin-applier-");
  readonly ring: Ring;
  readonly source: FakeSource;
  readonly notices: Notice[] = [];
  readonly ended: PassKind[] = [];
  runtime!: ApplierRuntime;
  readonly orphans: "keep" | "aside" | "delete";
  readonly exclude: readonly string[];
  /** Its own clock: a wait takes no time, and each run of a test is the same. */
  nowMs = 0;

  constructor(options: ApplierBenchOptions = {}) {
    this.home = mkdtempSync(`${options.under ?? tmpdir()}/standin-applier-`);
    made.push(this.home, this.shm);
    this.orphans = options.orphans ?? "delete";
    this.exclude = options.exclude ?? [];
    mkdirSync(this.sourcePath);
    mkdirSync(this.replicaPath);
    options.prepare?.({ source: this.sourcePath, replica: this.replicaPath });
    this.ring = Ring.create(`${this.shm}/ring`, {
      arenas: 2,
      indexSlots: 1 << 14,
      arenaBytes: 16 << 20,
    });
    this.source = new FakeSource(this.sourcePath, this.ring, options.pieces);
    this.start();
  }

  get sourcePath(): string {
    return `${this.home}/source`;
  }
  get replicaPath(): string {
    return `${this.home}/replica`;
  }

  start(): void {
    this.runtime = new ApplierRuntime(
      {
        shmDir: this.shm,
        mounts: [{ index: 0, rootIno: this.source.rootIno, replica: this.replicaPath }],
        orphans: this.orphans,
        rules: { exclude: this.exclude },
      },
      {
        notice: (notice) => this.notices.push(notice),
        passStarted: () => {},
        passEnded: (kind) => this.ended.push(kind),
      },
    );
  }

  /** As if the applier's process had been killed between two ops, and another started. */
  restart(): void {
    closeRuntime(this.runtime);
    this.start();
  }

  /** Asks what is to be asked, a moment after the last time. */
  housekeep(): void {
    this.nowMs += ROUND_MS;
    this.runtime.housekeep(this.nowMs);
  }

  round(): number {
    this.housekeep();
    const served = this.source.serve();
    return served + this.runtime.applyBatch(() => this.nowMs, Number.POSITIVE_INFINITY);
  }

  /** The source's next answer. */
  answerOne(): void {
    const patience = new Patience(20_000);
    do {
      if (patience.isOver()) assert.fail(`nothing is asked: ${this.state()}`);
      this.housekeep();
    } while (this.source.serve(1) === 0);
    this.runtime.applyBatch(() => 0, 1);
  }

  /** Until nothing moves any more. */
  settle(): void {
    const patience = new Patience(20_000);
    for (let quiet = 0; quiet < QUIET_ROUNDS; ) {
      if (patience.isOver()) assert.fail(`it never settles: ${this.state()}`);
      const isBusy =
        this.round() > 0 || this.runtime.control.isPassActive || this.runtime.tree.wantedCount > 0;
      quiet = isBusy ? 0 : quiet + 1;
    }
    const { applier } = this.runtime;
    applier.replica.flush();
    // What is in there may be one of several names of a file.
    while (applier.emptyTrash());
  }

  state(): string {
    const { control, tree } = this.runtime;
    const notices = this.notices.slice(-10);
    const wanted = [];
    for (let node = 1; node < tree.nodeHigh; node++) {
      if (!tree.exists(node) || !tree.has(node, WANTED)) continue;
      const path = Buffer.from(tree.path(node) ?? "?").toString();
      const flags = [0x10, 0x20, 0x40].map((flag) => tree.has(node, flag));
      const parent = tree.directoryOf(tree.firstLink(node));
      wanted.push({ path, flags, type: tree.type(node), absent: tree.has(parent, 0x10) });
    }
    return JSON.stringify({ outstanding: control.outstanding, wanted, notices });
  }

  assertEqual(): void {
    assert.deepEqual(compareTrees(this.sourcePath, this.replicaPath), []);
  }

  /** For who makes many: else the end of the test file does it. */
  remove(): void {
    closeRuntime(this.runtime);
    this.ring.close();
    for (const path of [this.home, this.shm]) rmSync(path, { recursive: true, force: true });
  }
}

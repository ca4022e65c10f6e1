/**
 * The applier put together: reads the ring, resolves each op, carries it out on the replica, and
 * keeps the source asked for what is missing.
 *
 * For each op in order: the tree changes in an open transaction, the replica is changed, the
 * transaction is completed with the op's LSN, the record is given back to the ring. Killed anywhere
 * in between, the next process does the op in hand again or finds it done;
 * docs/decisions/0003-applied-position.md says why.
 */

import { Applier } from "../apply/applier.ts";
import { ReplicaUnavailableError } from "../apply/apply-error.ts";
import { Counter } from "../apply/apply-memory.ts";
import type { Answer, Difference } from "../apply/mirror-events.ts";
import { openReplicaRoot, type ReplicaRoot } from "../apply/private-area.ts";
import type { Reconciliation } from "../apply/reconciler.ts";
import { assert } from "../base/assert.ts";
import { printableName } from "../base/bytes.ts";
import { Resolver } from "../capture/resolver.ts";
import { CommandQueue } from "../journal/command-queue.ts";
import { Ring, RingReader } from "../journal/ring.ts";
import { HeaderAt, RecordingState } from "../journal/ring-layout.ts";
import { MirrorControl, type MirrorEffect } from "../mirror/mirror-control.ts";
import { PassKind } from "../mirror/pass-state.ts";
import { Purpose, purposeOf } from "../model/mirror-command.ts";
import { NodeFlag, type NodeTree, WANTED } from "../model/node-tree.ts";
import { validateRecord } from "../model/op-records.ts";
import { OP_BYTES_MAX, OpKind, type OpView } from "../model/op.ts";
import { Statx } from "../platform/statx.ts";
import { type ApplierConfig, rulesOf } from "./applier-config.ts";
import { type ApplierMemory, openApplierMemory, sharedPassState } from "./applier-memory.ts";
import { giveUpRecovery, isMarkedForRecovery, recover } from "./checkpoint.ts";
import { DifferenceList } from "./difference-list.ts";

/** Reported to people, the first ones of each kind. */
export interface Notice {
  readonly kind: "diverged" | "unsupported" | "unreadable";
  readonly path: string;
  readonly action: string;
  readonly errno: number;
}

export interface RuntimeEvents {
  notice(notice: Notice): void;
  passStarted(kind: PassKind): void;
  passEnded(kind: PassKind): void;
  /** After a power cut, before anything is applied. */
  recovered?(outcome: Recovery): void;
}

export type Recovery = Reconciliation | { readonly problem: string };

/** Ops between two looks at the clock. */
const OPS_PER_LOOK = 64;
const SLASH = Buffer.from("/");

export class ApplierRuntime {
  readonly ring: Ring;
  readonly reader: RingReader;
  readonly memory: ApplierMemory;
  readonly tree: NodeTree;
  readonly applier: Applier;
  readonly control: MirrorControl;
  readonly differences = new DifferenceList();
  readonly roots: ReadonlyMap<number, ReplicaRoot>;
  readonly #resolver: Resolver;
  readonly #queue: CommandQueue;
  readonly #events: RuntimeEvents;
  /** What reports call the folders, by mount. */
  readonly #shown = new Map<number, Buffer>();
  /** What the replica refused last, while it refuses. */
  unavailable: ReplicaUnavailableError | undefined;
  isPaused = false;
  bytesApplied = 0;
  #command = 0;
  #nowMs = 0;
  #engineGeneration: number;

  constructor(config: ApplierConfig, events: RuntimeEvents) {
    this.#events = events;
    this.ring = Ring.open(`${config.shmDir}/ring`);
    this.reader = new RingReader(this.ring);
    this.roots = new Map(config.mounts.map((m) => [m.index, openReplicaRoot(m.replica)]));
    for (const { index, shownAs } of config.mounts) {
      if (shownAs !== undefined) this.#shown.set(index, Buffer.from(shownAs));
    }
    this.memory = this.#openMemory(config);
    this.tree = this.memory.tree;
    for (const [mount, root] of this.roots) noteRoots(this.tree, mount, root);
    const rules = rulesOf(config.rules);
    this.control = new MirrorControl(this.tree, sharedPassState(this.memory.apply));
    this.#resolver = new Resolver(this.tree, rules, {
      removed: (node) => this.applier.replica.removed(node),
      evict: (node) => this.applier.removal.evict(node),
      detach: (link) => {
        this.applier.removal.detach(link);
        this.control.detached();
      },
      wanted: (node) => this.control.wanted(node),
    });
    this.applier = new Applier({
      tree: this.tree,
      memory: this.memory.apply,
      roots: this.roots,
      rules,
      orphans: config.orphans ?? "aside",
      recordsAddress: this.ring.memory.address,
      isUnproven: (node) => this.control.isUnproven(node),
      events: this.#applierEvents(),
    });
    this.#queue = new CommandQueue(this.ring);
    this.#engineGeneration = this.ring.word(HeaderAt.engineGeneration);
    this.#usePass();
    this.#queue.clear();
  }

  #openMemory(config: ApplierConfig): ApplierMemory {
    const { shmDir } = config;
    const treeRoots = config.mounts.map(({ index, rootIno }) => ({ mount: index, ino: rootIno }));
    if (isMarkedForRecovery(shmDir)) {
      try {
        const { memory, reconciliation } = recover(config, this.ring, this.roots, treeRoots);
        this.#events.recovered?.(reconciliation);
        return memory;
      } catch (error) {
        giveUpRecovery(shmDir);
        this.#events.recovered?.({ problem: (error as Error).message });
      }
    }
    return openApplierMemory(shmDir, this.ring, treeRoots);
  }

  #applierEvents() {
    return {
      wanted: (node: number) => this.control.wanted(node),
      diverged: (node: number, action: string, errno: number) =>
        this.#notice("diverged", node, action, errno),
      unsupported: (node: number, action: string, errno: number) =>
        this.#notice("unsupported", node, action, errno),
      removed: (node: number) => this.control.removed(node),
      unreadable: (node: number, errno: number) =>
        this.#notice("unreadable", node, "read on the source", errno),
      answered: (answer: Answer) => this.#perform(this.control.answered(answer, this.#nowMs)),
      differs: (difference: Difference) => this.#differs(difference),
      blockDiffers: (node: number, offset: number, length: number) => {
        const path = this.tree.path(node) ?? new Uint8Array(0);
        this.#differs({ node, path, what: "content" });
        this.control.blockDiffers(this.#command, node, offset, length);
      },
      contents: (bytes: number) => this.control.contents(bytes),
      counted: (bytes: number) => this.control.counted(bytes),
    };
  }

  #notice(kind: Notice["kind"], node: number, action: string, errno: number): void {
    const path = this.tree.exists(node) ? this.tree.path(node) : undefined;
    const full = path === undefined ? undefined : this.#fullPath(node, path);
    const shown = full === undefined ? "(no name)" : full.length === 0 ? "." : printableName(full);
    this.#events.notice({ kind, path: shown, action, errno });
  }

  /** `path`: in the folder that `node` belongs to. */
  #fullPath(node: number, path: Uint8Array): Uint8Array {
    const folder = this.#shown.get(this.tree.mount(node));
    if (folder === undefined || path.length === 0) return folder ?? path;
    return Buffer.concat([folder, SLASH, path]);
  }

  /**
   * What a pass finds. On the first copy everything differs; only what was taken for equal before
   * is news. So it is with what a verify meets on its way to being put right.
   */
  #differs(difference: Difference): void {
    const { kind } = this.control.state;
    if (kind === PassKind.none || kind === PassKind.mirror) return;
    const isWanted = this.tree.has(difference.node, WANTED);
    const compares = purposeOf(this.#command) === Purpose.compare;
    if (kind === PassKind.verify && (isWanted || !compares)) return;
    const path = this.#fullPath(difference.node, difference.path);
    if (this.differences.add({ ...difference, path })) this.control.differs();
  }

  /**
   * Applies ops until the ring is empty, `untilMs` has come, or the replica refuses. Returns how
   * many.
   */
  applyBatch(now: () => number, untilMs: number): number {
    if (this.isPaused) return 0;
    let count = 0;
    for (;;) {
      if (count % OPS_PER_LOOK === 0) {
        this.#nowMs = now();
        if (count > 0 && this.#nowMs >= untilMs) return count;
      }
      const op = this.reader.peek();
      if (op === undefined || !this.#applyOne(op)) return count;
      this.reader.release();
      count += 1;
    }
  }

  #applyOne(op: OpView): boolean {
    const problem = validateRecord(op, OP_BYTES_MAX);
    assert(problem === undefined, () => `op ${op.lsn} cannot be read: ${problem}`);
    this.#command = op.kind >= OpKind.mirrorDirectory ? op.extra : 0;
    this.memory.apply.add(Counter.opsBegun, 1);
    try {
      const resolved = this.#resolver.resolve(op);
      this.applier.apply(op, resolved);
      this.#resolver.commit(op.lsn);
      this.applier.applied();
      this.bytesApplied += op.size;
      this.unavailable = undefined;
      return true;
    } catch (error) {
      this.#resolver.abandon();
      this.applier.abandoned();
      if (!(error instanceof ReplicaUnavailableError)) throw error;
      this.unavailable = error;
      return false;
    }
  }

  #perform(effects: readonly MirrorEffect[]): void {
    let asked = false;
    for (const effect of effects) {
      switch (effect.effect) {
        case "ask": {
          const { node, number, kind, offset, length } = effect.ask;
          const { tree } = this;
          const mount = tree.mount(node);
          const ino = tree.ino(node);
          this.#queue.push({ number, kind, mount, node: ino, offset, length });
          asked = true;
          break;
        }
        case "done":
          this.#done(effect.node, effect.isRight);
          break;
        case "skip":
          this.tree.change(() => this.tree.setListedIn(effect.node, this.control.state.number));
          this.#done(effect.node, false);
          break;
        case "purge":
          this.applier.purge();
          break;
        case "recall":
          this.#queue.clear();
          break;
        case "started":
          this.differences.clear();
          this.#usePass();
          this.#events.passStarted(effect.kind);
          break;
        case "ended":
          if (effect.kind === PassKind.mirror) this.memory.apply.set(Counter.mirrored, 1);
          this.#events.passEnded(effect.kind);
          break;
      }
    }
    if (asked) this.#queue.wake();
  }

  #done(node: number, isRight: boolean): void {
    const { tree } = this;
    tree.change(() => {
      tree.setDoneIn(node, this.control.state.number);
      if (isRight) tree.clearFlags(node, NodeFlag.bringing);
    });
  }

  #usePass(): void {
    this.#resolver.pass = this.control.state.number;
    this.applier.pass = this.control.state.number;
  }

  startPass(kind: PassKind): void {
    this.applier.disposal.asideName = `pass-${this.control.state.number + 1}`;
    this.#perform(this.control.start(kind));
  }

  stopPass(): void {
    this.#perform(this.control.stop());
  }

  /** What is not an op: the engine's life, gaps, questions to the source. */
  housekeep(nowMs: number): void {
    this.#nowMs = nowMs;
    if (this.isPaused || this.unavailable !== undefined) return;
    const generation = this.ring.word(HeaderAt.engineGeneration);
    if (generation !== this.#engineGeneration) {
      this.#engineGeneration = generation;
      this.#perform(this.control.recall());
    }
    this.#watchRecording();
    try {
      this.#perform(this.control.step(nowMs));
    } catch (error) {
      if (!(error instanceof ReplicaUnavailableError)) throw error;
      this.unavailable = error;
    }
  }

  get isDrained(): boolean {
    return this.ring.applied === this.ring.head;
  }

  /**
   * Ops are recorded again as soon as all that was recorded is applied; what was lost between, a
   * pass brings. The pass is begun first: whoever is killed in between begins it again.
   */
  #watchRecording(): void {
    const { ring } = this;
    const { apply, ringId } = this.memory;
    const gaps = ring.word(HeaderAt.gaps);
    const isOn = ring.recording === RecordingState.on;
    if (!isOn && !this.isDrained) return;
    const isRight =
      isOn && gaps === apply.get(Counter.gapsSeen) && apply.get(Counter.ringId) === ringId;
    if (isRight && (this.isMirrored || this.control.isPassActive)) return;
    this.startPass(this.isMirrored ? PassKind.resync : PassKind.mirror);
    ring.recording = RecordingState.on;
    apply.set(Counter.gapsSeen, gaps);
    apply.set(Counter.ringId, ringId);
  }

  /** A first copy was completed, on which resyncs build. */
  get isMirrored(): boolean {
    return this.memory.apply.get(Counter.mirrored) === 1;
  }
}

/** By which a recovery sees whether the replica is the same folder as before. */
function noteRoots(tree: NodeTree, mount: number, { rootFd, namelessFd }: ReplicaRoot): void {
  const status = new Statx();
  if (status.of(rootFd) === 0) tree.setReplicaIno(tree.root(mount), status.ino);
  if (status.of(namelessFd) === 0) tree.setReplicaIno(tree.privateDirectory(mount), status.ino);
}

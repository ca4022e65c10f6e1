/**
 * The engine's request handlers on a real folder, without a mount: requests come from a
 * {@link FakeKernel}, so that they can be what no kernel would send.
 */
import { mkdirSync, mkdtempSync, openSync, closeSync, rmSync } from "node:fs";
import { join } from "node:path";
import { allocateShared, setMappings } from "../../src/capture/engine-shared.ts";
import { handlersOf } from "../../src/capture/handler-table.ts";
import { Intents } from "../../src/capture/intents.ts";
import { NodeTable } from "../../src/capture/node-table.ts";
import { Recorder } from "../../src/capture/recorder.ts";
import type { WorkerContext } from "../../src/capture/worker-context.ts";
import { setUpWorker } from "../../src/capture/worker-setup.ts";
import { Opcode } from "../../src/fuse/abi.ts";
import { RecordingState, Ring, RingReader } from "../../src/journal/ring.ts";
import { OP_BYTES_MAX, type OpView, opKindName, validateOp } from "../../src/model/op.ts";
import { allocateNative, nativeOf } from "../../src/platform/native.ts";
import { body, FakeKernel, u64At } from "./fake-kernel.ts";

const RING = { arenas: 2, indexSlots: 4096, arenaBytes: 4 << 20 };

export class RawEngine {
  /** In memory: quick, and its file system has handles. */
  readonly home: string = mkdtempSync("/dev/shm/standin-raw-");
  readonly root: string = join(this.home, "root");
  readonly ring: Ring;
  kernel!: FakeKernel;
  context!: WorkerContext;
  readonly #rootFd: number;
  #isAdopted = false;

  constructor() {
    mkdirSync(this.root);
    this.#rootFd = openSync(this.root, "r");
    this.ring = Ring.create(join(this.home, "ring"), RING);
    this.ring.recording = RecordingState.on;
    this.start();
  }

  /** An engine that takes over from the one before, as after SIGKILL. */
  start(): void {
    const shared = allocateShared(1);
    this.ring.voidHoles();
    const intents = new Intents(this.ring, 0, 0);
    if (this.#isAdopted) intents.collectDoubts();
    const path = join(this.home, "nodes");
    const nodes = this.#isAdopted
      ? NodeTable.open(path, shared.nodeLocks)
      : NodeTable.create(path, 1, shared.nodeLocks, 1 << 16);
    setMappings(shared.mappings, { ring: this.ring.memory.mapping, nodes: nodes.mapping });
    this.#isAdopted = true;
    const recorder = new Recorder({
      ring: this.ring,
      arena: 0,
      mount: 0,
      memory: nativeOf(this.ring.memory),
      spare: allocateNative(OP_BYTES_MAX),
    });
    const mount = { index: 0, path: this.root, fuseFd: -1, rootFd: this.#rootFd };
    const given = { mount, shared, arena: 0, isFirst: true, servingMax: 1 };
    this.context = setUpWorker({ ...given, recordCopies: true }, recorder);
    this.kernel = new FakeKernel(handlersOf(this.context), () => recorder.requestSpace());
  }

  /** Node id of `name` in the directory `parent`. */
  lookup(parent: number, name: string): number {
    const answer = this.kernel.answer({
      opcode: Opcode.lookup,
      nodeId: parent,
      body: body().name(name).done(),
    });
    if (answer.error !== 0) throw new Error(`lookup of ${name}: ${answer.error}`);
    return u64At(answer.body, 0);
  }

  /** Kinds of the ops recorded since the last call; each is checked. */
  recorded(each: (op: OpView) => void = () => {}): string[] {
    const reader = new RingReader(this.ring);
    const kinds: string[] = [];
    for (let op = reader.peek(); op !== undefined; op = reader.peek()) {
      const problem = op.kind === 0 ? undefined : validateOp(op, op.size);
      if (problem !== undefined) throw new Error(problem);
      kinds.push(opKindName(op.kind));
      each(op);
      reader.release();
    }
    return kinds;
  }

  /** Readers only: the memory stays mapped, since typed arrays over it live on. */
  remove(): void {
    closeSync(this.#rootFd);
    rmSync(this.home, { recursive: true, force: true });
  }
}

/** Entry of the engine's mirror thread. */
import { parentPort, workerData } from "node:worker_threads";
import { CommandQueue } from "../journal/command-queue.ts";
import { Ring } from "../journal/ring.ts";
import { OP_BYTES_MAX } from "../model/op.ts";
import { allocateNative, nativeOf } from "../platform/native.ts";
import {
  Gate,
  getMappings,
  waitForGate,
  type WorkerData,
  type WorkerMessage,
} from "./engine-shared.ts";
import { MirrorReader } from "./mirror-reader.ts";
import { Recorder } from "./recorder.ts";
import { setUpWorker } from "./worker-setup.ts";

const data = workerData as WorkerData;
parentPort?.postMessage({ kind: "ready" } satisfies WorkerMessage);
waitForGate(new Int32Array(data.shared.gate), Gate.open);
const ring = Ring.at(getMappings(data.shared.mappings).ring);
const recorder = new Recorder({
  ring,
  arena: data.arena,
  mount: data.mount.index,
  memory: nativeOf(ring.memory),
  spare: allocateNative(OP_BYTES_MAX),
});
const context = setUpWorker(data, recorder);
new MirrorReader(context, ring, data.arena).run(new CommandQueue(ring));

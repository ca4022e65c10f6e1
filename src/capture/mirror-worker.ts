/**
 * Entry of the engine's mirror thread: one for all mounts of the job, with a reader for each, since
 * the questions come through one queue and the answers go to one arena.
 */
import { parentPort, workerData } from "node:worker_threads";
import { CommandQueue } from "../journal/command-queue.ts";
import { Ring, RingWriter } from "../journal/ring.ts";
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
import { Prefetcher } from "./prefetcher.ts";
import { Recorder } from "./recorder.ts";
import type { WorkerContext } from "./worker-context.ts";
import { setUpWorker } from "./worker-setup.ts";

function contextsOf(parts: readonly WorkerData[], ring: Ring): Map<number, WorkerContext> {
  const memory = nativeOf(ring.memory);
  const spare = allocateNative(OP_BYTES_MAX);
  const contexts = new Map<number, WorkerContext>();
  for (const part of parts) {
    const { arena } = part;
    const mount = part.mount.index;
    const recorder = new Recorder({ ring, arena, mount, memory, spare });
    contexts.set(mount, setUpWorker(part, recorder));
  }
  return contexts;
}

function serve(queue: CommandQueue, readers: Map<number, MirrorReader>, ahead: Prefetcher): never {
  for (;;) {
    const command = queue.peek();
    if (command === undefined) {
      queue.waitForCommand(1000);
      continue;
    }
    ahead.next(queue);
    // A target that asks for a mount which the job does not have gets no answer.
    readers.get(command.mount)?.serve(command);
    queue.pop();
  }
}

function main(parts: readonly WorkerData[]): void {
  parentPort?.postMessage({ kind: "ready" } satisfies WorkerMessage);
  for (const { shared } of parts) waitForGate(new Int32Array(shared.gate), Gate.open);
  const [first] = parts;
  if (first === undefined) throw new Error("the mirror thread has no mount");
  const ring = Ring.at(getMappings(first.shared.mappings).ring);
  const contexts = contextsOf(parts, ring);
  const writer = new RingWriter(ring, first.arena);
  const prefetcher = new Prefetcher((mount) => contexts.get(mount)?.beneath);
  const readers = new Map<number, MirrorReader>();
  for (const [mount, context] of contexts) {
    readers.set(mount, new MirrorReader(context, writer, prefetcher));
  }
  serve(new CommandQueue(ring), readers, prefetcher);
}

/** One part for each mount, all with the same arena. */
main(workerData as readonly WorkerData[]);

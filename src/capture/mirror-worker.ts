/**
 * Entry of the engine's mirror thread: one for all mounts of the job, with a reader for each, since
 * the questions come through one queue and the answers go to one arena.
 */
import { parentPort, workerData } from "node:worker_threads";
import { CommandQueue } from "../journal/command-queue.ts";
import { Ring, RingWriter } from "../journal/ring.ts";
import { OP_BYTES_MAX } from "../model/op.ts";
import { systemClock } from "../platform/clock.ts";
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
import { SETTLE_MS, TimeSettler } from "./time-settler.ts";
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

interface Work {
  readonly queue: CommandQueue;
  readonly readers: ReadonlyMap<number, MirrorReader>;
  readonly ahead: Prefetcher;
  readonly settler: TimeSettler;
}

function serve({ queue, readers, ahead, settler }: Work): never {
  for (;;) {
    settler.look();
    const command = queue.peek();
    if (command === undefined) {
      queue.waitForCommand(SETTLE_MS);
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
  const ahead = new Prefetcher((mount) => contexts.get(mount)?.beneath);
  const settler = new TimeSettler(writer, contexts, systemClock);
  const readers = new Map<number, MirrorReader>();
  for (const [mount, context] of contexts) {
    readers.set(mount, new MirrorReader({ context, writer, settler, prefetcher: ahead }));
  }
  serve({ queue: new CommandQueue(ring), readers, ahead, settler });
}

/** One part for each mount, all with the same arena. */
main(workerData as readonly WorkerData[]);

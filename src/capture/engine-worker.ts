/**
 * Entry of a request worker: a thread that blocks in the kernel for a request, serves it, and
 * answers. It never returns to its event loop, and ends when the connection does.
 */
import { parentPort, workerData } from "node:worker_threads";
import { Opcode } from "../fuse/abi.ts";
import { BusyPoll } from "../fuse/busy-poll.ts";
import { deviceChannel } from "../fuse/device-channel.ts";
import { MAX_WRITE_BYTES } from "../fuse/init.ts";
import { Reply } from "../fuse/message.ts";
import { Session } from "../fuse/session.ts";
import { Ring } from "../journal/ring.ts";
import { OP_BYTES_MAX } from "../model/op.ts";
import { systemClock } from "../platform/clock.ts";
import { allocateNative, nativeOf, readinessOf, yieldProcessor } from "../platform/native.ts";
import { keepCompiled } from "../platform/processes.ts";
import {
  Gate,
  getMappings,
  raiseGate,
  waitForGate,
  type WorkerData,
  type WorkerMessage,
} from "./engine-shared.ts";
import { handlersOf } from "./handler-table.ts";
import { Recorder } from "./recorder.ts";
import type { WorkerPool } from "./worker-pool.ts";
import { setUpWorker } from "./worker-setup.ts";

const REPLY_BYTES = MAX_WRITE_BYTES + 4096;

function report(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

/**
 * Serves alone until a request comes that is not a repetition: the kernel puts repetitions first.
 */
function catchUp(session: Session, gate: Int32Array): number {
  for (;;) {
    const error = session.serveOne();
    if (error !== 0) return error;
    const isRepetition = session.request.resent || session.request.opcode === Opcode.init;
    if (!isRepetition || Atomics.load(gate, 0) >= Gate.open) return 0;
  }
}

function newSession(data: WorkerData): { session: Session; pool: WorkerPool } {
  const ring = Ring.at(getMappings(data.shared.mappings).ring);
  const recorder = new Recorder({
    ring,
    arena: data.arena,
    mount: data.mount.index,
    memory: nativeOf(ring.memory),
    spare: allocateNative(OP_BYTES_MAX),
  });
  const context = setUpWorker(data, recorder);
  const { pool } = context;
  const busyPoll = new BusyPoll({
    isReady: readinessOf(data.mount.fuseFd),
    yieldProcessor,
    monotonicMs: systemClock.monotonicMs,
  });
  const session = new Session({
    channel: deviceChannel(data.mount.fuseFd),
    handlers: handlersOf(context),
    reply: new Reply(allocateNative(REPLY_BYTES)),
    space: () => {
      pool.end();
      busyPoll.wait();
      return recorder.requestSpace();
    },
    onReceived: () => pool.begin(),
    onBug: (error, opcode) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      report({ kind: "bug", message: `opcode ${opcode}: ${text}` });
    },
  });
  return { session, pool };
}

function main(data: WorkerData): void {
  const gate = new Int32Array(data.shared.gate);
  keepCompiled();
  report({ kind: "ready" });
  // What an engine before us left is in order when the gate opens, not sooner.
  waitForGate(gate, data.isFirst ? Gate.first : Gate.open);
  const { session, pool } = newSession(data);
  let errno = 0;
  if (data.isFirst) {
    errno = catchUp(session, gate);
    raiseGate(gate, Gate.open);
  }
  pool.join();
  if (errno === 0) errno = session.run();
  report({ kind: "ended", errno });
}

main(workerData as WorkerData);

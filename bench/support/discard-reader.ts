/**
 * Reads a ring and throws away what it reads, every byte of it: the least that can stand at the
 * other end when capture alone is measured, at the applier's pace: when it has read everything it
 * naps before it looks again, and only when nothing came has itself woken. Ends with its parent.
 *
 *   node discard-reader.ts RING
 */
import { Pace, PRESSING_FILL } from "../../src/agent/pace.ts";
import { RecordingState, Ring, RingReader } from "../../src/journal/ring.ts";
import { OP_BYTES_MAX } from "../../src/model/op.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { nextTurn } from "../../src/platform/turn.ts";

const OPS_PER_TURN = 4096;
const WAIT_MS = 50;

const ring = Ring.open(process.argv[2] ?? "");
const reader = new RingReader(ring);
const scratch = new Uint8Array(OP_BYTES_MAX);
const pace = new Pace();
const parent = process.ppid;
let isStopping = false;
process.on("SIGTERM", () => {
  isStopping = true;
});
ring.recording = RecordingState.on;
process.stdout.write("reading\n");

async function turn(): Promise<void> {
  if (isStopping || process.ppid !== parent) process.exit(0);
  const nowMs = systemClock.monotonicMs();
  if (ring.fillMax > PRESSING_FILL) pace.press(nowMs);
  let count = 0;
  while (count < OPS_PER_TURN) {
    const op = reader.peek();
    if (op === undefined) break;
    const { size } = ring.locate(reader.lsnNext);
    if (size > 0) scratch.set(op.bytes.subarray(op.base, op.base + size));
    reader.release();
    count += 1;
  }
  if (count === 0) {
    // Everything is read: a gap that a full ring left ends here.
    if (ring.recording !== RecordingState.on) ring.recording = RecordingState.on;
    ring.waitBeyond(reader.lsnNext - 1, WAIT_MS);
  }
  if (ring.isPublished(reader.lsnNext)) await nextTurn();
  else await systemClock.sleep(pace.pauseMs(nowMs));
}

for (;;) await turn();

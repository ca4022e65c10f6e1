/** A process that reads a ring to a given LSN and prints what it saw. */
import { Ring, RingReader } from "../../src/journal/ring.ts";

const [, , path = "", last = "0", limitMs = "0"] = process.argv;
const reader = new RingReader(Ring.open(path));
const deadline = performance.now() + Number(limitMs);
let sum = 0;
let voids = 0;
while (reader.lsnNext <= Number(last) && performance.now() < deadline) {
  const op = reader.peek();
  if (op === undefined) {
    reader.ring.waitBeyond(reader.lsnNext - 1, 50);
    continue;
  }
  if (op.lsn !== reader.lsnNext) throw new Error(`${op.lsn} instead of ${reader.lsnNext}`);
  if (op.kind === 0) voids += 1;
  else sum += op.node;
  reader.release();
}
process.stdout.write(JSON.stringify({ last: reader.lsnNext - 1, sum, voids }));

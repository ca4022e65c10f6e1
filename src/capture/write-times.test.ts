/** The op of a write carries the file's mtime, or a guess that is put right: see write-times.ts. */
import assert from "node:assert/strict";
import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { body } from "../../test/support/fake-kernel.ts";
import { RawEngine } from "../../test/support/raw-engine.ts";
import { skipUnless } from "../../test/support/capabilities.ts";
import { Opcode } from "../fuse/abi.ts";
import { OwedTimes } from "../journal/owed-times.ts";
import { RecordingState, RingWriter } from "../journal/ring.ts";
import { systemClock } from "../platform/clock.ts";
import { TimeSettler } from "./time-settler.ts";

const skip = skipUnless("root");
/** The clock that stamps files advances so often, with the slowest tick that linux has. */
const TICK_MS = 10;
const WRITES_MAX = 1000;

let engine: RawEngine;
let path: string;
let ino: number;
let node: number;

beforeEach(() => {
  if (skip !== false) return;
  engine = new RawEngine();
  path = join(engine.root, "file");
  writeFileSync(path, "");
  ({ ino } = statSync(path));
  node = engine.lookup(1, "file");
});
afterEach(() => {
  if (skip === false) engine.remove();
});

function write(at: number): void {
  const request = body().u64(0).u64(at).u32(4).u32(0).u64(0).u32(0).u32(0).name("abc").done();
  const { error } = engine.kernel.answer({ opcode: Opcode.write, nodeId: node, body: request });
  assert.equal(error, 0);
}

/** One behind the other, however slow the machine is, until a guess was recorded. */
function writeUntilOwed(): number {
  const owed = new OwedTimes(engine.ring);
  for (let writes = 1; writes <= WRITES_MAX; writes++) {
    write(0);
    if (!owed.isEmpty) return writes;
  }
  throw new Error("no time is owed");
}

function newSettler(): TimeSettler {
  const contexts = new Map([[0, engine.context]]);
  return new TimeSettler(new RingWriter(engine.ring, 1), contexts, systemClock);
}

interface Recorded {
  readonly kind: string;
  readonly mtimeNs: bigint;
}

function recorded(): Recorded[] {
  const times: bigint[] = [];
  const kinds = engine.recorded((op) => {
    times.push(BigInt(op.mtimeSec) * 1_000_000_000n + BigInt(op.mtimeNsec));
  });
  return kinds.map((kind, index) => ({ kind, mtimeNs: times[index] as bigint }));
}

const mtimeNs = (): bigint => statSync(path, { bigint: true }).mtimeNs;

test("a single write carries the file's mtime, and owes nothing", { skip }, () => {
  write(0);
  assert.deepEqual(recorded(), [{ kind: "write", mtimeNs: mtimeNs() }]);
  assert.equal(new OwedTimes(engine.ring).isEmpty, true);
});

test("writes one behind the other guess their mtime, and the true one follows", { skip }, () => {
  const beforeMs = Date.now();
  const writes = writeUntilOwed();
  const afterMs = Date.now();
  const ops = recorded();
  assert.equal(ops.length, writes);
  for (const { kind, mtimeNs } of ops) {
    assert.equal(kind, "write");
    const ms = Number(mtimeNs / 1_000_000n);
    assert.ok(ms >= beforeMs - TICK_MS && ms <= afterMs, `${ms} in ${beforeMs} to ${afterMs}`);
  }
  const owed = new OwedTimes(engine.ring);
  assert.deepEqual(owed.files(), [{ mount: 0, ino }]);
  const { rounds } = owed;
  newSettler().look();
  assert.deepEqual(recorded(), [{ kind: "setattr", mtimeNs: mtimeNs() }]);
  assert.equal(owed.isEmpty, true);
  assert.equal(owed.rounds, rounds + 1);
});

test("what an engine owed when it was killed, the next one settles", { skip }, () => {
  writeUntilOwed();
  engine.start();
  recorded();
  newSettler().look();
  assert.deepEqual(recorded(), [{ kind: "setattr", mtimeNs: mtimeNs() }]);
});

test("what a file owed that is gone, or in a gap, is owed no more", { skip }, () => {
  writeUntilOwed();
  rmSync(path);
  recorded();
  // Its descriptor is cached, so it still has a time, which does no harm.
  newSettler().look();
  recorded();
  const owed = new OwedTimes(engine.ring);
  assert.equal(owed.isEmpty, true);
  owed.owe(0, ino + 1_000_000);
  newSettler().look();
  assert.deepEqual(recorded(), []);
  assert.equal(owed.isEmpty, true);
  owed.owe(0, ino);
  engine.ring.recording = RecordingState.gap;
  newSettler().look();
  assert.deepEqual(recorded(), []);
  assert.equal(owed.isEmpty, true);
});

test("what a number owed that is a directory's by now, is owed no more", { skip }, () => {
  mkdirSync(join(engine.root, "folder"));
  engine.lookup(1, "folder");
  const owed = new OwedTimes(engine.ring);
  owed.owe(0, statSync(join(engine.root, "folder")).ino);
  newSettler().look();
  assert.deepEqual(recorded(), []);
  assert.equal(owed.isEmpty, true);
});

test("what finds no room in the ring stays owed, and its round does not count", { skip }, () => {
  writeUntilOwed();
  const writer = new RingWriter(engine.ring, 1);
  // Full: nobody reads.
  while (writer.reserve(1 << 20) >= 0) {
    writer.op.at(writer.at).start(1, 0, 1);
    writer.publish(1 << 20);
  }
  const owed = new OwedTimes(engine.ring);
  const { rounds } = owed;
  const contexts = new Map([[0, engine.context]]);
  new TimeSettler(writer, contexts, systemClock).look();
  assert.deepEqual(owed.files(), [{ mount: 0, ino }]);
  assert.equal(owed.rounds, rounds);
});

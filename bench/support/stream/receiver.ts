/** The receiving process of a stream run. Prints its port, and at the end what it took. */
import { randomBytes } from "node:crypto";
import { open } from "node:fs/promises";
import type { Duplex } from "node:stream";
import { zstdDecompressSync } from "node:zlib";

import { alignUp } from "../../../src/base/bytes.ts";
import { Ring } from "../../../src/journal/ring.ts";
import type { SegmentLog } from "../../../src/journal/segment-log.ts";
import { openTargetLog } from "../../../src/agent/jobs/target-job.ts";
import { newParser } from "../../../src/agent/peer-connection.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { expectStreams } from "../../../src/platform/processes.ts";
import { TlsListener } from "../../../src/platform/tls.ts";
import { FRAME_PAYLOAD_BYTES_MAX } from "../../../src/protocol/frame.ts";
import type { TargetCopy } from "../../../src/protocol/stream-messages.ts";
import { StreamTarget } from "../../../src/replication/stream-target.ts";
import { CpuTimer, type EndConfig, type EndResult } from "./end-config.ts";

const PUMP_MS = 1;
/** A job trims its log behind each checkpoint, which is due after so many bytes. */
const CHECKPOINT_BYTES: number = 256 << 20;

expectStreams();
const COMPLETE: TargetCopy = {
  due: "none",
  gaps: 0,
  work: null,
  percent: 100,
  etaSeconds: null,
  filesDone: 0,
  filesTotal: 0,
  bytesDone: 0,
  bytesTotal: 0,
  pendingResyncs: 0,
  isPaused: false,
  isReplicaFull: false,
  problem: null,
  unknownOwners: { count: 0, names: [] },
};

const config = JSON.parse(process.argv[2] ?? "") as EndConfig;
const total = config.ops * config.opBytes;

let pieces: Uint8Array[] = [];
let waiting = 0;

/** How many bytes came out. */
function decompress(chunk: Uint8Array): number {
  pieces.push(chunk);
  waiting += chunk.length;
  const head = pieces[0] as Buffer;
  if (waiting < 4 || (head.length >= 4 && waiting < 4 + head.readUInt32BE(0))) return 0;
  const bytes = Buffer.concat(pieces);
  let at = 0;
  let out = 0;
  while (at + 4 <= bytes.length) {
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) break;
    out += zstdDecompressSync(bytes.subarray(at + 4, end)).length;
    at = end;
  }
  pieces = [bytes.subarray(at)];
  waiting = bytes.length - at;
  return out;
}

async function receivePlain(socket: Duplex): Promise<EndResult> {
  const isKept = config.form === "pipe-to-disk";
  const file = isKept ? await open(`${config.folder}/received`, "w") : undefined;
  let timer: CpuTimer | undefined;
  let taken = 0;
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    timer ??= new CpuTimer();
    await file?.write(chunk as Uint8Array);
    taken += config.form === "pipe-zstd" ? decompress(chunk as Uint8Array) : chunk.length;
    if (taken >= total) break;
  }
  await file?.datasync();
  const result = (timer ?? new CpuTimer()).result();
  socket.write("x");
  await file?.close();
  return result;
}

interface Receiving {
  readonly target: StreamTarget;
  readonly ring: Ring;
  readonly log: SegmentLog;
}

/** What the applier's part takes is not the stream's: records are released, not read. */
async function receiveStream(socket: Duplex, { target, ring, log }: Receiving): Promise<EndResult> {
  const parser = newParser();
  parser.payloadBytesMax = FRAME_PAYLOAD_BYTES_MAX;
  const { connection, welcome } = target.open();
  await welcome;
  target.attach(connection, { socket, parser, early: [] });
  let timer: CpuTimer | undefined;
  let trimmedLsn = 0;
  while (ring.applied < config.ops) {
    if (target.received > 0) timer ??= new CpuTimer();
    releaseAll(ring);
    if ((ring.applied - trimmedLsn) * config.opBytes >= CHECKPOINT_BYTES) {
      trimmedLsn = ring.applied;
      await log.trimBelow(trimmedLsn + 1);
    }
    target.pump();
    await systemClock.sleep(PUMP_MS);
  }
  return (timer ?? new CpuTimer()).result();
}

function releaseAll(ring: Ring): void {
  for (let lsn = ring.applied + 1; ring.isPublished(lsn); lsn++) {
    const { arena, start, size } = ring.locate(lsn);
    ring.release(lsn, arena, start + alignUp(size, 8));
  }
}

async function newTarget(): Promise<Receiving> {
  const log = await openTargetLog(config.folder);
  await log.startStream(randomBytes(16), 1);
  const sizes = { arenas: 1, indexSlots: 65536, arenaBytes: 60 << 20 };
  const ring = Ring.create(`${config.memory}/target`, sizes);
  const target = new StreamTarget({
    clock: systemClock,
    log,
    ring,
    owners: undefined,
    routing: undefined,
    sourceSaid: null,
    onSource: () => {},
    onGap: () => {},
    copy: () => COMPLETE,
    onChange: () => {},
    onBroken: (error) => {
      throw error;
    },
  });
  target.start();
  return { target, ring, log };
}

const receiving = config.form.startsWith("pipe") ? undefined : await newTarget();
const { credentials } = config;
const listener = await TlsListener.listen({
  address: "127.0.0.1",
  port: 0,
  credentials,
  onConnection: ({ socket }) => {
    const run = receiving === undefined ? receivePlain(socket) : receiveStream(socket, receiving);
    void run.then((result) => process.stdout.write(`${JSON.stringify(result)}\n`));
  },
});
process.stdout.write(`${listener.port}\n`);
// Not longer than who has started it.
process.stdin.resume().once("end", () => process.exit(0));

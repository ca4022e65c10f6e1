/** The sending process of a stream run. Prints "ready", starts at a line on its standard input. */
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { constants, zstdCompressSync } from "node:zlib";

import { alignUp } from "../../../src/base/bytes.ts";
import { Ring, RingWriter } from "../../../src/journal/ring.ts";
import { SegmentLog } from "../../../src/journal/segment-log.ts";
import { OP_HEADER_BYTES, OpKind } from "../../../src/model/op.ts";
import { newParser } from "../../../src/agent/peer-connection.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { folderLogFiles } from "../../../src/platform/log-files.ts";
import { expectStreams } from "../../../src/platform/processes.ts";
import { connectTls } from "../../../src/platform/tls.ts";
import { FRAME_PAYLOAD_BYTES_MAX } from "../../../src/protocol/frame.ts";
import { OpStore } from "../../../src/replication/op-store.ts";
import { StreamSource } from "../../../src/replication/stream-source.ts";
import { CpuTimer, type EndConfig, type EndResult, sampleBytes } from "./end-config.ts";

/** As the job does it. */
const PUMP_MS = 4;

expectStreams();

const config = JSON.parse(process.argv[2] ?? "") as EndConfig;

function filledRing(): Ring {
  const { ops, opBytes, memory } = config;
  const size = OP_HEADER_BYTES + opBytes;
  const arenaBytes = alignUp((ops + 1) * alignUp(size, 8), 4096);
  const indexSlots = 2 ** Math.ceil(Math.log2(ops + 128));
  const ring = Ring.create(`${memory}/source`, { arenas: 1, indexSlots, arenaBytes });
  const writer = new RingWriter(ring, 0);
  const bytes = sampleBytes(opBytes);
  for (let op = 0; op < ops; op++) {
    const view = writer.op.at(writer.reserve(size));
    view.start(OpKind.write, 0, 42);
    view.size = size;
    view.length = opBytes;
    view.offset = op * opBytes;
    view.bytes.set(bytes, view.body(0));
    writer.publish(size);
  }
  return ring;
}

async function start(): Promise<void> {
  process.stdout.write("ready\n");
  await once(process.stdin, "data");
}

function compressed(piece: Uint8Array): Uint8Array {
  const small = zstdCompressSync(piece, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, small.length);
  return Buffer.concat([new Uint8Array(length.buffer), small]);
}

async function sendPlain(socket: Duplex): Promise<EndResult> {
  const { ops, opBytes } = config;
  // As much memory as the stream reads from: the processor's caches do not help either.
  const bytes = Buffer.alloc(ops * opBytes, sampleBytes(opBytes));
  const done = once(socket, "data");
  await start();
  const timer = new CpuTimer();
  for (let at = 0; at < bytes.length; at += opBytes) {
    const piece = bytes.subarray(at, at + opBytes);
    const sent = config.form === "pipe-zstd" ? compressed(piece) : piece;
    if (!socket.write(sent)) await once(socket, "drain");
  }
  await done;
  return timer.result();
}

async function sendStream(socket: Duplex): Promise<EndResult> {
  const ring = filledRing();
  const spill = await SegmentLog.open(await folderLogFiles(`${config.folder}/spill`));
  const store = new OpStore(ring, spill);
  const parser = newParser();
  parser.payloadBytesMax = FRAME_PAYLOAD_BYTES_MAX;
  let problem: string | undefined;
  const source = new StreamSource({
    clock: systemClock,
    store,
    owners: undefined,
    compression: config.form === "stream-zstd" ? "on" : "off",
    connect: () => {
      const welcome = { durable: 0, applied: 0 };
      return Promise.resolve({ connection: { socket, parser, early: [] }, welcome });
    },
    ringState: () => ({ recording: 1, gaps: 0, engineGeneration: 1, lsn: 0 }),
    onTarget: () => {},
    onChange: ({ connected, why }) => {
      if (!connected) problem = why;
    },
    route: (records) => records,
    allowance: () => Number.POSITIVE_INFINITY,
  });
  await start();
  const timer = new CpuTimer();
  while (source.durable < config.ops) {
    if (problem !== undefined) throw new Error(problem);
    source.pump(store.look());
    await systemClock.sleep(PUMP_MS);
  }
  const result = timer.result();
  await source.stop();
  return result;
}

const { port, credentials, form } = config;
const { socket } = await connectTls({ host: "127.0.0.1", port, credentials });
const result = form.startsWith("pipe") ? await sendPlain(socket) : await sendStream(socket);
process.stdout.write(`${JSON.stringify(result)}\n`);
socket.destroy();
process.stdin.resume().once("end", () => process.exit(0));

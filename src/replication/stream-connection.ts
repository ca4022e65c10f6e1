/** A connection between source and target of a stream, and how frames go over it. */
import type { Duplex } from "node:stream";
import { crc32, zstdCompressSync, zstdDecompressSync, constants } from "node:zlib";

import { hash32 } from "../platform/hash.ts";
import { receiveInto } from "../platform/receive-into.ts";
import {
  type Checksums,
  type Frame,
  FRAME_HEADER_BYTES,
  FRAME_ZSTD,
  FrameError,
  type FrameParser,
  type FrameToSend,
  FrameType,
  framePieces,
  jsonPayload,
} from "../protocol/frame.ts";
import type { OpRecords } from "../model/op-records.ts";

/** What a stream needs of a connection between two agents. */
export interface StreamConnection {
  readonly socket: Duplex;
  readonly parser: FrameParser;
  /** Frames that came together with the first message: to be taken first. */
  readonly early: readonly Frame[];
}

const ZSTD_LEVEL = 1;
/** zlib's least. A chunk as large as what comes out spares it joining many: a third of its time. */
const CHUNK_BYTES_MIN = 64;
/** Smaller payloads are not worth it. */
const ZSTD_BYTES_MIN = 512;

export const FRAME_CHECKSUMS: Checksums = { ofPayload: hash32, ofHeader: crc32 };

/**
 * False when the socket's buffer is full, as of `Writable.write`; false too when it is closed.
 * `onWritten`: nobody looks at the payload's memory any more; not called when a connection breaks.
 */
export function writeFrame(socket: Duplex, frame: FrameToSend, onWritten?: () => void): boolean {
  if (!socket.writable) return false;
  const [first, rest] = framePieces(frame, FRAME_CHECKSUMS);
  const done = (error: Error | null | undefined): void => {
    if (!error) onWritten?.();
  };
  if (rest === undefined) return socket.write(first, done);
  socket.cork(); // TLS copies corked pieces into one
  socket.write(first);
  const hasRoom = socket.write(rest, done);
  socket.uncork();
  return hasRoom;
}

/** One end of a stream: cuts what comes in into frames, and sends frames. */
export class FrameChannel {
  readonly #socket: Duplex;
  #bytesSent = 0;
  #isClosed = false;
  #isPaused = false;

  /** `onFrame` may throw: the connection is then closed, with the error as the reason. */
  constructor(
    { socket, parser, early }: StreamConnection,
    handlers: {
      readonly onFrame: (frame: Frame) => void;
      readonly onDrain: () => void;
      /** Once, whatever ended the connection. */
      readonly onClose: (reason: string) => void;
    },
  ) {
    this.#socket = socket;
    const end = (reason: string): void => {
      if (this.#isClosed) return;
      this.#isClosed = true;
      socket.destroy();
      handlers.onClose(reason);
    };
    const take = (frames: Iterable<Frame>): void => {
      for (const frame of frames) {
        if (this.#isClosed) return;
        handlers.onFrame(frame);
      }
    };
    const guarded = (work: () => void): void => {
      try {
        work();
      } catch (error) {
        end((error as Error).message);
      }
    };
    const filled = (count: number): void => {
      if (this.#isClosed) return;
      const frame = parser.filled(count);
      if (frame !== undefined) handlers.onFrame(frame);
    };
    this.close = end;
    socket.on("error", (error: Error) => end(error.message));
    socket.on("close", () => end("the connection was closed"));
    socket.on("end", () => end("the peer has ended the connection"));
    socket.on("drain", handlers.onDrain);
    // After the constructor: a handler may want the channel.
    queueMicrotask(() => {
      guarded(() => {
        take(early);
        for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
          take(parser.push(chunk as Uint8Array));
        }
      });
      if (this.#isClosed) return;
      // What was decrypted before the end is still handed over.
      const room = (): Uint8Array | undefined => (this.#isClosed ? undefined : parser.room);
      const onFilled = (count: number): void => guarded(() => filled(count));
      if (!receiveInto(socket, { room, onFilled })) {
        socket.on("data", (chunk: Uint8Array) => guarded(() => take(parser.push(chunk))));
      }
      // It may have been paused while its first messages were read.
      if (!this.#isPaused) socket.resume();
    });
  }

  readonly close: (reason: string) => void;

  get isClosed(): boolean {
    return this.#isClosed;
  }
  get bytesSent(): number {
    return this.#bytesSent;
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }
  resume(): void {
    this.#isPaused = false;
    this.#socket.resume();
  }

  /** False when the socket's buffer is full: wait for `onDrain`. See {@link writeFrame}. */
  send(frame: FrameToSend, onWritten?: () => void): boolean {
    if (this.#isClosed) return true;
    this.#bytesSent += FRAME_HEADER_BYTES + frame.payload.length;
    return writeFrame(this.#socket, frame, onWritten);
  }

  sendJson(type: FrameType, value: unknown): boolean {
    return this.send({ type, payload: jsonPayload(value) });
  }

  sendOps(records: OpRecords, compress: boolean, onWritten?: () => void): boolean {
    const { firstLsn, lastLsn, payload, hasHeadroom = false } = records;
    const ops = { type: FrameType.ops, a: firstLsn, b: lastLsn };
    const plain = { ...ops, payload, hasHeadroom };
    if (!compress || payload.length < ZSTD_BYTES_MIN) return this.send(plain, onWritten);
    const params = { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL };
    const small = zstdCompressSync(payload, { params, chunkSize: payload.length });
    if (small.length > payload.length * 0.95) return this.send(plain, onWritten);
    onWritten?.();
    return this.send({ ...ops, payload: small, flags: FRAME_ZSTD, rawLength: payload.length });
  }
}

export function isCompressed({ flags }: Frame): boolean {
  return (flags & FRAME_ZSTD) !== 0;
}

/** What a compressed frame carries. @throws {FrameError} when it has not the length that it says */
export function decompress({ payload, rawLength }: Frame): Uint8Array {
  let raw: Uint8Array;
  try {
    const chunkSize = Math.max(rawLength, CHUNK_BYTES_MIN);
    raw = zstdDecompressSync(payload, { maxOutputLength: rawLength, chunkSize });
  } catch (error) {
    throw new FrameError(`a frame cannot be decompressed: ${(error as Error).message}`);
  }
  if (raw.length !== rawLength) throw new FrameError("a frame has another length than it says");
  return raw;
}

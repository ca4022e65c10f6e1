/**
 * The frame: what travels between two agents, on every connection. A header of 32 bytes and a
 * payload; all numbers little-endian:
 *
 *      0  u32 length      of the payload as it is sent
 *      4  u8  type        FrameType
 *      5  u8  flags       FRAME_ZSTD
 *      6  u16 magic       0x5353: bytes that are no frame are told from one that is damaged
 *      8  u32 checksum    CRC-32 of the header with this field zero, going on from the low half of
 *                         the payload's XXH3-64, as sent
 *     12  u32 rawLength   of the payload before compression
 *     16  u64 a           ops: LSN of the first op
 *     24  u64 b           ops: LSN of the last op
 *
 * TLS proves that bytes come from the peer; the checksum proves that they are what the peer had in
 * its memory when it made the frame, and travels with it to the disk.
 */
import { PAGE_BYTES, readU64, uninitialized, writeU64 } from "../base/bytes.ts";

export const FRAME_HEADER_BYTES = 32;
/** Payload of one frame: the largest op fits with room to spare. */
export const FRAME_PAYLOAD_BYTES_MAX: number = 4 << 20;
/** First messages and control messages, which are JSON. */
export const JSON_PAYLOAD_BYTES_MAX: number = 1 << 20;

const MAGIC = 0x5353;

export const FrameType = {
  /** JSON, first on a connection, from who has opened it: what it is for. */
  hello: 1,
  /** JSON, the answer to it. */
  welcome: 2,
  /** JSON `{ code, message, hint }`: the connection ends. */
  refuse: 3,
  /** Whole op records, one behind the other, each at a multiple of 8. */
  ops: 4,
  /** How far the target is; see stream-messages.ts. */
  positions: 5,
  /** Questions of the target to the source's mirror thread. */
  asks: 6,
  /** What the source's ring says besides ops. */
  source: 7,
  /** Nothing but a sign of life. */
  heartbeat: 8,
  /** JSON: a request or an answer between agents. */
  control: 9,
  /** JSON: what users and groups of the source are called; see stream-messages.ts. */
  owners: 10,
} as const;

export type FrameType = (typeof FrameType)[keyof typeof FrameType];

const TYPES: ReadonlySet<number> = new Set(Object.values(FrameType));

/** The payload is compressed with zstd. */
export const FRAME_ZSTD = 1;

export interface FrameHeader {
  readonly type: FrameType;
  readonly flags: number;
  readonly length: number;
  readonly rawLength: number;
  readonly a: number;
  readonly b: number;
}

export interface Frame extends FrameHeader {
  /** As sent: compressed when the flags say so. */
  readonly payload: Uint8Array;
  /** As of {@link Checksums.ofPayload}, of the payload as sent. */
  readonly payloadChecksum: number;
}

/** A frame's checksum is made of two. */
export interface Checksums {
  /** The low half of XXH3-64. */
  readonly ofPayload: (payload: Uint8Array) => number;
  /** CRC-32, going on from `seed`. */
  readonly ofHeader: (header: Uint8Array, seed: number) => number;
}

/** The peer sent what is no frame, or a frame that was damaged: the connection must end. */
export class FrameError extends Error {
  override readonly name = "FrameError";
}

export interface FrameToSend {
  readonly type: FrameType;
  readonly payload: Uint8Array;
  /** The payload has room for the header before it in its buffer: see {@link newPayload}. */
  readonly hasHeadroom?: boolean;
  readonly flags?: number;
  readonly rawLength?: number;
  readonly a?: number;
  readonly b?: number;
}

/** A payload to be filled, with room for the header before it. */
export function newPayload(length: number): Uint8Array<ArrayBuffer> {
  return uninitialized(FRAME_HEADER_BYTES + length).subarray(FRAME_HEADER_BYTES);
}

/**
 * Pieces of 4 KiB to 4 MiB, by powers of two. Each is half full at least, since who keeps payloads
 * counts their bytes; a smaller or larger payload has memory of its own.
 */
const POOLED_BITS_MIN = 12;
const POOLED_BITS_MAX = 22;
/** Where a pool has memory in pages, pieces above this size are worth that. */
const PLAIN_BYTES_MAX: number = 256 << 10;
/** Behind such a payload. */
const PAGED_TAIL_BYTES: number = 2 * PAGE_BYTES;

/**
 * Payloads whose memory is used again: fresh memory costs the kernel more time than copying to it,
 * and the collector more than both when there are many.
 */
export class PayloadPool {
  readonly #bytesMax: number;
  readonly #newPages: ((bytes: number) => Uint8Array<ArrayBuffer>) | undefined;
  /** By size, from POOLED_BITS_MIN on. */
  readonly #free: Uint8Array<ArrayBuffer>[][] = [];
  /** The piece in each buffer that was made here. */
  readonly #own = new WeakMap<ArrayBufferLike, Uint8Array<ArrayBuffer>>();
  #bytes = 0;
  /** The least of #bytes since {@link shrink}. */
  #unusedBytes = 0;

  /**
   * `bytesMax`: so much is kept for later. `newPages`: makes memory that begins at a page's start;
   * large payloads have it then, see {@link pagesOf}.
   */
  constructor(bytesMax: number, newPages?: (bytes: number) => Uint8Array<ArrayBuffer>) {
    this.#bytesMax = bytesMax;
    this.#newPages = newPages;
    for (let bits = POOLED_BITS_MIN; bits <= POOLED_BITS_MAX; bits++) this.#free.push([]);
  }

  /** As {@link newPayload}. */
  take(length: number): Uint8Array<ArrayBuffer> {
    const isPaged = this.#isPaged(length);
    const start = isPaged ? PAGE_BYTES : FRAME_HEADER_BYTES;
    const end = start + length;
    const bits = 32 - Math.clz32(end + (isPaged ? PAGED_TAIL_BYTES : 0) - 1);
    if (bits < POOLED_BITS_MIN || bits > POOLED_BITS_MAX) return newPayload(length);
    const kept = this.#free[bits - POOLED_BITS_MIN]?.pop();
    if (kept !== undefined) this.#bytes -= kept.length;
    this.#unusedBytes = Math.min(this.#unusedBytes, this.#bytes);
    return (kept ?? this.#newPiece(2 ** bits)).subarray(start, end);
  }

  #isPaged(length: number): boolean {
    return this.#newPages !== undefined && FRAME_HEADER_BYTES + length > PLAIN_BYTES_MAX;
  }

  #newPiece(bytes: number): Uint8Array<ArrayBuffer> {
    const newPages = bytes > PLAIN_BYTES_MAX ? this.#newPages : undefined;
    const piece = newPages?.(bytes) ?? uninitialized(bytes);
    this.#own.set(piece.buffer, piece);
    return piece;
  }

  /**
   * Of a payload that was taken here: its memory from the page before it to two pages behind its
   * last byte, or more. Undefined: it is not such memory.
   */
  pagesOf(payload: Uint8Array): Uint8Array | undefined {
    if (!this.#isPaged(payload.length)) return undefined;
    return this.#own.get(payload.buffer);
  }

  /** Nobody looks at what {@link take} returned any more. What is not of here is left alone. */
  giveBack(payload: Uint8Array): void {
    const piece = this.#own.get(payload.buffer);
    if (piece === undefined || this.#bytes + piece.length > this.#bytesMax) return;
    const bits = 31 - Math.clz32(piece.length);
    this.#free[bits - POOLED_BITS_MIN]?.push(piece);
    this.#bytes += piece.length;
  }

  /** To be called now and then: gives up what nobody has asked for since the last call. */
  shrink(): void {
    const bytes = this.#bytes - this.#unusedBytes;
    for (const pieces of this.#free) {
      while (this.#bytes > bytes && pieces.length > 0) this.#bytes -= pieces.pop()?.length ?? 0;
    }
    this.#unusedBytes = this.#bytes;
  }
}

/** A frame as it is sent: one piece where the payload has room before it, else two. */
export function framePieces(
  frame: FrameToSend,
  checksums: Checksums,
): [Uint8Array] | [header: Uint8Array, payload: Uint8Array] {
  const { payload, hasHeadroom = false } = frame;
  if (!hasHeadroom) {
    const header = new Uint8Array(FRAME_HEADER_BYTES);
    writeHeader(header, frame, checksums);
    return [header, payload];
  }
  const start = payload.byteOffset - FRAME_HEADER_BYTES;
  const whole = new Uint8Array(payload.buffer, start, FRAME_HEADER_BYTES + payload.length);
  writeHeader(whole.subarray(0, FRAME_HEADER_BYTES), frame, checksums);
  return [whole];
}

function writeHeader(bytes: Uint8Array, frame: FrameToSend, checksums: Checksums): void {
  const { type, payload, flags = 0, rawLength = payload.length, a = 0, b = 0 } = frame;
  const view = new DataView(bytes.buffer, bytes.byteOffset, FRAME_HEADER_BYTES);
  bytes.fill(0);
  view.setUint32(0, payload.length, true);
  bytes[4] = type;
  bytes[5] = flags;
  view.setUint16(6, MAGIC, true);
  view.setUint32(12, rawLength, true);
  writeU64(view, 16, a);
  writeU64(view, 24, b);
  view.setUint32(8, checksums.ofHeader(bytes, checksums.ofPayload(payload)), true);
}

const text = new TextEncoder();

export function jsonPayload(value: unknown): Uint8Array {
  return text.encode(JSON.stringify(value));
}

/** @throws {FrameError} when the payload is no JSON object. */
export function parseJsonPayload(payload: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch {
    throw new FrameError("a message is no JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new FrameError("a message is no object");
  }
  return value as Record<string, unknown>;
}

/**
 * Cuts a byte stream into frames, wherever it is interrupted. Nothing is allocated for a frame
 * before its header was found good.
 */
export class FrameParser {
  readonly #checksums: Checksums;
  readonly #header = new Uint8Array(FRAME_HEADER_BYTES);
  readonly #view = new DataView(this.#header.buffer);
  #payload: Uint8Array | undefined;
  #room: Uint8Array = this.#header;
  /** Until the peer is known, only small frames are taken. */
  payloadBytesMax: number = JSON_PAYLOAD_BYTES_MAX;
  /** Has the memory for payloads of ops, where somebody gives it back. */
  pool: PayloadPool | undefined;

  constructor(checksums: Checksums) {
    this.#checksums = checksums;
  }

  /**
   * Where the next bytes belong: what is read to there need not be copied. Empty only behind a
   * {@link FrameError}, which ends what a parser is for.
   */
  get room(): Uint8Array {
    return this.#room;
  }

  /**
   * The first `count` bytes of {@link room} have come, at least one. Returns the frame that they
   * complete. @throws {FrameError}
   */
  filled(count: number): Frame | undefined {
    this.#room = this.#room.subarray(count);
    if (this.#room.length > 0) return undefined;
    if (this.#payload === undefined) {
      this.#checkHeader();
      this.#payload = this.#newPayload(this.#view.getUint32(0, true));
      this.#room = this.#payload;
      if (this.#room.length > 0) return undefined;
    }
    return this.#finish(this.#payload);
  }

  /**
   * The frames that `chunk` completes. A generator, so that what one frame decides (a larger limit,
   * the end) holds for the next. @throws {FrameError}
   */
  *push(chunk: Uint8Array): Generator<Frame> {
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + this.#room.length);
      this.#room.set(part);
      at += part.length;
      const frame = this.filled(part.length);
      if (frame !== undefined) yield frame;
    }
  }

  #newPayload(length: number): Uint8Array {
    const pool = this.#header[4] === FrameType.ops ? this.pool : undefined;
    return pool?.take(length) ?? uninitialized(length);
  }

  #checkHeader(): void {
    const view = this.#view;
    if (view.getUint16(6, true) !== MAGIC) throw new FrameError("this is no frame of ours");
    const type = this.#header[4] as number;
    if (!TYPES.has(type)) throw new FrameError(`a frame has the unknown type ${type}`);
    const flags = this.#header[5] as number;
    if ((flags & ~FRAME_ZSTD) !== 0) throw new FrameError(`a frame has unknown flags ${flags}`);
    const largest = Math.max(view.getUint32(0, true), view.getUint32(12, true));
    if (largest > this.payloadBytesMax) {
      throw new FrameError(`a frame of ${largest} bytes is over the limit`);
    }
  }

  #finish(payload: Uint8Array): Frame {
    const view = this.#view;
    const expected = view.getUint32(8, true);
    view.setUint32(8, 0, true);
    const payloadChecksum = this.#checksums.ofPayload(payload);
    if (this.#checksums.ofHeader(this.#header, payloadChecksum) !== expected)
      throw new FrameError("a frame was damaged on its way");
    const frame: Frame = {
      type: this.#header[4] as FrameType,
      flags: this.#header[5] as number,
      length: payload.length,
      rawLength: view.getUint32(12, true),
      a: readU64(view, 16),
      b: readU64(view, 24),
      payload,
      payloadChecksum,
    };
    this.#payload = undefined;
    this.#room = this.#header;
    return frame;
  }
}

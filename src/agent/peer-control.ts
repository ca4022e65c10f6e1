/**
 * Requests between agents. One control connection for a pair is opened when it is first needed,
 * used in both directions, and opened again after it broke. On it travel JSON frames: `{ id,
 * command, body }`, answered by `{ id, result }` or `{ id, error }`.
 */
import type { Duplex } from "node:stream";

import { StandinError } from "../base/errors.ts";
import { type Clock, repeat, withTimeout } from "../platform/clock.ts";
import {
  type Frame,
  FrameError,
  FrameType,
  JSON_PAYLOAD_BYTES_MAX,
  jsonPayload,
  parseJsonPayload,
} from "../protocol/frame.ts";
import { parseRefusal } from "../protocol/hello.ts";
import type { AgentIdentityName } from "../trust/certificate.ts";
import { writeFrame } from "../replication/stream-connection.ts";
import { hungUp, type PeerConnection } from "./peer-connection.ts";

export const CONTROL_PURPOSE = "control";

export type RequestBody = Readonly<Record<string, unknown>>;

/** Does what a peer asks for. A StandinError that it throws reaches the asker as it is. */
export type PeerRequestHandler = (
  body: RequestBody,
  peer: AgentIdentityName,
) => Promise<Record<string, unknown>> | Record<string, unknown>;

/** A sign of life at least so often; after {@link SILENCE_MS} without any the line is cut. */
const HEARTBEAT_MS = 5000;
const SILENCE_MS = 20_000;
/** Requests of one peer that are worked on at a time; more are refused. */
const REQUESTS_MAX = 256;

interface Waiting {
  readonly resolve: (result: Record<string, unknown>) => void;
  readonly reject: (error: Error) => void;
}

interface Line {
  readonly connection: PeerConnection;
  readonly waiting: Map<number, Waiting>;
  lastHeardMs: number;
  requestsInHand: number;
}

/** Opens a control connection to a member, by id. */
export type OpenControl = (agent: string) => Promise<PeerConnection>;

export class PeerControl {
  readonly #open: OpenControl;
  readonly #clock: Clock;
  readonly #report: (message: string) => void;
  readonly #handlers = new Map<string, PeerRequestHandler>();
  readonly #lines = new Map<string, Line>();
  readonly #opening = new Map<string, Promise<Line>>();
  #nextId = 1;

  constructor(open: OpenControl, clock: Clock, report: (message: string) => void) {
    this.#open = open;
    this.#clock = clock;
    this.#report = report;
  }

  onRequest(command: string, handler: PeerRequestHandler): void {
    this.#handlers.set(command, handler);
  }

  /**
   * Asks the member with this id. @throws {StandinError} what the peer's handler threw, what
   * connecting threw, `REQUEST_TIMEOUT`, `REQUEST_TOO_LARGE`, `PEER_HUNG_UP` (then it may have been
   * done or not)
   */
  request(
    peerId: string,
    command: string,
    body: RequestBody,
    timeoutMs: number,
  ): Promise<Record<string, unknown>> {
    const asking = this.#lineTo(peerId).then((line) => this.#ask(line, command, body));
    return withTimeout(this.#clock, timeoutMs, asking, () => {
      return new StandinError("REQUEST_TIMEOUT", `no answer to "${command}" in time`, {
        hint: "Is the other server overloaded? Look into the log of its agent.",
      });
    });
  }

  /** Takes a control connection that a peer opened. */
  accept(connection: PeerConnection): void {
    void connection.opened.then(() => this.#adopt(connection));
  }

  #lineTo(peerId: string): Promise<Line> {
    const line = this.#lines.get(peerId);
    if (line?.connection.socket.writable === true) return Promise.resolve(line);
    const running = this.#opening.get(peerId);
    if (running !== undefined) return running;
    const opening = this.#open(peerId).then((connection) => this.#adopt(connection));
    this.#opening.set(peerId, opening);
    const done = (): void => void this.#opening.delete(peerId);
    opening.then(done, done);
    return opening;
  }

  #adopt(connection: PeerConnection): Line {
    const { socket, parser, peer } = connection;
    const lastHeardMs = this.#clock.monotonicMs();
    const line: Line = { connection, waiting: new Map(), lastHeardMs, requestsInHand: 0 };
    parser.payloadBytesMax = JSON_PAYLOAD_BYTES_MAX;
    this.#lines.set(peer.id, line);
    const closed = new AbortController();
    socket.once("close", () => {
      closed.abort();
      if (this.#lines.get(peer.id) === line) this.#lines.delete(peer.id);
      for (const { reject } of line.waiting.values()) reject(hungUp());
      line.waiting.clear();
    });
    socket.on("data", (chunk: Buffer) => this.#guarded(line, () => parser.push(chunk)));
    this.#guarded(line, () => connection.early);
    if (socket.destroyed) closed.abort();
    else void repeat(this.#clock, HEARTBEAT_MS, closed.signal, () => this.#beat(line));
    return line;
  }

  #beat({ connection: { socket }, lastHeardMs }: Line): void {
    if (this.#clock.monotonicMs() - lastHeardMs > SILENCE_MS) socket.destroy();
    else writeFrame(socket, { type: FrameType.heartbeat, payload: new Uint8Array(0) });
  }

  /** What is no frame, or no message of ours, ends the line and nothing else. */
  #guarded(line: Line, frames: () => Iterable<Frame>): void {
    line.lastHeardMs = this.#clock.monotonicMs();
    try {
      for (const frame of frames()) this.#onFrame(line, frame);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#report(`${line.connection.peer.name} sent nonsense: ${error.message}`);
      line.connection.socket.destroy();
    }
  }

  #onFrame(line: Line, frame: Frame): void {
    if (frame.type === FrameType.heartbeat) return;
    if (frame.type !== FrameType.control) throw new FrameError("a frame has no place here");
    const message = parseJsonPayload(frame.payload);
    const id = message.id;
    if (typeof id !== "number") throw new FrameError("a control message has no id");
    if (typeof message.command === "string") {
      return void this.#answer(line, id, message.command, message.body);
    }
    const waiting = line.waiting.get(id);
    line.waiting.delete(id);
    const error = message.error;
    if (error === undefined) waiting?.resolve(objectOf(message.result));
    else waiting?.reject(answeredError(objectOf(error)));
  }

  #ask(line: Line, command: string, body: RequestBody): Promise<Record<string, unknown>> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const { socket } = line.connection;
      if (!socket.writable) return reject(hungUp());
      line.waiting.set(id, { resolve, reject });
      if (!send(socket, { id, command, body })) {
        line.waiting.delete(id);
        reject(tooLarge(command));
      }
    });
  }

  async #answer(line: Line, id: number, command: string, body: unknown): Promise<void> {
    const { socket, peer } = line.connection;
    line.requestsInHand += 1;
    try {
      if (line.requestsInHand > REQUESTS_MAX) throw busy();
      const handler = this.#handlers.get(command);
      if (handler === undefined) throw unknownCommand(command);
      const result = await handler(objectOf(body), peer);
      if (!send(socket, { id, result })) throw tooLarge(command);
    } catch (error) {
      if (!(error instanceof StandinError)) this.#report(`"${command}" failed: ${stackOf(error)}`);
      send(socket, { id, error: errorBody(error) });
    } finally {
      line.requestsInHand -= 1;
    }
  }
}

/** False when it is larger than the peer takes. */
function send(socket: Duplex, message: object): boolean {
  const payload = jsonPayload(message);
  if (payload.length > JSON_PAYLOAD_BYTES_MAX) return false;
  writeFrame(socket, { type: FrameType.control, payload });
  return true;
}

function errorBody(error: unknown): object {
  if (!(error instanceof StandinError)) return { code: "INTERNAL", message: String(error) };
  const { code, message, hint } = error;
  return { code, message, ...(hint === undefined ? {} : { hint }) };
}

function answeredError(value: Record<string, unknown>): StandinError {
  const { code, message, hint } = parseRefusal(value);
  return new StandinError(code, message, hint === undefined ? {} : { hint });
}

function objectOf(value: unknown): Record<string, unknown> {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? (value as Record<string, unknown>) : {};
}

function tooLarge(command: string): StandinError {
  return new StandinError("REQUEST_TOO_LARGE", `a message of "${command}" is over 1 MiB`);
}

function busy(): StandinError {
  return new StandinError("PEER_BUSY", "the peer has too many requests in hand", {
    hint: "Try again in a moment.",
  });
}

function unknownCommand(command: string): StandinError {
  return new StandinError("UNKNOWN_COMMAND", `the peer does not know "${command}"`, {
    hint: "Both servers should run the same release of Standin.",
  });
}

function stackOf(error: unknown): string {
  return (error as Error | undefined)?.stack ?? String(error);
}

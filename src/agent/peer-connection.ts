/** One connection between two agents, and how its first frames are read and written. */
import type { Duplex } from "node:stream";

import { StandinError } from "../base/errors.ts";
import { type Clock, withTimeout } from "../platform/clock.ts";
import { type Frame, FrameParser, FrameType, jsonPayload } from "../protocol/frame.ts";
import { FRAME_CHECKSUMS, writeFrame } from "../replication/stream-connection.ts";
import type { AgentIdentityName } from "../trust/certificate.ts";

/** Both agents have proved who they are, and agree on what the connection is for. */
export interface PeerConnection {
  readonly peer: AgentIdentityName;
  /** "stream", "control", … */
  readonly purpose: string;
  /** From the hello of who opened it. */
  readonly parameters: Readonly<Record<string, unknown>>;
  /** What the handler of the other side returned; empty on the handler's own side. */
  readonly welcome: Readonly<Record<string, unknown>>;
  /** Of the protocol, as both speak it. */
  readonly version: number;
  /**
   * The TLS socket; frames follow. It is not flowing yet: add a "data" listener, or iterate. It
   * belongs to whoever has the connection, who also ends it. Its errors are ignored: "close" comes.
   */
  readonly socket: Duplex;
  /** Go on using it for what comes from the socket. It takes the largest frames already. */
  readonly parser: FrameParser;
  /** Frames that came in one piece with the hello or the welcome: to be taken first. */
  readonly early: readonly Frame[];
  /**
   * Settles when the welcome was sent, which is after the handler returned: nothing may be written
   * before. Settled from the start for who opened the connection; never when it was refused.
   */
  readonly opened: Promise<void>;
}

export function newParser(): FrameParser {
  return new FrameParser(FRAME_CHECKSUMS);
}

/** See {@link writeFrame}. */
export function writeJson(socket: Duplex, type: FrameType, value: unknown): boolean {
  return writeFrame(socket, { type, payload: jsonPayload(value) });
}

/** The first frame of a connection, and what came in one piece with it. */
export interface Opening {
  readonly first: Frame;
  /** Cut up only when it is asked for, so that the parser's limit can be raised first. */
  readonly rest: Iterable<Frame>;
}

export interface OpeningOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads up to the first frame. The socket is left as if nobody had read from it. @throws
 * {FrameError} when the peer sends what is no frame. @throws {StandinError} `PEER_SILENT`,
 * `PEER_HUNG_UP`, `ABORTED`
 */
export function readOpening(
  socket: Duplex,
  parser: FrameParser,
  { clock, timeoutMs, signal }: OpeningOptions,
): Promise<Opening> {
  const reading = new Promise<Opening>((resolve, reject) => {
    const settle = (outcome: () => void): void => {
      socket.removeListener("readable", onReadable);
      socket.removeListener("close", onClose);
      signal?.removeEventListener("abort", onAbort);
      outcome();
    };
    const onClose = (): void => settle(() => reject(hungUp()));
    const onAbort = (): void => settle(() => reject(aborted()));
    const onReadable = (): void => {
      try {
        for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
          const frames = parser.push(chunk as Uint8Array);
          const next = frames.next();
          if (next.done === true) continue;
          settle(() => resolve({ first: next.value, rest: frames }));
          return;
        }
      } catch (error) {
        settle(() => reject(error));
      }
    };
    socket.on("readable", onReadable);
    socket.once("close", onClose);
    signal?.addEventListener("abort", onAbort);
    if (signal?.aborted === true) onAbort();
    else if (socket.destroyed) onClose();
  });
  return withTimeout(clock, timeoutMs, reading, silent);
}

/** Tells why and ends the connection, at the latest after `lingerMs`. */
export function refuse(socket: Duplex, error: StandinError, clock: Clock, lingerMs = 2000): void {
  const { code, message, hint } = error;
  if (socket.destroyed) return;
  const refusal = { code, message, ...(hint === undefined ? {} : { hint }) };
  writeJson(socket, FrameType.refuse, refusal);
  socket.end();
  const closed = new AbortController();
  socket.once("close", () => closed.abort());
  socket.resume();
  void clock.sleep(lingerMs, closed.signal).then(() => socket.destroy());
}

export function hungUp(): StandinError {
  return new StandinError("PEER_HUNG_UP", "the peer ended the connection without a word", {
    hint: "Look into the log of its agent: journalctl -u standin-agent",
  });
}

function silent(): StandinError {
  return new StandinError("PEER_SILENT", "the peer does not answer", {
    hint: "Look into the log of its agent: journalctl -u standin-agent",
  });
}

export function aborted(): StandinError {
  return new StandinError("ABORTED", "the attempt was given up");
}

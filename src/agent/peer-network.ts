/**
 * The one port of an agent. Whoever comes is proved by certificate first; then its hello says what
 * the connection is for, and who has registered for that purpose gets it. Nothing is accepted from
 * an unknown certificate, but the request of a new server to join.
 */
import type { Duplex } from "node:stream";

import { StandinError } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import { type Clock, withTimeout } from "../platform/clock.ts";
import { connectTls, type TlsCredentials, TlsListener, type TlsPeer } from "../platform/tls.ts";
import {
  FRAME_PAYLOAD_BYTES_MAX,
  type Frame,
  FrameError,
  FrameType,
  parseJsonPayload,
} from "../protocol/frame.ts";
import {
  type Hello,
  negotiate,
  PRODUCT,
  PROTOCOL_VERSIONS,
  parseHello,
  parseRefusal,
  parseWelcome,
  type Refusal,
} from "../protocol/hello.ts";
import type { AgentIdentityName } from "../trust/certificate.ts";
import { parseAddress } from "../trust/network-address.ts";
import { type KnownAgent, proveAgent } from "../trust/proof.ts";
import type { Report } from "./agent-log.ts";
import {
  hungUp,
  newParser,
  type Opening,
  type PeerConnection,
  readOpening,
  refuse,
  writeJson,
} from "./peer-connection.ts";
import {
  CONTROL_PURPOSE,
  PeerControl,
  type PeerRequestHandler,
  type RequestBody,
} from "./peer-control.ts";

export type { PeerConnection } from "./peer-connection.ts";
export type { PeerRequestHandler } from "./peer-control.ts";

/** What the network asks the fleet's store. */
export interface PeerDirectory {
  readonly identity: AgentIdentityName & { readonly credentials: TlsCredentials };
  memberById(id: string): KnownAgent | undefined;
  /** By name or id. @throws {StandinError} `UNKNOWN_AGENT`, `AGENT_REMOVED` */
  findMember(agent: string): KnownAgent & { readonly addresses: readonly string[] };
}

type WelcomeParameters = Readonly<Record<string, unknown>>;

/**
 * Takes a connection that a peer opened. A StandinError that it throws reaches the peer. What it
 * returns is sent with the welcome. It must not write before `connection.opened`.
 */
export type PeerHandler = (
  connection: PeerConnection,
  // biome-ignore lint/suspicious/noConfusingVoidType: most handlers have nothing to say
) => Promise<WelcomeParameters | void> | WelcomeParameters | void;

/** Answers the request of a server that has no certificate yet. */
export type JoinHandler = (
  parameters: Readonly<Record<string, unknown>>,
) => Promise<Record<string, unknown>>;

export interface ConnectOptions {
  /** Address of this machine to connect from. */
  readonly localAddress?: string;
  readonly signal?: AbortSignal;
}

/** The peer answered, and does not want the connection. */
export class PeerRefusedError extends StandinError {
  /** Code of the error on the peer's side. */
  readonly peerCode: string;

  constructor(peer: string, { code, message, hint }: Refusal) {
    const ownCode = code === "VERSION_MISMATCH" ? code : "PEER_REFUSED";
    super(ownCode, `${peer} refused: ${message}`, hint === undefined ? {} : { hint });
    this.peerCode = code;
  }
}

export const JOIN_PURPOSE = "join";

/** From the end of the handshake to the hello. */
const HELLO_MS = 10_000;
/** Of a peer without a good certificate. */
const UNPROVED_HELLO_BYTES_MAX = 64 << 10;
/** From the hello to the welcome: the handler may have to look for something. */
const WELCOME_MS = 30_000;

export class PeerNetwork {
  readonly #directory: PeerDirectory;
  readonly #clock: Clock;
  readonly #report: Report;
  readonly #control: PeerControl;
  readonly #handlers = new Map<string, PeerHandler>();
  readonly #sockets = new Map<Duplex, string>();
  #joinHandler: JoinHandler | undefined;
  #listener: TlsListener | undefined;
  readonly #closed = new AbortController();

  constructor(directory: PeerDirectory, clock: Clock, report: Report = () => {}) {
    this.#directory = directory;
    this.#clock = clock;
    this.#report = report;
    this.#control = new PeerControl(
      (agent) => this.connect(agent, CONTROL_PURPOSE, {}),
      clock,
      (message) => report("warning", message, {}),
    );
    this.handle(CONTROL_PURPOSE, (connection) => this.#control.accept(connection));
  }

  /**
   * Opens a connection to a member, by name or id, at the first of its addresses that answers.
   * @throws {StandinError} `UNKNOWN_AGENT`, `AGENT_REMOVED`, `PEER_UNREACHABLE`, `PEER_SILENT`,
   * `PEER_HUNG_UP`, `PEER_REFUSED` ({@link PeerRefusedError}), `VERSION_MISMATCH`,
   * `CERTIFICATE_*`, `ABORTED`
   */
  async connect(
    agent: string,
    purpose: string,
    parameters: Readonly<Record<string, unknown>>,
    options: ConnectOptions = {},
  ): Promise<PeerConnection> {
    const member = this.#directory.findMember(agent);
    const signal = AbortSignal.any([
      this.#closed.signal,
      ...(options.signal === undefined ? [] : [options.signal]),
    ]);
    const tls = await this.#reach(member, { ...options, signal });
    try {
      const peer = proveAgent(tls, (id) => this.#directory.memberById(id));
      if (peer.id !== member.id) throw wrongAgent(member.name, peer.name);
      this.#track(tls.socket, peer.id);
      return await this.#open(tls, peer, purpose, parameters, signal);
    } catch (error) {
      tls.socket.destroy();
      throw error instanceof FrameError ? notOurs(member.name, error) : error;
    }
  }

  /** Registers who serves a purpose. */
  handle(purpose: string, handler: PeerHandler): void {
    this.#handlers.set(purpose, handler);
  }

  /** Registers who lets new servers in. Without, none is. */
  handleJoin(handler: JoinHandler): void {
    this.#joinHandler = handler;
  }

  /**
   * Asks a member, by name or id. @throws {StandinError} what the peer's handler threw, what
   * {@link connect} throws, `REQUEST_TIMEOUT`, `REQUEST_TOO_LARGE`
   */
  async request(
    agent: string,
    command: string,
    body: RequestBody,
    timeoutMs: number,
  ): Promise<Record<string, unknown>> {
    const { id } = this.#directory.findMember(agent);
    return await this.#control.request(id, command, body, timeoutMs);
  }

  /** Registers who answers a command of other agents. */
  onRequest(command: string, handler: PeerRequestHandler): void {
    this.#control.onRequest(command, handler);
  }

  /** Port 0: any that is free; see {@link port}. @throws {StandinError} `LISTEN_FAILED` */
  async listen(address: string, port: number): Promise<void> {
    this.#listener = await TlsListener.listen({
      address,
      port,
      credentials: this.#directory.identity.credentials,
      onConnection: (peer) => void this.#accept(peer),
      onFailure: (remote, code) => {
        this.#report("info", "somebody who speaks no TLS 1.3 was turned away", { remote, code });
      },
    });
  }

  /** Where it listens; 0 when it does not. */
  get port(): number {
    return this.#listener?.port ?? 0;
  }

  /** After a renewal: new connections show the new certificate. */
  credentialsChanged(): void {
    this.#listener?.setCredentials(this.#directory.identity.credentials);
  }

  /** Ends what is open to a peer, in both directions. */
  drop(peerId: string): void {
    for (const [socket, id] of this.#sockets) if (id === peerId) socket.destroy();
  }

  /** Ends everything. */
  async close(): Promise<void> {
    this.#closed.abort();
    for (const socket of this.#sockets.keys()) socket.destroy();
    await this.#listener?.close();
    this.#listener = undefined;
  }

  async #reach(
    member: KnownAgent & { readonly addresses: readonly string[] },
    options: ConnectOptions,
  ): Promise<TlsPeer> {
    const { credentials } = this.#directory.identity;
    let lastError = new StandinError("PEER_UNREACHABLE", `${member.name} has no address yet`, {
      hint: "It tells its address when its agent starts.",
    });
    for (const address of member.addresses) {
      try {
        return await connectTls({ ...options, ...parseAddress(address), credentials });
      } catch (error) {
        if (!(error instanceof StandinError) || error.code === "ABORTED") throw error;
        lastError = error;
      }
    }
    throw lastError;
  }

  #track(socket: Duplex, peerId: string): void {
    if (this.#closed.signal.aborted) socket.destroy();
    this.#sockets.set(socket, peerId);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  async #open(
    { socket }: TlsPeer,
    peer: AgentIdentityName,
    purpose: string,
    parameters: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<PeerConnection> {
    const parser = newParser();
    writeHello(socket, purpose, parameters);
    const options = { clock: this.#clock, timeoutMs: WELCOME_MS + HELLO_MS, signal };
    const opening = await readOpening(socket, parser, options);
    const welcome = parseWelcome(answerOf(opening, peer.name));
    if (welcome === undefined) throw new FrameError("the welcome makes no sense");
    parser.payloadBytesMax = FRAME_PAYLOAD_BYTES_MAX;
    return {
      peer,
      purpose,
      parameters,
      welcome: welcome.parameters,
      version: welcome.version,
      socket,
      parser,
      early: [...opening.rest],
      opened: Promise.resolve(),
    };
  }

  async #accept(tls: TlsPeer): Promise<void> {
    const { socket } = tls;
    const remote = socket.remoteAddress ?? "?";
    this.#track(socket, "");
    try {
      const parser = newParser();
      if (tls.problem !== undefined) parser.payloadBytesMax = UNPROVED_HELLO_BYTES_MAX;
      const options = { clock: this.#clock, timeoutMs: HELLO_MS };
      const opening = await readOpening(socket, parser, options);
      const hello = helloOf(opening.first);
      if (hello.purpose === JOIN_PURPOSE) return await this.#welcomeJoiner(socket, hello);
      const peer = proveAgent(tls, (id) => this.#directory.memberById(id));
      this.#sockets.set(socket, peer.id);
      const version = versionFor(hello);
      parser.payloadBytesMax = FRAME_PAYLOAD_BYTES_MAX;
      await this.#welcome(socket, hello, version, {
        peer,
        purpose: hello.purpose,
        parameters: hello.parameters,
        welcome: {},
        version,
        socket,
        parser,
        early: [...opening.rest],
      });
    } catch (error) {
      this.#turnAway(socket, remote, error);
    }
  }

  async #welcomeJoiner(socket: Duplex, hello: Hello): Promise<void> {
    const version = versionFor(hello);
    if (this.#joinHandler === undefined) throw nobodyServes(hello.purpose);
    const parameters = await this.#joinHandler(hello.parameters);
    writeWelcome(socket, version, parameters);
    socket.end();
  }

  async #welcome(
    socket: Duplex,
    hello: Hello,
    version: number,
    connection: Omit<PeerConnection, "opened">,
  ): Promise<void> {
    const handler = this.#handlers.get(hello.purpose);
    if (handler === undefined) throw nobodyServes(hello.purpose);
    const { promise: opened, resolve } = Promise.withResolvers<void>();
    const handling = Promise.resolve(handler({ ...connection, opened }));
    const ready = Promise.race([handling, closeOf(socket)]);
    const parameters = await withTimeout(this.#clock, WELCOME_MS, ready, tooSlow);
    writeWelcome(socket, version, parameters ?? {});
    resolve();
  }

  /** Bytes that are no frame get no answer; everybody else learns why. */
  #turnAway(socket: Duplex, remote: string, error: unknown): void {
    if (error instanceof StandinError) {
      const { code, message } = error;
      this.#report("warning", `a connection was refused: ${message}`, { remote, code });
      refuse(socket, error, this.#clock);
      return;
    }
    const message = error instanceof FrameError ? error.message : (error as Error).stack;
    this.#report("warning", `a connection was cut: ${message}`, { remote });
    if (error instanceof FrameError) socket.destroy();
    else refuse(socket, new StandinError("INTERNAL", "the agent made a mistake"), this.#clock);
  }
}

/** First message of a connection, from who opens it. */
export function writeHello(
  socket: Duplex,
  purpose: string,
  parameters: Readonly<Record<string, unknown>>,
): void {
  const versions = PROTOCOL_VERSIONS;
  const hello = { product: PRODUCT, versions, program: VERSION, purpose, parameters };
  writeJson(socket, FrameType.hello, hello);
}

/** The welcome's JSON. @throws {PeerRefusedError} @throws {FrameError} */
export function answerOf({ first }: Opening, peer: string): Record<string, unknown> {
  const message = parseJsonPayload(first.payload);
  if (first.type === FrameType.refuse) throw new PeerRefusedError(peer, parseRefusal(message));
  if (first.type !== FrameType.welcome) throw new FrameError("no welcome came");
  return message;
}

/** Rejects when the socket closes. */
function closeOf(socket: Duplex): Promise<never> {
  return new Promise((_, reject) => socket.once("close", () => reject(hungUp())));
}

function writeWelcome(
  socket: Duplex,
  version: number,
  parameters: Readonly<Record<string, unknown>>,
): void {
  writeJson(socket, FrameType.welcome, { product: PRODUCT, version, program: VERSION, parameters });
}

function helloOf(frame: Frame): Hello {
  if (frame.type !== FrameType.hello) throw new FrameError("the first frame is no hello");
  const hello = parseHello(parseJsonPayload(frame.payload));
  if (hello === undefined) throw new FrameError("the hello makes no sense");
  return hello;
}

function versionFor({ versions, program }: Hello): number {
  const version = negotiate(versions);
  if (version !== undefined) return version;
  const [ours, theirs] = [PROTOCOL_VERSIONS.join(", "), versions.join(", ")];
  throw new StandinError(
    "VERSION_MISMATCH",
    `it speaks protocol ${ours} (Standin ${VERSION}), you speak ${theirs} (Standin ${program})`,
    { hint: "Install the same release of Standin on both servers." },
  );
}

function nobodyServes(purpose: string): StandinError {
  return new StandinError("UNKNOWN_PURPOSE", `nobody serves "${purpose}" here`, {
    hint: "Both servers should run the same release of Standin.",
  });
}

function tooSlow(): StandinError {
  return new StandinError("PEER_BUSY", "it took too long to get ready", {
    hint: "Try again in a moment.",
  });
}

function wrongAgent(expected: string, found: string): StandinError {
  return new StandinError("CERTIFICATE_OTHER", `at the address of ${expected} is ${found}`, {
    hint: "Correct the addresses with standin agent --advertise.",
  });
}

function notOurs(peer: string, cause: FrameError): StandinError {
  return new StandinError("PEER_NONSENSE", `${peer} does not speak our protocol`, { cause });
}

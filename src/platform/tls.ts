/**
 * TLS between agents: version 1.3 and nothing older, both certificates asked for. A chain that is
 * not proved does not end the handshake: what may then be said is decided by the caller.
 */
import { constants, type X509Certificate } from "node:crypto";
import { isIP, type Socket } from "node:net";
import { connect, createServer, type Server, type TLSSocket } from "node:tls";

import { StandinError } from "../base/errors.ts";
import { noLocalAddress } from "./host.ts";

export type { TLSSocket } from "node:tls";

/** All PEM. */
export interface TlsCredentials {
  readonly certificate: string;
  readonly key: string;
  /** The certificate of the only authority that is trusted; sent along with our own. */
  readonly authority: string;
}

/** The other end of a connection whose handshake is done. */
export interface TlsPeer {
  readonly socket: TLSSocket;
  /** Undefined when the peer has shown none. */
  readonly certificate: X509Certificate | undefined;
  /** OpenSSL's code for what is wrong with the chain; undefined when our authority issued it. */
  readonly problem: string | undefined;
}

/** AES-128 first: it is the fastest where the processor has instructions for it. */
const CIPHERS = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
const HANDSHAKE_MS = 10_000;
/** A peer whose machine has died without a word is found out even where nobody sends. */
const KEEP_ALIVE_MS = 15_000;
/** More connections than a fleet has are an attack or a mistake. */
const CONNECTIONS_MAX = 4096;

export interface TlsListenOptions {
  readonly address: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly credentials: TlsCredentials;
  readonly onConnection: (peer: TlsPeer) => void;
  /** Somebody spoke no TLS 1.3, or said nothing. For the log; `code` is Node's or OpenSSL's. */
  readonly onFailure?: (remoteAddress: string, code: string) => void;
  readonly handshakeMs?: number;
}

export class TlsListener {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(options: TlsListenOptions) {
    this.#server = createServer({
      ...contextOptions(options.credentials),
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: options.handshakeMs ?? HANDSHAKE_MS,
      // Each connection proves its certificate anew, so that a removed agent cannot resume.
      secureOptions: constants.SSL_OP_NO_TICKET,
    });
    this.#server.maxConnections = CONNECTIONS_MAX;
    this.#server.on("connection", (socket: Socket) => this.#track(socket));
    this.#server.on("secureConnection", (socket) => options.onConnection(asPeer(socket)));
    this.#server.on("tlsClientError", (error: NodeJS.ErrnoException, socket) => {
      options.onFailure?.(socket.remoteAddress ?? "?", error.code ?? error.message);
      socket.destroy();
    });
  }

  /** @throws {StandinError} `LISTEN_FAILED` */
  static listen(options: TlsListenOptions): Promise<TlsListener> {
    const listener = new TlsListener(options);
    return new Promise((resolve, reject) => {
      listener.#server.once("error", (cause) => reject(listenError(options, cause)));
      listener.#server.listen({ host: options.address, port: options.port }, () => {
        listener.#server.removeAllListeners("error");
        listener.#server.on("error", () => {}); // one connection could not be accepted
        resolve(listener);
      });
    });
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** For the connections that come from now on. */
  setCredentials(credentials: TlsCredentials): void {
    this.#server.setSecureContext(contextOptions(credentials));
  }

  /** Ends every connection. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const socket of this.#sockets) socket.destroy();
    });
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }
}

export interface TlsConnectOptions {
  readonly host: string;
  readonly port: number;
  /** Absent: nobody yet. Then no certificate is shown, and that of the peer is not proved. */
  readonly credentials?: TlsCredentials;
  /** Address of this machine to connect from. */
  readonly localAddress?: string;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

/** @throws {StandinError} `PEER_UNREACHABLE`, `NO_LOCAL_ADDRESS`, `ABORTED` */
export function connectTls(options: TlsConnectOptions): Promise<TlsPeer> {
  const { host, port, credentials, localAddress, signal } = options;
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      // A host name is to be looked up in the family of the address that we come from.
      ...(localAddress === undefined ? {} : { localAddress, family: isIP(localAddress) }),
      ...(credentials === undefined ? versionOptions() : contextOptions(credentials)),
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined, // the name in an agent's certificate is its id
    });
    const settle = (error: StandinError | undefined): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      for (const event of ["error", "close", "secureConnect"]) socket.removeAllListeners(event);
      socket.on("error", () => {});
      if (error !== undefined) socket.destroy();
      if (error === undefined) resolve(asPeer(socket));
      else reject(error);
    };
    const onAbort = (): void => settle(new StandinError("ABORTED", "the attempt was given up"));
    const late = (): void => settle(unreachable(options, new Error("no answer in time")));
    const timer = setTimeout(late, options.timeoutMs ?? HANDSHAKE_MS);
    socket.once("error", (cause) =>
      settle(notFromHere(options, cause) ?? unreachable(options, cause)),
    );
    socket.once("close", () => settle(unreachable(options, new Error("it hung up"))));
    socket.once("secureConnect", () => settle(undefined));
    signal?.addEventListener("abort", onAbort);
    if (signal?.aborted === true) onAbort();
  });
}

/** The certificate of who issued the peer's own, if the peer has sent it along. */
export function sentIssuer(peer: TlsPeer): X509Certificate | undefined {
  return peer.certificate?.issuerCertificate;
}

function versionOptions() {
  return { minVersion: "TLSv1.3", maxVersion: "TLSv1.3", ciphers: CIPHERS } as const;
}

function contextOptions({ certificate, key, authority }: TlsCredentials) {
  const cert = `${certificate.trimEnd()}\n${authority.trimEnd()}\n`;
  return { ...versionOptions(), cert, key, ca: authority };
}

function asPeer(socket: TLSSocket): TlsPeer {
  socket.on("error", () => {}); // "close" follows
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  const certificate = socket.getPeerX509Certificate();
  const problem = socket.authorized ? undefined : String(socket.authorizationError);
  return { socket, certificate, problem };
}

/** The error when not the peer but our own address is what is wrong. */
function notFromHere(
  { host, localAddress }: TlsConnectOptions,
  cause: NodeJS.ErrnoException,
): StandinError | undefined {
  if (localAddress === undefined || cause.syscall !== "bind") return undefined;
  if (cause.code === "EADDRNOTAVAIL") return noLocalAddress(localAddress);
  const message = `no connection from ${localAddress} to ${host}: ${cause.code}`;
  return new StandinError("NO_LOCAL_ADDRESS", message, {
    hint: "Choose an address of the same family, IPv4 or IPv6, as the peer's.",
    cause,
  });
}

function unreachable({ host, port }: TlsConnectOptions, cause: Error): StandinError {
  const reason = (cause as NodeJS.ErrnoException).code ?? cause.message;
  return new StandinError(
    "PEER_UNREACHABLE",
    `nobody answers at ${host}, port ${port}: ${reason}`,
    {
      hint: "Is the agent running there, and does the firewall let the port through?",
      cause,
    },
  );
}

function listenError({ address, port }: TlsListenOptions, cause: Error): StandinError {
  const code = (cause as NodeJS.ErrnoException).code ?? cause.message;
  const hints: Readonly<Record<string, string>> = {
    EADDRINUSE: `Choose another port, or see who listens there: ss -ltnp 'sport = :${port}'`,
    EADDRNOTAVAIL: "Name an address of this machine (ip address), or 0.0.0.0 for all of them.",
    EACCES: "Ports below 1024 are for root.",
  };
  const hint = hints[code] ?? "Name an address of this machine and a free port.";
  const message = `cannot listen at ${address}, port ${port}: ${code}`;
  return new StandinError("LISTEN_FAILED", message, { hint, cause });
}

/**
 * The service manager's protocol (sd_notify): datagrams to the socket that NOTIFY_SOCKET names.
 * Node has no local datagram sockets, so the system calls are made here. Without a service manager
 * nothing is sent, and nothing fails.
 */
import koffi from "koffi";

const libc = koffi.load("libc.so.6");
const socket = libc.func("int socket(int, int, int)");
const sendto = libc.func("intptr_t sendto(int, const void*, size_t, int, const void*, uint32_t)");
const close = libc.func("int close(int)");

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 0o2000002;
const MSG_NOSIGNAL_DONTWAIT = 0x4040;
const PATH_BYTES_MAX = 107;

export class ServiceManager {
  readonly #address: Uint8Array | undefined;
  /** A sign of life is due so often, in milliseconds; undefined when none is asked for. */
  readonly watchdogMs: number | undefined;

  constructor(environment: NodeJS.ProcessEnv, pid: number) {
    const path = environment.NOTIFY_SOCKET;
    this.#address = path === undefined || path === "" ? undefined : addressOf(path);
    const isForUs = [undefined, String(pid)].includes(environment.WATCHDOG_PID);
    const timeoutMs = Number(environment.WATCHDOG_USEC ?? 0) / 1000;
    const isAsked = this.#address !== undefined && isForUs && timeoutMs > 0;
    this.watchdogMs = isAsked ? timeoutMs / 3 : undefined;
  }

  ready(status: string): void {
    this.#send(`READY=1\nSTATUS=${status}`);
  }

  stopping(): void {
    this.#send("STOPPING=1\nSTATUS=stopping");
  }

  alive(): void {
    this.#send("WATCHDOG=1");
  }

  #send(message: string): void {
    if (this.#address === undefined) return;
    const descriptor = Number(socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0));
    if (descriptor < 0) return;
    const bytes = Buffer.from(message);
    const { length } = this.#address;
    sendto(descriptor, bytes, bytes.length, MSG_NOSIGNAL_DONTWAIT, this.#address, length);
    close(descriptor);
  }
}

/** struct sockaddr_un; a path that begins with @ is in the abstract name space. */
function addressOf(path: string): Uint8Array | undefined {
  const name = Buffer.from(path);
  if (name.length > PATH_BYTES_MAX || (name[0] !== 0x2f && name[0] !== 0x40)) return undefined;
  const isAbstract = name[0] === 0x40;
  if (isAbstract) name[0] = 0;
  return Buffer.concat([Buffer.of(AF_UNIX, 0), name, Buffer.alloc(isAbstract ? 0 : 1)]);
}

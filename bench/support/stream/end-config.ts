/** What the two processes of one stream run are told, and what they answer. */
import type { TlsCredentials } from "../../../src/platform/tls.ts";

/**
 * `pipe`: node:tls with nothing on it, thrown away at the other end. `pipe-to-disk`: the same, and
 * written to a file that is synced at the end. `pipe-zstd`: the first, each piece compressed and
 * decompressed. `stream`, `stream-zstd`: Standin's, until all is durable in the target's log and
 * fed to its ring.
 */
export type Form = "pipe" | "pipe-to-disk" | "pipe-zstd" | "stream" | "stream-zstd";

export interface EndConfig {
  readonly role: "sender" | "receiver";
  readonly form: Form;
  /** The receiver listens on any that is free, and says which. */
  readonly port: number;
  readonly credentials: TlsCredentials;
  readonly ops: number;
  readonly opBytes: number;
  /** For rings: in shared memory. */
  readonly memory: string;
  /** For the receiver's log. */
  readonly folder: string;
}

export interface EndResult {
  readonly seconds: number;
  /** Of all threads of the process, while bytes travelled. */
  readonly cpuSeconds: number;
}

/** Bytes that zstd makes about half as long: every other 64 bytes are random. */
export function sampleBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 128) {
    crypto.getRandomValues(bytes.subarray(at, Math.min(at + 64, length)));
  }
  return bytes;
}

export class CpuTimer {
  readonly #startedMs = performance.now();
  readonly #cpu = process.cpuUsage();

  result(): EndResult {
    const { user, system } = process.cpuUsage(this.#cpu);
    const seconds = (performance.now() - this.#startedMs) / 1000;
    return { seconds, cpuSeconds: (user + system) / 1e6 };
  }
}

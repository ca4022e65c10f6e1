/** What travels in the simulated network, and an op as the checkers know it again. */

export interface Op {
  /** Which life of the source's ring; it grows. */
  readonly stream: number;
  readonly lsn: number;
  /** Stands for what the op does. */
  readonly value: number;
  readonly bytes: number;
}

export type Message =
  | {
      readonly kind: "hello";
      readonly source: string;
      readonly stream: number;
      /** The first LSN that the source can send, and the last one taken. */
      readonly first: number;
      readonly last: number;
    }
  | { readonly kind: "welcome"; readonly durable: number; readonly applied: number }
  | { readonly kind: "ops"; readonly ops: readonly Op[] }
  | {
      readonly kind: "positions";
      readonly received: number;
      readonly durable: number;
      readonly applied: number;
    }
  | { readonly kind: "heartbeat" };

const HEADER_BYTES = 32;

export function bytesOf(message: Message): number {
  if (message.kind !== "ops") return HEADER_BYTES;
  return message.ops.reduce((sum, op) => sum + op.bytes, HEADER_BYTES);
}

export function describe(message: Message): string {
  if (message.kind === "ops") {
    return `ops ${message.ops[0]?.lsn}..${message.ops.at(-1)?.lsn} of ${message.ops[0]?.stream}`;
  }
  return JSON.stringify(message).replaceAll('"', "");
}

/** What a simulation is made of: the product's own parts, or some with a fault planted in them. */
import { Receiver, type ReceiverOptions } from "../../src/replication/receiver.ts";
import { Sender, type SenderOptions } from "../../src/replication/sender.ts";

export type SenderLike = Pick<Sender, "step" | "durable" | "applied" | "bytesInFlight">;
export type ReceiverLike = Pick<Receiver, "step" | "received" | "durable">;

export interface Parts {
  readonly sender: (durable: number, options: SenderOptions) => SenderLike;
  readonly receiver: (durable: number, applied: number, options: ReceiverOptions) => ReceiverLike;
  /** Where an applier that starts goes on. */
  readonly applyFrom: (applied: number) => number;
  /** Up to which op a target sends on what it has. */
  readonly sendsOnUpTo: (durable: number, appended: number) => number;
  /** The source's runner brings what concerns an earlier connection. */
  readonly bringsLateResults: boolean;
}

export const PRODUCT_PARTS: Parts = {
  sender: (durable, options) => new Sender(durable, options),
  receiver: (durable, applied, options) => new Receiver(durable, applied, options),
  applyFrom: (applied) => applied + 1,
  sendsOnUpTo: (durable) => durable,
  bringsLateResults: false,
};

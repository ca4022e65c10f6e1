/** Mistakes that somebody could make, planted in the product's parts: checkers must find them. */
import {
  Receiver,
  type ReceiverEffect,
  type ReceiverEvent,
} from "../../src/replication/receiver.ts";
import { Sender, type SenderEffect, type SenderEvent } from "../../src/replication/sender.ts";
import type { SimConfig } from "./config.ts";
import { type Parts, PRODUCT_PARTS } from "./parts.ts";

/** Says of what has only been received that it is durable. */
class HastyReceiver extends Receiver {
  override step(event: ReceiverEvent, nowMs: number): ReceiverEffect[] {
    return super.step(event, nowMs).map((effect) => {
      return effect.kind === "positions" ? { ...effect, durable: effect.received } : effect;
    });
  }
}

/** Takes ops whatever is missing before them. */
class LaxReceiver extends Receiver {
  override step(event: ReceiverEvent, nowMs: number): ReceiverEffect[] {
    const isGap = event.kind === "ops" && event.first > this.received + 1;
    return super.step(isGap ? { ...event, first: this.received + 1 } : event, nowMs);
  }
}

/** Lets the older connection be when a newer one comes. */
class ForgetfulReceiver extends Receiver {
  override step(event: ReceiverEvent, nowMs: number): ReceiverEffect[] {
    const effects = super.step(event, nowMs);
    return event.kind === "opened" ? effects.filter(({ kind }) => kind !== "close") : effects;
  }
}

/** Never tries again what a full disk refused. */
class ResignedReceiver extends Receiver {
  override step(event: ReceiverEvent, nowMs: number): ReceiverEffect[] {
    return super.step(event.kind === "refused" ? { kind: "tick" } : event, nowMs);
  }
}

/** Goes on one op too far behind what the target has. */
class OvershootingSender extends Sender {
  override step(event: SenderEvent, nowMs: number): SenderEffect[] {
    const isLater = event.kind === "connected" && event.durable > 0;
    return super.step(isLater ? { ...event, durable: event.durable + 1 } : event, nowMs);
  }
}

/** Believes that a frame held one op more than it did, now and then. */
class SkippingSender extends Sender {
  override step(event: SenderEvent, nowMs: number): SenderEffect[] {
    const isSkipped = event.kind === "sent" && event.last % 10 === 9;
    return super.step(isSkipped ? { ...event, last: event.last + 1 } : event, nowMs);
  }
}

/** Waits for a silent target for ever. */
class PatientSender extends Sender {
  override step(event: SenderEvent, nowMs: number): SenderEffect[] {
    if (event.kind === "tick" && this.phase === "streaming") super.step({ kind: "heard" }, nowMs);
    return super.step(event, nowMs);
  }
}

export interface PlantedFault {
  readonly parts: Partial<Parts>;
  /** Those that may find it. */
  readonly finders: readonly string[];
  /** Checkers that would find it before these, and are to look away. */
  readonly without?: readonly string[];
  /** With a small window it only waits for ever for what it never sent: such seeds do not count. */
  readonly mayHang?: boolean;
  /** What a seed must play with to meet it soon. */
  readonly config?: Partial<SimConfig>;
}

export const PLANTED_FAULTS: Readonly<Record<string, PlantedFault>> = {
  "acknowledges before the sync": {
    parts: { receiver: (...args) => new HastyReceiver(...args) },
    finders: ["durable ack"],
  },
  "accepts a gap": {
    parts: {
      receiver: (...args) => new LaxReceiver(...args),
      sender: (...args) => new SkippingSender(...args),
    },
    without: ["order"],
    mayHang: true,
    finders: ["prefix"],
  },
  "skips an op": {
    parts: { sender: (...args) => new SkippingSender(...args) },
    mayHang: true,
    finders: ["order"],
  },
  "applies twice after a restart": {
    parts: { applyFrom: (applied) => applied },
    finders: ["exactly once"],
  },
  "resumes one too far": {
    parts: { sender: (...args) => new OvershootingSender(...args) },
    finders: ["order", "durable ack"],
  },
  "forgets to close the older connection": {
    parts: { receiver: (...args) => new ForgetfulReceiver(...args) },
    finders: ["connections"],
  },
  "tells the sender of a send on an earlier connection": {
    parts: { bringsLateResults: true },
    finders: ["order", "assert"],
  },
  "sends on what is not on its disk": {
    parts: { sendsOnUpTo: (_durable, appended) => appended },
    config: {
      targetCount: 2,
      jobs: [{ targets: [0], onward: [1] }],
      weights: new Map([["crash target", 1]]),
    },
    finders: ["chain"],
  },
  "waits for a silent target for ever": {
    parts: { sender: (...args) => new PatientSender(...args) },
    finders: ["liveness"],
  },
  "never tries a refused sync again": {
    parts: { receiver: (...args) => new ResignedReceiver(...args) },
    finders: ["liveness"],
  },
  "sends without a window": {
    parts: {
      sender: (durable, options) => new Sender(durable, { ...options, windowBytes: 1e12 }),
    },
    finders: ["bounds"],
  },
};

/** The product with it. */
export function partsWith({ parts }: PlantedFault): Parts {
  return { ...PRODUCT_PARTS, ...parts };
}

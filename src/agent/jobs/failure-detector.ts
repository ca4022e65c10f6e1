/**
 * Decides when the source of a job is lost: its agent and its host have both been silent for the
 * whole time that the job allows. Pure; the runner brings a tick often, and asks the host when
 * told.
 *
 * The host is asked while the time runs, again and again: so one packet that is lost decides
 * nothing, and nothing more is to be waited for when the time is over.
 */

/** No sign of life for so long asks for a look at the host; a source speaks each second. */
const SUSPECT_MS = 1500;
/** From the begin of one probe to the next. */
const PROBE_EVERY_MS = 1000;
/** What cannot be promoted now is not tried again sooner. */
const AGAIN_MS = 5000;

export type DetectorEvent =
  | {
      readonly kind: "tick";
      /** When the source's agent last said anything. */
      readonly heardAtMs: number;
      /** How long agent and host must be silent. */
      readonly allowedMs: number;
    }
  /** The answer to `probe`: whether the host showed any sign of life. */
  | { readonly kind: "probed"; readonly answered: boolean };

export type DetectorEffect = "probe" | "lost";

export class FailureDetector {
  /** The last sign of life, of agent or host. */
  #aliveAtMs = Number.NEGATIVE_INFINITY;
  #probedAtMs = Number.NEGATIVE_INFINITY;
  #isProbing = false;
  /** A probe that began after the last sign of life had no answer. */
  #isConfirmed = false;
  #againAtMs = Number.NEGATIVE_INFINITY;

  step(event: DetectorEvent, nowMs: number): DetectorEffect[] {
    if (event.kind === "tick") return this.#tick(event.heardAtMs, event.allowedMs, nowMs);
    this.#isProbing = false;
    if (event.answered) this.#sign(nowMs);
    else if (this.#probedAtMs > this.#aliveAtMs) this.#isConfirmed = true;
    return [];
  }

  #sign(atMs: number): void {
    if (atMs <= this.#aliveAtMs) return;
    this.#aliveAtMs = atMs;
    this.#isConfirmed = false;
  }

  #tick(heardAtMs: number, allowedMs: number, nowMs: number): DetectorEffect[] {
    this.#sign(heardAtMs);
    const silentMs = nowMs - this.#aliveAtMs;
    if (this.#isConfirmed && silentMs >= allowedMs && nowMs >= this.#againAtMs) {
      this.#againAtMs = nowMs + AGAIN_MS;
      return ["lost"];
    }
    // From the agent alone: a host that answers each probe is to be probed on.
    const isSuspect = nowMs - heardAtMs >= SUSPECT_MS;
    if (!isSuspect || this.#isProbing || nowMs - this.#probedAtMs < PROBE_EVERY_MS) return [];
    this.#isProbing = true;
    this.#probedAtMs = nowMs;
    return ["probe"];
  }
}

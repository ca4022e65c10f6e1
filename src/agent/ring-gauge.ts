/** Reads the ring's figures for status; never writes, except to switch recording. */
import { RecordingState, type Ring } from "../journal/ring.ts";
import { HeaderAt } from "../journal/ring-layout.ts";

export interface RingSample {
  /** Last LSN that was captured. */
  readonly head: number;
  readonly applied: number;
  readonly bytesCaptured: number;
  /** Of records that are captured and not applied. */
  readonly bytesPending: number;
  readonly capacityBytes: number;
  /** The fullest part of the ring, 0 to 1. */
  readonly fill: number;
  readonly recording: "off" | "on" | "gap";
  /** How often ops were lost because the ring was full. */
  readonly gaps: number;
  readonly opsLost: number;
}

export class RingGauge {
  readonly #ring: Ring;

  constructor(ring: Ring) {
    this.#ring = ring;
  }

  sample(): RingSample {
    const ring = this.#ring;
    // Applied first: an op that is captured in between must not look applied before it was
    // captured.
    const applied = ring.applied;
    let bytesPending = 0;
    for (let arena = 0; arena < ring.layout.arenas; arena++) {
      bytesPending += Math.max(0, ring.arenaHead(arena) - ring.arenaTail(arena));
    }
    const head = Math.max(ring.head, applied);
    return {
      head,
      applied,
      bytesCaptured: ring.bytesRecorded,
      bytesPending: head === applied ? 0 : bytesPending,
      capacityBytes: ring.layout.arenas * ring.layout.arenaBytes,
      fill: ring.fillMax,
      recording: recordingName(ring.recording),
      gaps: ring.word(HeaderAt.gaps),
      opsLost: ring.word(HeaderAt.opsLost),
    };
  }

  /** Ops are passed through and not recorded: there is nobody any more who keeps a copy. */
  stopRecording(): void {
    this.#ring.recording = RecordingState.off;
  }
}

function recordingName(state: number): RingSample["recording"] {
  if (state === RecordingState.on) return "on";
  return state === RecordingState.gap ? "gap" : "off";
}

import { CommandQueue } from "../../src/journal/command-queue.ts";
import { HeaderAt } from "../../src/journal/ring-layout.ts";
import { Ring } from "../../src/journal/ring.ts";

/** Where a ring stands, for the message of a test that waited in vain. */
export function describeRing(path: string): Record<string, unknown> {
  const ring = Ring.open(path);
  try {
    const { head, applied, recording } = ring;
    return {
      path,
      head,
      applied,
      recording,
      isNextPublished: ring.isPublished(applied + 1),
      gaps: ring.word(HeaderAt.gaps),
      engineGeneration: ring.word(HeaderAt.engineGeneration),
      questions: new CommandQueue(ring).length,
    };
  } finally {
    ring.close();
  }
}

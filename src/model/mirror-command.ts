/**
 * The number of a mirror command says what its answers are for, so that answers that are still in
 * the ring when the applying process is killed and restarted are understood without a memory of the
 * question.
 */

export const Purpose = {
  /** Make the replica's node what the answers say; nothing on the replica is relied on. */
  bring: 0,
  /** Compare, and make equal what differs. */
  repair: 1,
  /** Compare and report. */
  compare: 2,
  /** Data of one range that was found to differ. */
  range: 3,
} as const;

export type Purpose = (typeof Purpose)[keyof typeof Purpose];

const PURPOSES = 4;

export function commandNumber(sequence: number, purpose: Purpose): number {
  return sequence * PURPOSES + purpose;
}

export function purposeOf(number: number): Purpose {
  return (number % PURPOSES) as Purpose;
}

/** What of a pass must outlive the process that works on it. */

export const PassKind = {
  none: 0,
  /** First copy, or a copy of everything asked for by the operator. */
  mirror: 1,
  /** After a gap: compares everything, and makes equal what differs. */
  resync: 2,
  /** Compares and reports. */
  verify: 3,
} as const;

export type PassKind = (typeof PassKind)[keyof typeof PassKind];

export const Phase = {
  none: 0,
  /** All directories are listed, so that totals are known. */
  listing: 1,
  /** Attributes and data, node by node. */
  contents: 2,
} as const;

export type Phase = (typeof Phase)[keyof typeof Phase];

export interface PassState {
  /** 1 to 1023, then 1 again; marks in the tree are compared with it. */
  number: number;
  kind: PassKind;
  phase: Phase;
  filesTotal: number;
  filesDone: number;
  bytesTotal: number;
  bytesDone: number;
  differing: number;
  commandSequence: number;
}

export function newPassState(): PassState {
  return {
    number: 0,
    kind: PassKind.none,
    phase: Phase.none,
    filesTotal: 0,
    filesDone: 0,
    bytesTotal: 0,
    bytesDone: 0,
    differing: 0,
    commandSequence: 0,
  };
}

/** What the mirror's records on the applying side tell the control of the pass. */
export interface MirrorEvents {
  /**
   * The last record of a command was applied. `isWhole`: the node or directory is now known to be
   * right.
   */
  answered(answer: Answer): void;
  /** Something on the replica differs from the source. */
  differs(difference: Difference): void;
  /** A block of a file differs. */
  blockDiffers(node: number, offset: number, length: number): void;
  /** Bytes of contents were brought or compared. */
  contents(bytes: number): void;
  /** The source cannot read the node. */
  unreadable(node: number, errno: number): void;
  /** An entry was seen by a listing for the first time in the pass, with bytes to come. */
  counted(bytes: number): void;
}

export interface Answer {
  readonly command: number;
  /** 0 when the node is not in the tree (any more). */
  readonly node: number;
  readonly isListing: boolean;
  readonly isWhole: boolean;
}

export interface Difference {
  readonly node: number;
  readonly path: Uint8Array;
  /** What differs: "missing", "extra", "mode", "size", "content", … */
  readonly what: string;
}

/**
 * What an op means for the replica, as of its place in the order: which nodes of the tree, which
 * directories, which names. Filled by the resolver, carried out by the applier; one instance is
 * used again and again.
 */

export const Action = {
  /** Nothing to do on the replica (the tree may have changed). */
  none: 0,
  /** Data or attributes of `node`; for a copy, `other` is where the data comes from. */
  content: 1,
  /** A new node `directory`/`name`. */
  create: 2,
  /** One more name for `node`, which has one at `otherDirectory`/`otherName`. */
  link: 3,
  /** The name `directory`/`name` of `node` is gone. */
  remove: 4,
  /** From `directory`/`name` to `newDirectory`/`newName`, replacing what is there. */
  rename: 5,
  /** The two change places. */
  exchange: 6,
  /** Describes the source for a mirror, a resync or a verify. */
  mirror: 7,
} as const;

export type Action = (typeof Action)[keyof typeof Action];

const NO_NAME = new Uint8Array(0);

export class ResolvedOp {
  action: Action = Action.none;
  node = 0;
  other = 0;
  directory = 0;
  name: Uint8Array = NO_NAME;
  newDirectory = 0;
  newName: Uint8Array = NO_NAME;
  /** The node has no other name: when this one goes, so does the node. */
  isLast = false;
  isDirectory = false;
  /**
   * The op's parents on the replica, 0 where there is none: their times change whatever becomes of
   * the entry.
   */
  parent = 0;
  newParent = 0;

  clear(): void {
    this.action = Action.none;
    this.node = 0;
    this.other = 0;
    this.directory = 0;
    this.name = NO_NAME;
    this.newDirectory = 0;
    this.newName = NO_NAME;
    this.isLast = false;
    this.isDirectory = false;
    this.parent = 0;
    this.newParent = 0;
  }
}

/**
 * What the applying side knows of the source: which nodes there are and what they are called, as of
 * the op in hand. Implemented by the resolver's tree in shared memory; used by the parts that must
 * not know how it is kept.
 *
 * Nodes and links (a link is one name of a node) are small numbers, 0 is "none". Each mount has two
 * directories of its own: the root, and the private one, which holds nodes that the source has
 * without a name, or whose place is not known yet; on the replica it lies outside of the data.
 *
 * A change is made between {@link NodeTree.begin} and {@link NodeTree.commit}, and is there whole
 * or not at all, whenever the process is killed.
 */

/** What is known of a node besides its names. Values are bits of the node's state word. */
export const NodeFlag = {
  /** Not on the replica (yet): ops on it are dropped, because what will bring it is exact. */
  absent: 0x10,
  /**
   * The replica's attributes or contents are not known to be right: ask the source for the node.
   */
  wantNode: 0x20,
  /**
   * The replica's entries of this directory are not known to be right: ask the source for its
   * listing.
   */
  wantListing: 0x40,
  /** Has security.capability, which a write removes. */
  capability: 0x80,
  /**
   * An answer about the node has begun and not ended. What makes it wanted from here on, is wanted
   * after it.
   */
  bringing: 0x100,
  /** A listing of the directory has begun and not ended. */
  listing: 0x200,
} as const;

export const NODE_WANTED: number = NodeFlag.wantNode | NodeFlag.bringing;
export const LISTING_WANTED: number = NodeFlag.wantListing | NodeFlag.listing;
/** Any of these: the replica's node is not known to be right. */
export const WANTED: number = NODE_WANTED | LISTING_WANTED;
/** What a directory is marked with that is not known to be right. */
export const WANT_ALL: number = NodeFlag.wantNode | NodeFlag.wantListing;

/** Types as they stand in `st_mode >> 12`. */
export const TYPE_UNKNOWN = 0;
export const TYPE_DIRECTORY = 4;
export const TYPE_REGULAR = 8;
export const TYPE_SYMLINK = 10;

/** Pass numbers are kept modulo this; 0 means never. */
export const PASSES = 1024;

export interface NodeTree {
  /** LSN of the last op whose effect on the tree is complete. */
  readonly lsn: number;
  readonly nodeCount: number;
  readonly linkCount: number;
  readonly wantedCount: number;
  readonly directoryCount: number;
  /** Slots are below this. */
  readonly nodeHigh: number;
  /** As {@link nodeHigh}, of links. */
  readonly linkHigh: number;

  root(mount: number): number;
  privateDirectory(mount: number): number;
  find(mount: number, ino: number): number;
  exists(node: number): boolean;
  mount(node: number): number;
  ino(node: number): number;
  /** `st_mode >> 12`. */
  type(node: number): number;
  has(node: number, flags: number): boolean;
  listedIn(node: number): number;
  doneIn(node: number): number;

  /** The node's inode number on the replica, when it was last made or looked at; 0: not known. */
  replicaIno(node: number): number;
  /** In a transaction or not: it is not put back with it. */
  setReplicaIno(node: number, ino: number): void;

  firstLink(node: number): number;
  nextLink(link: number): number;
  linksOf(node: number): number;
  lookup(directory: number, name: Uint8Array): number;
  nodeOf(link: number): number;
  directoryOf(link: number): number;
  /** A copy. */
  nameOf(link: number): Uint8Array;
  markOf(link: number): number;
  firstChild(directory: number): number;
  nextSibling(link: number): number;
  listing(directory: number): number;
  /** True when `directory` is `ancestor` or lies below it. */
  isBelow(directory: number, ancestor: number): boolean;
  /**
   * From the mount's root, without a leading `/`; undefined when it lies in the private directory.
   */
  path(node: number): Uint8Array | undefined;
  pathOfLink(link: number): Uint8Array | undefined;

  begin(): void;
  commit(lsn?: number): void;
  rollback(): void;
  /** Makes changes as part of the transaction in progress, or as one of their own. */
  change(changes: () => void): void;
  addNode(mount: number, ino: number, type: number, flags: number): number;
  /** The name is marked as seen by the directory's last listing. */
  addLink(node: number, directory: number, name: Uint8Array): number;
  removeLink(link: number): void;
  /** The node has no links and no children. */
  removeNode(node: number): void;
  setType(node: number, type: number): void;
  setFlags(node: number, flags: number): void;
  clearFlags(node: number, flags: number): void;
  setListedIn(node: number, pass: number): void;
  setDoneIn(node: number, pass: number): void;
  startListing(directory: number): void;
  markSeen(link: number): void;
}

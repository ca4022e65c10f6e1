/**
 * Where things lie in the resolver's shared memory. One sparse file in /dev/shm per job; a part
 * costs memory only as far as it was ever used. All positions are in 32-bit words.
 *
 *     header     one page: identity, counts, heads of the free lists
 *     undo       what the transaction in progress has overwritten
 *     buckets    two hash tables: nodes by (mount, inode), links by (directory, name)
 *     nodes      one slot a node
 *     links      one slot a name
 *     heap       the bytes of the names
 *
 * A file with one name of 15 bytes takes 36 + 32 + 16 bytes, and 8 of buckets when there are as
 * many buckets as files.
 */
import { alignUp } from "../base/bytes.ts";

export const TREE_MAGIC = 0x45525453; // "STRE"
export const TREE_VERSION = 2;

/** Words of the header. */
export const TreeAt = {
  magic: 0,
  version: 1,
  buckets: 2,
  nodesMax: 3,
  linksMax: 4,
  heapUnits: 5,
  /** u64: LSN of the last op whose effect on the tree is complete. */
  lsn: 8,
  nodeHigh: 10,
  nodeFree: 11,
  nodeCount: 12,
  linkHigh: 13,
  linkFree: 14,
  linkCount: 15,
  heapHigh: 16,
  /** Nodes that {@link NodeFlag} says are wanted from the source. */
  wantedCount: 17,
  directoryCount: 18,
  /** Heads of the heap's free lists, one per size in units. */
  heapFree: 32,
  undoCount: 128,
} as const;

export const HEADER_WORDS = 1024;
/** Stores that one transaction may make. */
export const UNDO_ENTRIES = 4096;

export const NODE_WORDS = 9;
export const NodeAt = {
  inoLow: 0,
  /** 21 bits of the inode number, 11 bits of the mount. */
  inoHighMount: 1,
  hashNext: 2,
  firstLink: 3,
  firstChild: 4,
  state: 5,
  /** Directories: number of the listing that was begun last. */
  listing: 6,
  /** Inode number on the replica; stored without a note, see {@link Tree.setReplicaIno}. */
  replicaLow: 7,
  replicaHigh: 8,
} as const;

export const LINK_WORDS = 8;
export const LinkAt = {
  node: 0,
  directory: 1,
  name: 2,
  hashNext: 3,
  siblingNext: 4,
  siblingPrevious: 5,
  linkNext: 6,
  /** Number of the directory's listing that last showed this name. */
  mark: 7,
} as const;

/** Unit of the heap: names are kept as one byte of length and the bytes, padded. */
export const HEAP_UNIT_BYTES = 8;
export const HEAP_UNIT_WORDS = 2;
export const HEAP_CLASSES = 33;

export interface TreeOptions {
  /** Of each hash table; a power of two. */
  readonly buckets: number;
  readonly nodesMax: number;
  readonly linksMax: number;
  readonly heapUnits: number;
}

export const TREE_DEFAULTS: TreeOptions = {
  buckets: 1 << 20,
  nodesMax: 32_000_000,
  linksMax: 40_000_000,
  heapUnits: 150_000_000,
};

export interface TreeLayout extends TreeOptions {
  readonly undoAt: number;
  readonly nodeBucketsAt: number;
  readonly linkBucketsAt: number;
  readonly nodesAt: number;
  readonly linksAt: number;
  readonly heapAt: number;
  readonly totalWords: number;
}

const PAGE_WORDS = 1024;

/** A part of the tree's file, in bytes. */
export interface TreePart {
  readonly offset: number;
  readonly length: number;
}

/** What of a tree was ever used: all that a copy needs. Counts as in the header. */
export function usedParts(
  layout: TreeLayout,
  high: { readonly nodes: number; readonly links: number; readonly heapUnits: number },
): TreePart[] {
  const part = (startWord: number, words: number) => ({ offset: startWord * 4, length: words * 4 });
  return [
    part(0, HEADER_WORDS),
    part(layout.nodeBucketsAt, layout.buckets),
    part(layout.linkBucketsAt, layout.buckets),
    part(layout.nodesAt, high.nodes * NODE_WORDS),
    part(layout.linksAt, high.links * LINK_WORDS),
    part(layout.heapAt, high.heapUnits * HEAP_UNIT_WORDS),
  ];
}

export function treeLayout(options: TreeOptions): TreeLayout {
  const undoAt = HEADER_WORDS;
  const nodeBucketsAt = alignUp(undoAt + UNDO_ENTRIES * 2, PAGE_WORDS);
  const linkBucketsAt = nodeBucketsAt + options.buckets;
  const nodesAt = alignUp(linkBucketsAt + options.buckets, PAGE_WORDS);
  const linksAt = alignUp(nodesAt + options.nodesMax * NODE_WORDS, PAGE_WORDS);
  const heapAt = alignUp(linksAt + options.linksMax * LINK_WORDS, PAGE_WORDS);
  const totalWords = alignUp(heapAt + options.heapUnits * HEAP_UNIT_WORDS, PAGE_WORDS);
  return {
    ...options,
    undoAt,
    nodeBucketsAt,
    linkBucketsAt,
    nodesAt,
    linksAt,
    heapAt,
    totalWords,
  };
}

/**
 * What the fuzzer does: operations as plain data, made from random numbers alone, so that a
 * sequence can be printed, cut and run again. Names and handles come from small pools: most of them
 * are there, some are not, and many operations meet on one file.
 */
import type { Prng } from "../../src/base/prng.ts";

/** Name, then numbers and names; see `Side` for what each does. */
export type Operation = readonly [kind: string, ...values: readonly (number | string)[]];

/** Latin-1: names are bytes. */
const DIRECTORIES = ["d", "d/e", "d/e/f", "\xff\xfe", "g"];
const LEAVES = ["a", "b", "c", "\x01", "long".padEnd(255, "g")];
export const SLOTS = 6;

function name(prng: Prng): string {
  if (prng.chance(0.15)) return prng.pick(DIRECTORIES);
  const leaf = prng.pick(prng.chance(0.9) ? LEAVES.slice(0, 3) : LEAVES);
  return prng.chance(0.4) ? leaf : `${prng.pick(DIRECTORIES)}/${leaf}`;
}

const slot = (prng: Prng): number => prng.int(SLOTS);

/** Mostly small, at and around the borders of blocks and of requests. */
function offset(prng: Prng): number {
  const border = prng.pick([0, 4096, 8192, 65_536, 131_072, 1 << 20]);
  if (prng.chance(0.3)) return Math.max(0, border + prng.int(5) - 2);
  return prng.int(prng.chance(0.8) ? 20_000 : 1_500_000);
}

const length = (prng: Prng): number => prng.int(prng.pick([2, 100, 5000, 5000, 20_000, 300_000]));
const mode = (prng: Prng): number => prng.pick([0o644, 0o600, 0o755, 0o4755, 0o2711, 0o1777, 0]);

/** Flags of open(2): sometimes with O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DSYNC. */
function openFlags(prng: Prng): number {
  let flags = prng.pick([0, 1, 2, 2, 2]);
  for (const flag of [0o100, 0o100, 0o200, 0o1000, 0o2000, 0o10000]) {
    if (prng.chance(flag === 0o100 ? 0.5 : 0.12)) flags |= flag;
  }
  return flags;
}

const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const ZERO_RANGE = 16;
const XATTRS = ["user.one", "user.two", "trusted.three", "security.four"];

/** Types and devices: a fifo, a socket, a file, and devices that do no harm when opened. */
const SPECIAL: readonly (readonly [type: number, device: number])[] = [
  [0o10, 0],
  [0o140, 0],
  [0o100, 0],
  [0o20, 0x103],
  [0o60, 0xf001],
];

type Maker = (prng: Prng) => Operation;

const MAKERS: readonly (readonly [weight: number, make: Maker])[] = [
  [8, (p) => ["open", slot(p), name(p), openFlags(p), mode(p)]],
  [3, (p) => ["close", slot(p)]],
  [1, (p) => ["tmpfile", slot(p), p.pick(DIRECTORIES), mode(p)]],
  [1, (p) => ["link-handle", slot(p), name(p)]],
  [14, (p) => ["write", slot(p), offset(p), length(p), p.int(256)]],
  [4, (p) => ["read", slot(p), offset(p), length(p)]],
  [3, (p) => ["append", name(p), length(p), p.int(256)]],
  [3, (p) => ["truncate-handle", slot(p), offset(p)]],
  [3, (p) => ["truncate", name(p), offset(p)]],
  [2, (p) => ["fallocate", slot(p), p.pick([0, KEEP_SIZE]), offset(p), 1 + length(p)]],
  [2, (p) => ["fallocate", slot(p), PUNCH_HOLE | KEEP_SIZE, offset(p), 1 + length(p)]],
  [2, (p) => ["fallocate", slot(p), ZERO_RANGE | p.int(2), offset(p), 1 + length(p)]],
  [3, (p) => ["copy", slot(p), offset(p), slot(p), offset(p), length(p)]],
  [2, (p) => ["map-write", slot(p), offset(p), length(p), p.int(256)]],
  [2, (p) => ["seek", slot(p), offset(p), p.pick([3, 4])]],
  [1, (p) => ["sync", slot(p), p.int(2)]],
  [2, (p) => ["status-handle", slot(p)]],
  [1, (p) => ["chmod-handle", slot(p), mode(p)]],
  [6, (p) => ["mkdir", p.chance(0.8) ? p.pick(DIRECTORIES) : name(p), mode(p)]],
  [1, (p) => ["rmdir", p.chance(0.7) ? p.pick(DIRECTORIES) : name(p)]],
  [4, (p) => ["unlink", name(p)]],
  [7, (p) => ["rename", name(p), name(p), p.pick([0, 0, 0, 1, 2, 2, 4])]],
  [2, (p) => ["rename", p.pick(DIRECTORIES), p.pick(DIRECTORIES), p.pick([0, 0, 1, 2, 4])]],
  [4, (p) => ["link", name(p), name(p)]],
  [2, (p) => ["symlink", p.pick(["a", "d", "nowhere", "t".repeat(300)]), name(p)]],
  [1, (p) => ["mknod", name(p), ...p.pick(SPECIAL)]],
  [3, (p) => ["chmod", name(p), mode(p)]],
  [2, (p) => ["chown", name(p), p.pick([0, 1000, -1]), p.pick([0, 1000, -1])]],
  [3, (p) => ["times", name(p), p.int(2 ** 31), p.int(1e9), p.int(3)]],
  [3, (p) => ["xattr-set", name(p), p.pick(XATTRS), p.int(200), p.int(3)]],
  [1, (p) => ["xattr-remove", name(p), p.pick(XATTRS)]],
  [1, (p) => ["xattr-list", name(p)]],
  [2, (p) => ["acl", name(p), p.int(2), p.int(8)]],
  [1, (p) => ["flags", name(p), p.pick([0, 0x40, 0xc0])]],
  [3, (p) => ["status", name(p)]],
  [2, (p) => ["content", name(p)]],
  [2, (p) => ["list", p.pick([...DIRECTORIES, "."])]],
];

const TOTAL = MAKERS.reduce((sum, [weight]) => sum + weight, 0);

export function randomOperation(prng: Prng): Operation {
  let left = prng.int(TOTAL);
  for (const [weight, make] of MAKERS) {
    if (left < weight) return make(prng);
    left -= weight;
  }
  throw new Error("the weights do not add up");
}

export function randomOperations(prng: Prng, count: number): Operation[] {
  return Array.from({ length: count }, () => randomOperation(prng));
}

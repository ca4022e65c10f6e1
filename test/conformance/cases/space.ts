/** Holes, fallocate, copies between files, and what statfs says. */
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import {
  copyFileRange,
  fallocate,
  lseek,
  mknodat,
  AT_FDCWD,
  S_IFIFO,
  SEEK_DATA,
  SEEK_HOLE,
} from "../../../src/platform/libc.ts";
import { attempt, type Cases, digest, fdStatus, type Folder, named } from "../case.ts";

const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const COLLAPSE_RANGE = 8;
const ZERO_RANGE = 16;
const INSERT_RANGE = 32;
const UNSHARE_RANGE = 64;
const BLOCK = 4096;

/** Where data and holes begin, walked from the start. */
function extents(fd: number): unknown[] {
  const found: unknown[] = [];
  for (let at = 0; found.length < 40; ) {
    const data = lseek(fd, at, SEEK_DATA);
    if (data < 0) return [...found, named(data)];
    const hole = lseek(fd, data, SEEK_HOLE);
    found.push([data, hole]);
    at = hole;
  }
  return found;
}

function sparse(d: Folder, name: string): number {
  const fd = openSync(d.at(name), "w+");
  for (const at of [0, 16, 17, 40]) writeSync(fd, Buffer.alloc(BLOCK, 1), 0, BLOCK, at * BLOCK);
  return fd;
}

function inFile(d: Folder, mode: number, offset: number, length: number): unknown {
  const name = `f${mode}-${offset}-${length}`;
  const fd = sparse(d, name);
  const result = attempt(() => fallocate(fd, mode, offset, length));
  const content = digest(readFileSync(d.at(name)));
  const shown = [result, fdStatus(fd), content, extents(fd)];
  closeSync(fd);
  return shown;
}

const RANGES: readonly (readonly [number, number])[] = [
  [0, BLOCK],
  [16 * BLOCK, 2 * BLOCK],
  [100, 10_000],
  [16 * BLOCK + 7, BLOCK],
  [60 * BLOCK, 10 * BLOCK],
  [0, 50 * BLOCK],
];

function eachRange(mode: number): { asRoot: (d: Folder) => unknown } {
  return { asRoot: (d) => RANGES.map(([offset, length]) => inFile(d, mode, offset, length)) };
}

function copy(
  [from, to]: readonly [number, number],
  [fromAt, toAt]: readonly [number, number],
  length: number,
): unknown {
  const [a, b] = [fromAt, toAt].map((at) => {
    const offset = Buffer.alloc(8);
    offset.writeBigInt64LE(BigInt(at));
    return offset;
  }) as [Buffer, Buffer];
  const result = attempt(() => copyFileRange(from, a, to, b, length));
  return [result, Number(a.readBigInt64LE()) - fromAt, Number(b.readBigInt64LE()) - toAt];
}

export const spaceCases: Cases = {
  "SEEK_HOLE and SEEK_DATA": {
    asRoot: (d) => {
      const fd = sparse(d, "f");
      const results: unknown[] = [extents(fd)];
      const size = 41 * BLOCK;
      for (const at of [0, 1, BLOCK, 10 * BLOCK, size - 1, size, size + 1, -1, 2 ** 50]) {
        results.push([SEEK_DATA, SEEK_HOLE].map((whence) => named(lseek(fd, at, whence))));
      }
      closeSync(fd);
      return results;
    },
  },
  "holes read as zeros, and stay holes": {
    asRoot: (d) => {
      const fd = openSync(d.at("f"), "w+");
      truncateSync(d.at("f"), 1 << 30);
      writeSync(fd, "x", 1 << 29);
      const { blocks } = statSync(d.at("f"));
      const results = [extents(fd), blocks <= 16];
      closeSync(fd);
      return results;
    },
  },
  "fallocate: plain": eachRange(0),
  "fallocate: KEEP_SIZE": eachRange(KEEP_SIZE),
  "fallocate: PUNCH_HOLE": eachRange(PUNCH_HOLE | KEEP_SIZE),
  "fallocate: PUNCH_HOLE without KEEP_SIZE": eachRange(PUNCH_HOLE),
  "fallocate: ZERO_RANGE": eachRange(ZERO_RANGE),
  "fallocate: ZERO_RANGE with KEEP_SIZE": eachRange(ZERO_RANGE | KEEP_SIZE),
  "fallocate: COLLAPSE_RANGE": eachRange(COLLAPSE_RANGE),
  "fallocate: INSERT_RANGE": eachRange(INSERT_RANGE),
  "fallocate: modes that ext4 has not": {
    asRoot: (d) =>
      [UNSHARE_RANGE, PUNCH_HOLE | ZERO_RANGE | KEEP_SIZE, 1 << 20].map((mode) =>
        inFile(d, mode, 0, BLOCK),
      ),
  },
  "fallocate: wrong ranges and files": {
    asRoot: (d) => {
      const fd = sparse(d, "f");
      const read = openSync(d.at("f"), "r");
      const dir = openSync(d.at(), "r");
      mknodat(AT_FDCWD, d.c("fifo"), S_IFIFO | 0o600, 0);
      const fifo = openSync(d.at("fifo"), "r+");
      const results = [
        attempt(() => fallocate(fd, 0, 0, 0)),
        attempt(() => fallocate(fd, 0, -1, 10)),
        attempt(() => fallocate(fd, 0, 0, -1)),
        attempt(() => fallocate(fd, 0, 2 ** 45, 10)),
        attempt(() => fallocate(fd, 0, 2 ** 52, 2 ** 52)),
        attempt(() => fallocate(read, 0, 0, 10)),
        attempt(() => fallocate(dir, 0, 0, 10)),
        attempt(() => fallocate(fifo, 0, 0, 10)),
        fdStatus(fd),
      ];
      for (const each of [fd, read, dir, fifo]) closeSync(each);
      return results;
    },
  },
  copy_file_range: {
    asRoot: (d) => {
      writeFileSync(d.at("a"), Buffer.from(Array.from({ length: 50_000 }, (_, i) => i % 251)));
      writeFileSync(d.at("b"), Buffer.alloc(1000, 7));
      mkdirSync(d.at("dir"));
      const [a, b] = [openSync(d.at("a"), "r+"), openSync(d.at("b"), "r+")];
      const [r, append] = [openSync(d.at("b"), "r"), openSync(d.at("b"), "a")];
      const dir = openSync(d.at("dir"), "r");
      const results = [
        copy([a, b], [0, 0], 100),
        copy([a, b], [100, 5000], 30_000),
        copy([a, b], [49_000, 10], 30_000),
        copy([a, b], [50_000, 0], 10),
        copy([a, b], [60_000, 0], 10),
        copy([a, a], [0, 60_000], 5000),
        copy([a, a], [0, 100], 5000),
        copy([a, a], [0, 0], 10),
        copy([a, b], [0, 0], 0),
        copy([a, r], [0, 0], 10),
        copy([a, append], [0, 0], 10),
        copy([dir, b], [0, 0], 10),
        copy([a, dir], [0, 0], 10),
        copy([a, b], [0, 2 ** 45], 10),
        digest(readFileSync(d.at("a"))),
        digest(readFileSync(d.at("b"))),
        fdStatus(b),
      ];
      for (const fd of [a, b, r, append, dir]) closeSync(fd);
      return results;
    },
  },
  "large files are copied whole": {
    asRoot: (d) => {
      writeFileSync(d.at("a"), Buffer.alloc(40 << 20, 3));
      const [a, b] = [openSync(d.at("a"), "r"), openSync(d.at("b"), "w")];
      let done = 0;
      const offset = () => {
        const buffer = Buffer.alloc(8);
        buffer.writeBigInt64LE(BigInt(done));
        return buffer;
      };
      for (let round = 0; round < 100 && done < 40 << 20; round++) {
        const got = copyFileRange(a, offset(), b, offset(), (40 << 20) - done);
        if (got <= 0) return named(got);
        done += got;
      }
      closeSync(a);
      closeSync(b);
      return [done, statSync(d.at("b")).size, readFileSync(d.at("b")).every((byte) => byte === 3)];
    },
  },
  statfs: {
    asRoot: (d) => {
      const { bsize, blocks, files } = statfsSync(d.at());
      return [bsize, blocks, files];
    },
  },
};

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DescriptorCache } from "./descriptor-cache.ts";

const ENTRIES = 16;

/** Counts what is open; closing twice, or what is in use, fails. */
class Descriptors {
  readonly open = new Map<number, number>();
  readonly inUse = new Map<number, number>();
  #last = 2;

  next(ino: number): number {
    this.#last += 1;
    this.open.set(this.#last, ino);
    return this.#last;
  }
  close(fd: number): void {
    assert.ok(this.open.delete(fd), `descriptor ${fd} is closed twice`);
    assert.equal(this.inUse.get(fd) ?? 0, 0, `descriptor ${fd} is closed in use`);
  }
  use(fd: number, by: number): void {
    this.inUse.set(fd, (this.inUse.get(fd) ?? 0) + by);
  }
}

function newCache(): { cache: DescriptorCache; files: Descriptors } {
  const files = new Descriptors();
  const cache = new DescriptorCache(DescriptorCache.allocate(ENTRIES), (fd) => files.close(fd));
  return { cache, files };
}

const ino = fc.integer({ min: 1, max: 40 });
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("use" as const), ino }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("release" as const), ino: fc.nat(40) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("purge" as const), ino }) },
);

interface Use {
  readonly fd: number;
  /** -1: not kept by the cache. */
  readonly index: number;
}

function acquire(cache: DescriptorCache, files: Descriptors, wanted: number): Use {
  const found = cache.acquire(wanted);
  if (found >= 0) {
    const fd = cache.fd(found);
    assert.equal(files.open.get(fd), wanted, "the descriptor is that of the inode");
    return { fd, index: found };
  }
  const fd = files.next(wanted);
  return { fd, index: cache.insert(wanted, fd) };
}

test("DescriptorCache closes each descriptor once, none in use, and stays bounded", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const { cache, files } = newCache();
      const uses: Use[] = [];
      const release = (use: Use) => {
        files.use(use.fd, -1);
        if (use.index < 0) files.close(use.fd);
        else cache.release(use.index);
      };
      for (const { kind, ino: at } of steps) {
        if (kind === "use") {
          const use = acquire(cache, files, at);
          files.use(use.fd, 1);
          uses.push(use);
        } else if (kind === "purge") {
          cache.purge(at);
          assert.equal(cache.acquire(at), -1, "what was purged is not found any more");
        } else if (uses.length > 0) release(uses.splice(at % uses.length, 1)[0]!);
        const uncached = uses.filter(({ index }) => index < 0).length;
        assert.ok(files.open.size <= ENTRIES + uncached);
      }
      for (const use of uses) release(use);
      for (let at = 1; at <= 40; at++) cache.purge(at);
      assert.deepEqual([...files.open.values()], [], "what is purged is closed");
    }),
    { numRuns: 200 },
  );
});

test("DescriptorCache closes a purged descriptor when its last user is done, not before", () => {
  const { cache, files } = newCache();
  const first = acquire(cache, files, 5);
  const second = acquire(cache, files, 5);
  assert.equal(first.fd, second.fd);
  files.use(first.fd, 2);
  cache.purge(5);
  assert.equal(files.open.size, 1);
  files.use(first.fd, -1);
  cache.release(first.index);
  assert.equal(files.open.size, 1);
  files.use(first.fd, -1);
  cache.release(second.index);
  assert.equal(files.open.size, 0);
});

test("DescriptorCache opens anew for an inode number that is used again", () => {
  const { cache, files } = newCache();
  const old = acquire(cache, files, 5);
  cache.purge(5);
  const fresh = acquire(cache, files, 5);
  assert.notEqual(fresh.fd, old.fd);
  cache.release(old.index);
  assert.deepEqual([...files.open.keys()], [fresh.fd]);
  assert.equal(cache.fd(cache.acquire(5)), fresh.fd);
});

test("DescriptorCache takes no descriptor when all its places are in use", () => {
  const { cache, files } = newCache();
  const uses = Array.from({ length: 200 }, (_, at) => acquire(cache, files, at + 1));
  assert.ok(uses.some(({ index }) => index < 0));
  for (const { fd, index } of uses) {
    if (index >= 0) assert.equal(cache.fd(index), fd, "none was replaced in use");
  }
});

/** What a resync makes of changes that nobody recorded, while others go on. */
import assert from "node:assert/strict";
import { closeSync, existsSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { test } from "node:test";
import { ApplierBench } from "../../test/support/applier-bench.ts";
import type { FakeSource } from "../../test/support/fake-source.ts";
import { Counter } from "../apply/apply-memory.ts";
import { PassKind, Phase } from "../mirror/pass-state.ts";
import { getInodeFlags, setInodeFlags } from "../platform/replica-files.ts";

/** A copy that is complete, then changes that nobody recorded, and a resync that has begun. */
function afterGap(
  before: (source: FakeSource) => void,
  lost: (source: FakeSource) => void,
  exclude: readonly string[] = [],
): ApplierBench {
  const bench = new ApplierBench({ exclude, orphans: "aside" });
  const { source } = bench;
  before(source);
  bench.settle();
  source.isRecording = false;
  lost(source);
  source.isRecording = true;
  bench.runtime.startPass(PassKind.resync);
  return bench;
}

test("ApplierRuntime leaves nothing at a name that an unknown file had before it came", () => {
  const bench = afterGap(
    (source) => source.create("name"),
    (source) => {
      // First: it must not get the inode number of the other.
      source.create("unknown");
      source.remove("name");
    },
  );
  bench.source.link("name", "unknown");
  bench.answerOne(); // the root's listing
  bench.source.rename("name", "other");
  bench.settle();
  bench.assertEqual();
});

test("ApplierRuntime sets nothing aside that is only not where the source has it", () => {
  const none = () => {};
  const loseName = (source: FakeSource) => {
    source.exchange("unknown", "name");
    source.remove("unknown");
    source.rename("name", "third");
  };
  const cases: [
    string,
    (s: FakeSource) => void,
    (s: FakeSource) => void,
    (s: FakeSource) => void,
  ][] = [
    [
      "a name that was lost to an unknown file, and given to another",
      (source) => source.link("name", "file"),
      (source) => source.create("unknown"),
      (source) => {
        loseName(source);
        source.create("name");
      },
    ],
    [
      "the same, and given to a file that has one",
      (source) => source.link("name", "file"),
      (source) => source.create("unknown"),
      (source) => {
        loseName(source);
        source.link("name", "another");
      },
    ],
    [
      "a folder, where an unknown file is replaced",
      (source) => source.mkdir("name"),
      (source) => {
        source.rename("name", "folder");
        source.create("name");
      },
      (source) => source.rename("another", "name"),
    ],
    [
      "a folder with a file, where an unknown file is removed",
      (source) => {
        source.mkdir("name");
        source.create("name/file");
      },
      (source) => {
        source.rename("name", "folder");
        source.create("name");
      },
      (source) => source.remove("name"),
    ],
    [
      "a file that changes places with one in a folder that the copy does not have",
      none,
      (source) => {
        source.mkdir("unknown");
        source.mkdir("unknown/folder");
      },
      (source) => {
        source.rename("unknown/folder", "folder");
        source.create("folder/new");
        source.exchange("file", "folder/new");
      },
    ],
  ];
  for (const [name, before, lost, then] of cases) {
    const bench = afterGap((source) => {
      for (const each of ["file", "another"]) source.create(each);
      before(source);
    }, lost);
    then(bench.source);
    bench.settle();
    bench.assertEqual();
    assert.deepEqual(readdirSync(`${bench.home}/.replica.standin/aside`), [], name);
    assert.equal(bench.runtime.memory.apply.get(Counter.diverged), 0, name);
  }
});

test("ApplierRuntime gives new files the flags of a folder that a resync has yet to reach", () => {
  const NODUMP = 0x40;
  const set = (path: string, flags: number) => {
    const fd = openSync(path, "r");
    assert.equal(setInodeFlags(fd, (getInodeFlags(fd) & ~NODUMP) | flags), 0);
    closeSync(fd);
  };
  for (const [before, lost] of [
    [0, NODUMP],
    [NODUMP, 0],
  ] as const) {
    const bench = afterGap(
      (source) => {
        source.mkdir("d");
        set(`${source.root}/d`, before);
      },
      (source) => set(`${source.root}/d`, lost),
    );
    bench.source.mkdir("d/e");
    bench.source.create("d/e/file");
    bench.source.rename("d/e/file", "file");
    bench.source.create("d/other");
    bench.source.rename("d/other", "other");
    bench.settle();
    bench.assertEqual();
  }
});

test("ApplierRuntime copies nothing from a file that a resync has yet to compare", () => {
  const bench = afterGap(
    (source) => {
      source.create("from");
      source.write("from", 0, Buffer.from("before"));
    },
    (source) => source.write("from", 0, Buffer.from("behind")),
  );
  bench.source.create("to");
  bench.source.copy("to", 0, "from", 0, 6);
  bench.settle();
  bench.assertEqual();
});

test("ApplierRuntime copies nothing wrong behind what a resync has compared already", () => {
  const bench = afterGap(
    (source) => {
      for (const name of ["to", "from"]) {
        source.create(name);
        source.write(name, 0, Buffer.from("before"));
      }
    },
    (source) => {
      for (const name of ["to", "from"]) source.write(name, 0, Buffer.from("behind"));
    },
  );
  while (bench.runtime.control.state.differing === 0) bench.answerOne(); // the hashes of "to"
  bench.source.copy("to", 6, "from", 0, 6);
  bench.settle();
  bench.assertEqual();
});

test("ApplierRuntime follows a directory into one that it believes to be below", () => {
  const bench = afterGap(
    (source) => {
      source.mkdir("inner");
      source.mkdir("outer");
      source.rename("inner", "outer/inner");
      source.mkdir("third");
    },
    (source) => source.rename("outer/inner", "third/inner"),
  );
  for (const _ of ["the root", "inner"]) bench.answerOne();
  bench.source.rename("outer", "third/inner/outer");
  bench.settle();
  bench.assertEqual();
});

test("ApplierRuntime keeps what it has seen when above and below have changed places", () => {
  const bench = afterGap(
    (source) => {
      // In this order, which is that of the listings.
      for (const path of ["seen", "seen/below", "above"]) source.mkdir(path);
      source.rename("seen", "above/seen");
      source.mkdir("home");
    },
    (source) => {
      source.rename("above/seen", "home/seen");
      source.rename("above", "home/seen/below/above");
    },
  );
  bench.settle();
  bench.assertEqual();
});

test("ApplierRuntime ends a resync that meets a rename of a directory without a place", () => {
  const bench = afterGap(
    (source) => {
      for (const path of ["outer", "outer/inner", "home"]) source.mkdir(path);
    },
    (source) => {
      source.rename("outer/inner", "home/inner");
      source.rename("outer", "home/outer");
    },
  );
  bench.answerOne(); // the root's listing: outer waits for its turn
  bench.source.rename("home/outer", "home/inner/outer");
  bench.settle();
  bench.assertEqual();
});

test("ApplierRuntime follows what gets the name of a directory that it believes to hold it", () => {
  for (const come of ["link", "rename"] as const) {
    const bench = afterGap(
      (source) => {
        source.mkdir("name");
        source.create("name/file");
      },
      (source) => {
        source.rename("name/file", "file");
        source.remove("name");
      },
    );
    if (come === "link") bench.source.link("name", "file");
    else bench.source.rename("file", "name");
    bench.settle();
    bench.assertEqual();
  }
});

test("ApplierRuntime leaves no name behind where a file goes back to its old one", () => {
  for (const way of ["rename", "exchange"] as const) {
    const bench = afterGap(
      (source) => {
        // In this order, which is that of the listings.
        for (const path of ["new", "old"]) source.mkdir(path);
        source.create("old/name");
      },
      (source) => {
        source.rename("old/name", "new/name");
        source.create("old/name");
      },
    );
    for (const _ of ["the root", "new"]) bench.answerOne();
    bench.source[way]("new/name", "old/name");
    bench.settle();
    bench.assertEqual();
  }
});

test("ApplierRuntime keeps nothing that a lost rename of a directory has excluded", () => {
  const bench = afterGap(
    (source) => {
      for (const path of ["moved", "moved/inner", "home"]) source.mkdir(path);
      for (const path of ["moved/file", "moved/inner/file"]) source.create(path);
    },
    (source) => source.rename("moved", "home/moved"),
    ["/home/**/file"],
  );
  bench.settle();
  const paths = ["moved", "moved/inner", "moved/file", "moved/inner/file"];
  const there = paths.map((path) => existsSync(`${bench.replicaPath}/home/${path}`));
  assert.deepEqual(there, [true, true, false, false]);
});

test("ApplierRuntime waits for no directory that is below one that is gone", () => {
  const bench = afterGap(
    (source) => {
      for (const path of ["gone", "gone/inner", "gone/inner/most"]) source.mkdir(path);
    },
    (source) => {
      for (const path of ["gone/inner/most", "gone/inner", "gone"]) source.remove(path);
    },
  );
  const before = bench.nowMs;
  bench.settle();
  bench.assertEqual();
  assert.ok(bench.nowMs - before < 1000, `it took ${bench.nowMs - before} ms`);
});

test("ApplierRuntime ends a resync of a file that leaves what is copied and comes back", () => {
  const bench = afterGap(
    (source) => {
      source.create("file");
      source.write("file", 0, Buffer.from("before"));
    },
    (source) => source.write("file", 0, Buffer.from("behind")),
    ["*.tmp"],
  );
  while (bench.runtime.control.state.phase !== Phase.contents) bench.answerOne();
  bench.housekeep(); // asks for the file
  bench.source.rename("file", "file.tmp");
  bench.source.create("another");
  bench.source.rename("file.tmp", "file");
  bench.settle();
  assert.deepEqual(readFileSync(`${bench.replicaPath}/file`, "utf8"), "behind");
});

test("ApplierRuntime keeps no file without a name that the source has not, or has named", () => {
  for (const becomes of ["nothing", "name.tmp"]) {
    let ino = 0;
    const nameless = (source: FakeSource) => `${source.root}/../nameless`;
    const bench = afterGap(
      (source) => {
        ino = source.tmpfile(nameless(source));
      },
      (source) => {
        if (becomes === "nothing") rmSync(nameless(source));
        else source.linkTmpfile(becomes, nameless(source));
        source.forget(ino);
      },
      ["*.tmp"],
    );
    bench.settle();
    assert.deepEqual(readdirSync(`${bench.home}/.replica.standin/nameless`), []);
  }
});

test("ApplierRuntime removes what had the number of a file without a name before it", (t) => {
  let [before, after] = [0, 0];
  const nameless = (source: FakeSource) => `${source.root}/../nameless`;
  const bench = afterGap(
    (source) => {
      source.mknod("fifo", 0o010600);
      before = source.ino("fifo");
    },
    (source) => {
      source.remove("fifo");
      after = source.tmpfile(nameless(source));
    },
  );
  if (before !== after) t.skip("this file system gives other numbers");
  bench.answerOne(); // the root's listing: the fifo waits for its place
  bench.source.write("../nameless", 0, Buffer.from("data"));
  bench.source.forget(after);
  bench.settle();
  assert.deepEqual(readdirSync(`${bench.home}/.replica.standin/nameless`), []);
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { refuseOverlaps, refuseReplicas, replicaFolders } from "./job-paths.ts";

test("replicaFolders() names them by the last part of their paths, each once", () => {
  assert.deepEqual(replicaFolders(["/srv/mail"]), ["0"]);
  assert.deepEqual(replicaFolders(["/srv/mail", "/srv/db"]), ["mail", "db"]);
  const same = ["/a/data", "/b/data", "/c/data-2", "/d/data"];
  assert.deepEqual(replicaFolders(same), ["data", "data-2", "data-2-2", "data-3"]);
  const unclear = ["/srv/.hidden", "/srv/a b", "/srv/é", `/srv/${"x".repeat(255)}`];
  assert.deepEqual(replicaFolders(unclear), ["hidden", "a-b", "folder", "x".repeat(63)]);
});

const nothing = { identity: () => undefined };

test("refuseOverlaps() names the job that has the folder, or one in it or above it", () => {
  const jobs = [{ name: "shop", mounts: [{ path: "/srv/db" }, { path: "/srv/files" }] }];
  for (const path of ["/srv/files", "/srv", "/srv/files/below"]) {
    assert.throws(() => refuseOverlaps(["/home", path], jobs, nothing), {
      code: "ALREADY_PROTECTED",
      message: /\/srv\/(db|files) is, by job shop/,
    });
  }
  refuseOverlaps(["/srv/files2", "/home"], jobs, nothing);
});

test("refuseReplicas() sends no replica on, whatever path shows it", () => {
  const received = [{ name: "mail", replica: "/var/lib/standin/replicas/1/data" }];
  for (const path of ["/var/lib", "/var/lib/standin/replicas/1/data/0"]) {
    const chain = { code: "REPLICA_CHAIN", message: /the replica of mail/ };
    assert.throws(() => refuseReplicas([path], received, nothing), chain);
  }
  const identity = (path: string) => {
    const inode = path === "/bound" || path === received[0]?.replica ? 7 : 1000 + path.length;
    return { device: 1, inode, isDirectory: true };
  };
  assert.throws(() => refuseReplicas(["/bound/0"], received, { identity }));
  refuseReplicas(["/srv/mail"], received, { identity });
});

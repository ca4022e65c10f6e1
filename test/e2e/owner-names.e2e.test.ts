/**
 * Files that belong to users and groups by name: the target is a server on which the same names
 * have other numbers, and some are missing.
 */
import assert from "node:assert/strict";
import {
  chownSync,
  closeSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";

import { cString, fsetxattr } from "../../src/platform/libc.ts";
import { xattrValue } from "../../src/platform/replica-files.ts";
import { until } from "../support/agent-run.ts";
import { skipUnless } from "../support/capabilities.ts";
import { Servers } from "../support/two-servers.ts";
import { TargetUsers } from "../support/target-users.ts";

const skip = skipUnless("root", "fuse", "fuse-resend", "command:unshare", "command:getent");
const timeout = 300_000;

/** Numbers on this machine, as Debian gives them; and those on the target. */
const DAEMON = 1;
const GAMES = 5;
const GAMES_GROUP = 60;
const MAIL = 8;
const WWW_DATA = 33;
const THERE = { daemon: 3001, mail: 3008, "www-data": 3033 };
const NAMELESS = 54_321;
const ACL = Buffer.from("system.posix_acl_access");

/** Of the file's owner, a user, the group, a group, the mask and others. */
function aclOf(user: number, group: number): Buffer {
  const entries = [
    [0x01, 6, 0xffffffff],
    [0x02, 4, user],
    [0x04, 4, 0xffffffff],
    [0x08, 4, group],
    [0x10, 4, 0xffffffff],
    [0x20, 0, 0xffffffff],
  ];
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2, 0);
  for (const [i, [tag = 0, permissions = 0, id = 0]] of entries.entries()) {
    bytes.writeUInt16LE(tag, 4 + 8 * i);
    bytes.writeUInt16LE(permissions, 6 + 8 * i);
    bytes.writeUInt32LE(id, 8 + 8 * i);
  }
  return bytes;
}

function withFile<T>(path: string, use: (fd: number) => T): T {
  const fd = openSync(path, "r");
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

function setAcl(path: string, user: number, group: number): void {
  const value = aclOf(user, group);
  const result = withFile(path, (fd) => fsetxattr(fd, cString(ACL), value, value.length, 0));
  assert.equal(result, 0);
}

function owner(path: string): [number, number] {
  const { uid, gid } = lstatSync(path);
  return [uid, gid];
}

function write(servers: Servers, name: string, uid: number, gid: number): string {
  const path = join(servers.folder, name);
  writeFileSync(path, name);
  chownSync(path, uid, gid);
  return path;
}

async function start(t: TestContext): Promise<{ servers: Servers; users: TargetUsers }> {
  const users = new TargetUsers(t, THERE);
  const servers = await Servers.start(t, 2, { targetPrefix: users.prefix });
  return { servers, users };
}

function differing(servers: Servers, ...options: string[]): number {
  const { stdout } = servers.source.command("verify", "data", ...options, "--json");
  const { targets } = JSON.parse(stdout) as { targets: { different: number }[] };
  return targets[0]?.different ?? -1;
}

test("files belong to who has the same name on the target", { skip, timeout }, async (t) => {
  const { servers } = await start(t);
  write(servers, "mirrored", DAEMON, MAIL);
  setAcl(join(servers.folder, "mirrored"), MAIL, WWW_DATA);
  mkdirSync(join(servers.folder, "folder"));
  chownSync(join(servers.folder, "folder"), WWW_DATA, WWW_DATA);
  await servers.protect("--owners", "name");
  const live = write(servers, "live", MAIL, WWW_DATA);
  write(servers, "changed", 0, 0);
  chownSync(join(servers.folder, "changed"), DAEMON, 0);
  symlinkSync("live", join(servers.folder, "symlink"));
  lchownSync(join(servers.folder, "symlink"), MAIL, MAIL);
  setAcl(live, DAEMON, MAIL);
  servers.flush();
  const at = (name: string) => join(servers.replica(), name);
  const { daemon, mail, "www-data": www } = THERE;
  assert.deepEqual(owner(at("mirrored")), [daemon, mail]);
  assert.deepEqual(owner(at("folder")), [www, www]);
  assert.deepEqual(owner(at("live")), [mail, www]);
  assert.deepEqual(owner(at("changed")), [daemon, 0]);
  assert.deepEqual(owner(at("symlink")), [mail, mail]);
  const acl = (name: string) => withFile(at(name), (fd) => xattrValue(fd, ACL, false));
  assert.deepEqual(Buffer.from(acl("mirrored") ?? []), aclOf(mail, www));
  assert.deepEqual(Buffer.from(acl("live") ?? []), aclOf(daemon, mail));
  assert.equal(differing(servers), 0, "an owner by name is equal");
  assert.deepEqual(servers.replicaStatus().unknownOwners, { count: 0, names: [] });
});

test("who is unknown on the target keeps the number, is named, and is mended when known", {
  skip,
  timeout,
}, async (t) => {
  const { servers, users } = await start(t);
  await servers.protect("--owners", "name");
  write(servers, "game", GAMES, GAMES_GROUP);
  write(servers, "nameless", NAMELESS, DAEMON);
  servers.flush();
  const at = (name: string) => join(servers.replica(), name);
  assert.deepEqual(owner(at("game")), [GAMES, GAMES_GROUP]);
  assert.deepEqual(owner(at("nameless")), [NAMELESS, THERE.daemon]);
  const unknown = { count: 3, names: ["user games", `user ${NAMELESS} (nameless)`, "group games"] };
  assert.deepEqual(servers.replicaStatus().unknownOwners, unknown);
  await until(
    () => servers.status().targets[0]?.unknownOwners.count === 3 || undefined,
    () => JSON.stringify(servers.status()),
  );
  assert.match(servers.source.command("jobs").stdout, /3 owners are unknown .*: user games, /);
  assert.equal(servers.status().protected, true);
  users.add("games", 3005);
  await until(
    () => differing(servers) > 0 || undefined,
    () => "the new user is not noticed",
  );
  differing(servers, "--repair");
  servers.flush();
  assert.deepEqual(owner(at("game")), [3005, 3005]);
  assert.equal(servers.replicaStatus().unknownOwners.count, 1);
});

test("names outlive agents and memory; what waits in the log is mapped without the source", {
  skip,
  timeout,
}, async (t) => {
  const { servers } = await start(t);
  await servers.protect("--owners", "name");
  servers.source.json("pause", "data");
  write(servers, "waiting", MAIL, WWW_DATA);
  await until(
    () => servers.status().targets[0]?.durableLsn === servers.status().lsn || undefined,
    () => JSON.stringify(servers.status()),
  );
  await servers.target.stop();
  await servers.source.stop();
  servers.loseTargetMemory();
  await servers.target.start();
  const replica = join(servers.replica(), "waiting");
  await servers.source.start();
  await servers.untilConnected();
  servers.source.json("resume", "data");
  servers.flush();
  assert.deepEqual(owner(replica), [THERE.mail, THERE["www-data"]]);
  assert.equal(differing(servers), 0);
});

test("by number, which is the default, nothing is mapped", { skip, timeout }, async (t) => {
  const { servers } = await start(t);
  await servers.protect();
  write(servers, "file", MAIL, WWW_DATA);
  servers.flush();
  assert.deepEqual(owner(join(servers.replica(), "file")), [MAIL, WWW_DATA]);
});

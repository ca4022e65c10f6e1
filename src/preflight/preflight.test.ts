import assert from "node:assert/strict";
import { test } from "node:test";
import { canResend } from "../fuse/kernel.ts";
import type { MountEntry } from "../platform/mount-table.ts";
import type { OpenFile } from "../platform/open-files.ts";
import type { PreflightPlan, Surroundings } from "./check.ts";
import { CHECKS, preflight } from "./preflight.ts";

const PLAN: PreflightPlan = { source: "/srv/mail", replica: "/backup/mail", allowOpenFiles: false };

const INODES = new Map([
  ["/", 2],
  ["/srv", 10],
  ["/srv/mail", 11],
  ["/backup", 20],
  ["/backup/mail", 21],
]);

const SOUND: Surroundings = {
  capabilities: (1n << 41n) - 1n,
  hasFuseDevice: true,
  kernelRelease: "6.12.1-amd64",
  mountTable: [mount("/", "ext4")],
  otherInstances: [],
  openFiles: () => [],
  sharedWritableMaps: () => [],
  identity: (path) => {
    const inode = INODES.get(path);
    return inode === undefined ? undefined : { device: 1, inode, isDirectory: true };
  },
  unreadable: () => undefined,
  supportsFileHandles: () => true,
  space: () => ({ totalBytes: 100, freeBytes: 50, usedBytes: 50 }),
};

function mount(path: string, type: string): MountEntry {
  return { id: 1, device: "8:1", path, options: ["rw"], type };
}

function openFile(path: string, flags: number): OpenFile {
  return { pid: 42, command: "dovecot", path, flags, mountId: 1 };
}

function codes(change: Partial<Surroundings>, plan: Partial<PreflightPlan> = {}): string[] {
  const findings = preflight({ ...PLAN, ...plan }, { ...SOUND, ...change });
  return findings.map(({ level, code }) => `${level} ${code}`);
}

test("preflight() finds nothing on a sound machine", () => {
  assert.deepEqual(codes({}), []);
});

test("preflight() refuses what cannot work", () => {
  assert.deepEqual(codes({ capabilities: 0n }), ["error NO_PRIVILEGE"]);
  assert.deepEqual(codes({ hasFuseDevice: false }), ["error NO_FUSE"]);
  assert.deepEqual(codes({ unreadable: () => "EACCES" }), ["error SOURCE_UNREADABLE"]);
  assert.deepEqual(codes({ supportsFileHandles: () => false }), ["error NO_FILE_HANDLES"]);
  assert.deepEqual(codes({}, { source: "/" }), ["error SOURCE_IS_ROOT"]);
});

test("preflight() refuses folders inside each other, by path", () => {
  assert.deepEqual(codes({}, { replica: "/srv/mail" }), ["error SAME_FOLDER"]);
  assert.deepEqual(codes({}, { replica: "/srv/mail/copy" }), ["error REPLICA_INSIDE"]);
  assert.deepEqual(codes({}, { replica: "/srv" }), ["error SOURCE_INSIDE"]);
  assert.deepEqual(codes({}, { replica: "/srv/mail2" }), []);
});

test("preflight() refuses folders inside each other that a bind mount hides", () => {
  const bound = { identity: boundIdentity };
  assert.deepEqual(codes(bound, { replica: "/elsewhere" }), ["error SAME_FOLDER"]);
  assert.deepEqual(codes(bound, { replica: "/elsewhere/copy" }), ["error REPLICA_INSIDE"]);
});

/** `/elsewhere` is a bind mount of `/srv/mail`. */
function boundIdentity(path: string) {
  return SOUND.identity(path === "/elsewhere" ? "/srv/mail" : path);
}

test("preflight() refuses folders of one job that hold the same files", () => {
  const with_ = (sibling: string) => ({ siblings: ["/home", sibling] });
  for (const sibling of ["/srv/mail", "/srv", "/srv/mail/below"]) {
    assert.deepEqual(codes({}, with_(sibling)), ["error PATHS_OVERLAP"], sibling);
  }
  assert.deepEqual(codes({}, with_("/srv/mail2")), []);
  const bound = { identity: boundIdentity };
  assert.deepEqual(codes(bound, with_("/elsewhere/below")), ["error PATHS_OVERLAP"]);
});

test("preflight() names processes with files open for writing, once each", () => {
  const files = [
    openFile("/srv/mail/index", 0o2),
    openFile("/srv/mail/index", 0o1),
    openFile("/srv/mail/only-read", 0o0),
    openFile("/srv/mailbox", 0o2),
  ];
  const change = { openFiles: () => files };
  const [finding, ...others] = preflight(PLAN, { ...SOUND, ...change });
  assert.equal(finding?.level, "error");
  assert.match(
    finding?.message ?? "",
    /dovecot \(pid 42\) has \/srv\/mail\/index open for writing$/,
  );
  assert.deepEqual(others, []);
  assert.deepEqual(codes(change, { allowOpenFiles: true }), ["warning OPEN_FILES"]);
});

test("preflight() names files that are mapped for writing", () => {
  const maps = [{ pid: 7, command: "slapd", path: "/srv/mail/data.mdb", device: "8:1" }];
  const [finding] = preflight(PLAN, { ...SOUND, sharedWritableMaps: () => maps });
  assert.match(finding?.message ?? "", /slapd \(pid 7\) has \/srv\/mail\/data.mdb mapped/);
});

test("preflight() names mounts below the source, and goes on", () => {
  const mountTable = [mount("/", "ext4"), mount("/srv/mail/tmp", "tmpfs")];
  assert.deepEqual(codes({ mountTable }), ["warning NESTED_MOUNT"]);
});

test("preflight() refuses a folder that is protected already, or overlaps one that is", () => {
  const other = { source: "/srv", replica: "/copy", stateDirectory: "/state", pid: 9 };
  assert.deepEqual(codes({ otherInstances: [other] }), ["error ALREADY_PROTECTED"]);
  const same = { ...other, source: "/home", replica: "/backup/mail" };
  assert.deepEqual(codes({ otherInstances: [same] }), ["error REPLICA_IN_USE"]);
  const mountTable = [mount("/", "ext4"), mount("/srv/mail", "fuse.standin")];
  assert.deepEqual(codes({ mountTable }), ["error ALREADY_MOUNTED"]);
});

test("preflight() warns of a kernel that cannot resend, and of little space", () => {
  assert.deepEqual(codes({ kernelRelease: "6.1.0-13-amd64" }), ["warning NO_RESEND"]);
  const space = (path: string) => {
    const [freeBytes, usedBytes] = path === PLAN.replica ? [10, 0] : [0, 90];
    return { totalBytes: 100, freeBytes, usedBytes };
  };
  assert.deepEqual(codes({ space }), [], "one file system has room for itself");
  const identity = (path: string) => {
    const found = SOUND.identity(path);
    return found && { ...found, device: path.startsWith("/backup") ? 2 : 1 };
  };
  assert.deepEqual(codes({ space, identity }), ["warning LITTLE_SPACE"]);
});

test("canResend() compares releases by number", () => {
  for (const release of ["6.9.0", "6.18.44-fc", "7.0.0-rc1", "6.10"]) assert.ok(canResend(release));
  for (const release of ["6.8.12", "5.15.0-100-generic", "4.9"]) assert.ok(!canResend(release));
});

test("every check says what it reads, and each has an id of its own", () => {
  assert.equal(new Set(CHECKS.map(({ id }) => id)).size, CHECKS.length);
  for (const { reads } of CHECKS) assert.notEqual(reads, "");
});

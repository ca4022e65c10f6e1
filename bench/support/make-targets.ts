/** Sets up the targets of a comparison, side by side in one work folder. */
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";

import { systemClock } from "../../src/platform/clock.ts";
import { readMountTable } from "../../src/platform/mount-table.ts";
import { type Argument, type Arguments, namedValue } from "./arguments.ts";
import { CaptureAlone } from "./capture-alone.ts";
import type { Cleanup } from "./cleanup.ts";
import { runCommand } from "./run-command.ts";
import { LagWatch } from "./lag-watch.ts";
import { StandinLocal } from "./standin-local.ts";
import { StandinServers } from "./standin-servers.ts";
import { HEALTHY, mountIdOf, plainTarget, type Target } from "./target.ts";
import { makeWorkFolder } from "./work-folder.ts";

const MOUNT_MS = 20_000;
const START_MS = 60_000;

export const TARGET_ARGUMENTS: Readonly<Record<string, Argument>> = {
  own: {
    help:
      "folders to set up, of: bare, capture (alone, read and discarded), copy (kept too),\n" +
      "servers (kept by a second agent, over TLS on loopback)",
    default: "bare,capture,copy",
  },
  "target-loop": {
    help:
      "size of a fresh ext4 in a loop file for what the second of the servers keeps; else it is\n" +
      "on the file system of the first, whose syncs then write what the replica has, too",
  },
  target: {
    help: "NAME=DIR: a folder to compare with, for example a mounted peer",
    multiple: true,
  },
  peer: {
    help: "NAME=COMMAND: a peer that sh -c COMMAND mounts, from $SOURCE on $MOUNT",
    multiple: true,
  },
};

/** All targets that the command line names. */
export async function makeTargets(
  cleanup: Cleanup,
  work: string,
  given: Arguments,
): Promise<Target[]> {
  const targets: Target[] = [];
  const targetLoop = given.optional("target-loop");
  const parent = given.text("in");
  const targetWork =
    targetLoop === undefined
      ? work
      : await makeWorkFolder(cleanup, { parent, loopBytes: given.size("target-loop") });
  for (const name of given.list("own")) {
    console.error(`setting up ${name}`);
    targets.push(await ownTarget(cleanup, { work, targetWork }, name));
  }
  for (const text of given.each("peer")) {
    const { name, value } = namedValue(text);
    console.error(`mounting ${name}`);
    targets.push(await mountedPeer(cleanup, work, name, value));
  }
  for (const text of given.each("target")) {
    const { name, value } = namedValue(text);
    targets.push(plainTarget(name, "peer", realpathSync(value)));
  }
  const names = new Set(targets.map(({ name }) => name));
  if (names.size < targets.length) throw new Error("two targets have the same name");
  if (targets.length === 0) throw new Error("no targets: name some with --own, --peer or --target");
  return targets;
}

function ownTarget(
  cleanup: Cleanup,
  { work, targetWork }: { readonly work: string; readonly targetWork: string },
  name: string,
): Target | Promise<Target> {
  const folder = `${work}/${name}`;
  mkdirSync(folder);
  if (name === "bare") return plainTarget(name, "bare", folder);
  if (name === "capture") return captureTarget(cleanup, name, folder);
  if (name === "copy") return copyTarget(cleanup, name, folder);
  if (name === "servers") return serversTarget(cleanup, name, { folder, targetWork });
  throw new Error(`--own ${name}: there are bare, capture, copy and servers`);
}

/** Removed last, when all is unmounted. */
export function makeStateFolder(cleanup: Cleanup): string {
  const folder = mkdtempSync(`${tmpdir()}/standin-bench-state-`);
  cleanup.add(`remove ${folder}`, () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function captureTarget(cleanup: Cleanup, name: string, folder: string): Promise<Target> {
  const capture = await CaptureAlone.start(cleanup, folder, makeStateFolder(cleanup));
  return {
    name,
    kind: "own",
    folder,
    mountId: mountIdOf(folder),
    settle: () => capture.settle(),
    health: async () => ({ gaps: capture.gaps, restarts: capture.engineDeaths }),
  };
}

async function copyTarget(cleanup: Cleanup, name: string, folder: string): Promise<Target> {
  const replica = `${folder}-replica`;
  mkdirSync(replica);
  const folders = { source: folder, replica, state: makeStateFolder(cleanup) };
  const local = StandinLocal.start(cleanup, folders);
  await local.waitFor("mirrored", START_MS);
  return {
    name,
    kind: "own",
    folder,
    mountId: mountIdOf(folder),
    settle: () => local.flush(),
    async health() {
      return { gaps: (await local.status()).queue.gaps, restarts: local.restarts };
    },
  };
}

async function serversTarget(
  cleanup: Cleanup,
  name: string,
  { folder, targetWork }: { readonly folder: string; readonly targetWork: string },
): Promise<Target> {
  const home = `${folder}-agents`;
  const servers = await StandinServers.start(cleanup, home, `${targetWork}/${name}-agents`);
  await servers.protect(folder, `${targetWork}/${name}-replica`);
  await servers.untilProtected(START_MS);
  return {
    name,
    kind: "own",
    folder,
    mountId: mountIdOf(folder),
    settle: () => servers.flush(),
    async health() {
      return { gaps: (await servers.status()).protected ? 0 : 1, restarts: 0 };
    },
    watchLag: () => LagWatch.start(() => servers.status()),
  };
}

async function mountedPeer(
  cleanup: Cleanup,
  work: string,
  name: string,
  command: string,
): Promise<Target> {
  const source = `${work}/${name}-source`;
  const folder = `${work}/${name}`;
  for (const path of [source, folder]) {
    mkdirSync(path);
    chmodSync(path, 0o755);
  }
  cleanup.add(`unmount ${folder}`, () => unmountPeer(folder));
  // Its server goes on in the background and must not hold our pipes.
  const quiet = `exec </dev/null >/dev/null 2>&1; ${command}`;
  await runCommand("sh", ["-c", quiet], {
    limitMs: MOUNT_MS,
    env: { SOURCE: source, MOUNT: folder },
  });
  const deadline = performance.now() + MOUNT_MS;
  while (!isMountPoint(folder)) {
    if (performance.now() > deadline) throw new Error(`${name}: nothing is mounted at ${folder}`);
    await systemClock.sleep(50);
  }
  const target = { name, kind: "peer" as const, folder, mountId: mountIdOf(folder) };
  return { ...target, settle: async () => {}, health: async () => HEALTHY };
}

function isMountPoint(folder: string): boolean {
  return readMountTable().some(({ path }) => path === folder);
}

async function unmountPeer(folder: string): Promise<void> {
  for (let attempt = 0; attempt < 10 && isMountPoint(folder); attempt++) {
    await runCommand("umount", [folder], { accept: [0, 1, 32], limitMs: MOUNT_MS });
    if (isMountPoint(folder)) await systemClock.sleep(500);
  }
  if (isMountPoint(folder)) await runCommand("umount", ["-l", folder], { limitMs: MOUNT_MS });
  // A server ends shortly after its mount; until then it holds the folder beneath.
  await systemClock.sleep(300);
}

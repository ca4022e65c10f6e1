/** A folder for a benchmark's files: a temporary one, or a fresh file system in a loop file. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";

import type { Cleanup } from "./cleanup.ts";
import { runCommand } from "./run-command.ts";

/** On disk: /tmp is often memory. */
const PARENT_DEFAULT = "/var/tmp";
const LIMIT_MS = 120_000;

export interface WorkFolderOptions {
  /** Where the temporary folder, and the image file in it, are made. */
  readonly parent?: string | undefined;
  /** Size of a fresh ext4 in a loop file; undefined: the file system of `parent`. */
  readonly loopBytes?: number | undefined;
  /** Inodes of that file system; undefined: as many as mkfs makes. */
  readonly loopInodes?: number | undefined;
}

/** Every user may enter it, since servers under test run as users of their own. */
export async function makeWorkFolder(
  cleanup: Cleanup,
  { parent = PARENT_DEFAULT, loopBytes, loopInodes }: WorkFolderOptions,
): Promise<string> {
  const folder = mkdtempSync(`${parent}/standin-bench-`);
  chmodSync(folder, 0o755);
  cleanup.add(`remove ${folder}`, async () => {
    await runCommand("rm", ["-rf", "--one-file-system", folder], { limitMs: 600_000 });
  });
  if (loopBytes === undefined) return folder;
  const image = `${folder}/image`;
  const mountPoint = `${folder}/loop`;
  writeFileSync(image, "");
  truncateSync(image, loopBytes);
  mkdirSync(mountPoint);
  const inodes = loopInodes === undefined ? [] : ["-N", String(Math.ceil(loopInodes))];
  // Tables that the kernel fills in later would disturb the first minutes.
  const initialised = "lazy_itable_init=0,lazy_journal_init=0";
  await runCommand("mkfs.ext4", ["-q", "-F", "-E", initialised, ...inodes, image], {
    limitMs: LIMIT_MS,
  });
  await runCommand("mount", ["-o", "loop", image, mountPoint], { limitMs: LIMIT_MS });
  cleanup.add(`unmount ${mountPoint}`, () => unmountLoop(mountPoint));
  rmSync(`${mountPoint}/lost+found`, { recursive: true, force: true });
  return mountPoint;
}

async function unmountLoop(mountPoint: string): Promise<void> {
  for (let attempt = 0; attempt < 5; attempt++) {
    const { code } = await runCommand("umount", [mountPoint], { accept: [0, 1, 32] });
    if (code === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  await runCommand("umount", ["-l", mountPoint]);
  throw new Error("it is in use; it was detached and goes when its last user does");
}

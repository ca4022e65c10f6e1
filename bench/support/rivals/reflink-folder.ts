/** A file system on which a copy of a folder takes an instant: copies share what they hold. */
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";

import type { Cleanup } from "../cleanup.ts";
import { runCommand } from "../run-command.ts";

const LIMIT_MS = 120_000;

/** An XFS in a loop file below `work`. */
export async function makeReflinkFolder(
  cleanup: Cleanup,
  work: string,
  bytes: number,
): Promise<string> {
  const image = `${work}/image`;
  const folder = `${work}/reflink`;
  writeFileSync(image, "");
  truncateSync(image, bytes);
  mkdirSync(folder);
  await runCommand("mkfs.xfs", ["-q", "-m", "reflink=1", image], { limitMs: LIMIT_MS });
  await runCommand("mount", ["-o", "loop", image, folder], { limitMs: LIMIT_MS });
  cleanup.add(`unmount ${folder}`, async () => {
    const { code } = await runCommand("umount", [folder], { accept: [0, 32], limitMs: LIMIT_MS });
    if (code === 0) return;
    await runCommand("umount", ["-l", folder]);
    throw new Error("it is in use; it was detached and goes when its last user does");
  });
  return folder;
}

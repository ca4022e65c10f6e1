/** A fresh ext4 in an image file, mounted by loop: nothing that another test did is in its way. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface LoopOptions {
  readonly bytes?: number;
  /** Of mkfs.ext4. */
  readonly features?: readonly string[];
  readonly mountOptions?: string;
}

export class LoopImage {
  readonly folder: string = mkdtempSync(join(tmpdir(), "standin-loop-"));
  /** Where it is mounted. */
  readonly path: string = join(this.folder, "mnt");

  constructor(options: LoopOptions = {}) {
    const image = join(this.folder, "image");
    const fd = openSync(image, "w");
    ftruncateSync(fd, options.bytes ?? 512 << 20);
    closeSync(fd);
    mkdirSync(this.path);
    // Other users must reach it.
    chmodSync(this.folder, 0o755);
    try {
      run("mkfs.ext4", "-q", "-F", ...(options.features ?? []), image);
      run("mount", "-o", options.mountOptions ?? "loop", image, this.path);
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** Safe to call twice, and when it was never mounted. */
  remove(): void {
    spawnSync("umount", ["-l", this.path], { timeout: 20_000 });
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function run(command: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8", timeout: 60_000 });
  if (status === 0) return;
  throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? stderr}`);
}

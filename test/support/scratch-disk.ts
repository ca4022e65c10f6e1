/** A small ext4 of its own, which can be filled and emptied. */
import { mkdirSync, rmSync, statfsSync, truncateSync, writeFileSync } from "node:fs";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";

import { bounded } from "./surroundings.ts";

export class ScratchDisk {
  readonly #folder = mkdtempSync(`${tmpdir()}/standin-disk-`);
  readonly path: string = `${this.#folder}/mnt`;

  constructor(bytes: number) {
    const image = `${this.#folder}/image`;
    writeFileSync(image, "");
    truncateSync(image, bytes);
    mkdirSync(this.path);
    try {
      run("mkfs.ext4", "-q", "-F", "-m", "0", image);
      run("mount", "-o", "loop", image, this.path);
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** Takes everything but so many bytes. */
  leaveFree(bytes: number): void {
    const { bavail, bsize } = statfsSync(this.path);
    run("fallocate", "-l", String(bavail * bsize - bytes), this.#filler);
  }

  giveRoom(): void {
    rmSync(this.#filler);
  }

  get #filler(): string {
    return `${this.path}/filler`;
  }

  remove(): void {
    bounded("umount", "-l", this.path);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function run(command: string, ...args: string[]): void {
  const { status, stderr } = bounded(command, ...args);
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
}

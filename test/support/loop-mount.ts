/** A file that holds a file system, mounted through a loop device that frees itself. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { readIfThere } from "./read-if-there.ts";
import { runCommand } from "./run-command.ts";

const COMMAND_S_MAX = "30";
const DETACH_MS_MAX = 20_000;

export class LoopMount {
  readonly path: string;
  #device: string | undefined;
  #image = "";

  constructor(path: string) {
    this.path = path;
    mkdirSync(path, { recursive: true });
  }

  async mount(image: string, options: string): Promise<void> {
    await runCommand("timeout", COMMAND_S_MAX, "mount", "-o", `loop,${options}`, image, this.path);
    this.#device = deviceAt(this.path);
    this.#image = image;
    assert.ok(this.#device, `${image} is mounted`);
  }

  async unmount(): Promise<void> {
    await runCommand("timeout", COMMAND_S_MAX, "umount", this.path);
    await this.#untilDetached();
  }

  /** For a mount whose image answers no more. Does nothing when there is none. */
  async tearDown(): Promise<void> {
    while (deviceAt(this.path) !== undefined) {
      await runCommand("timeout", COMMAND_S_MAX, "umount", "-l", this.path);
    }
    await this.#untilDetached();
  }

  /** The device lets go of its file by itself, a moment after the unmount. */
  async #untilDetached(): Promise<void> {
    if (this.#device === undefined) return;
    const deadline = performance.now() + DETACH_MS_MAX;
    const backing = `/sys/block/${this.#device.replace("/dev/", "")}/loop/backing_file`;
    while (readIfThere(backing).includes(this.#image)) {
      assert.ok(performance.now() < deadline, `${this.#device} stays attached`);
      await sleep(10);
    }
    this.#device = undefined;
  }
}

function deviceAt(mountPoint: string): string | undefined {
  const line = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .findLast((entry) => entry.split(" ")[4] === mountPoint);
  return line === undefined ? undefined : / - ext4 (\S+) /.exec(line)?.[1];
}

/** Users and groups of a target that are not those of this machine. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

/** Mounts its first two arguments over /etc/passwd and /etc/group, and becomes the rest. */
const SCRIPT =
  'mount --bind "$0" /etc/passwd && mount --bind "$1" /etc/group && shift && exec "$@"';

export class TargetUsers {
  readonly #passwd: string;
  readonly #group: string;

  /** By name: the number of the user and of the group that is called so. */
  constructor(t: TestContext, ids: Readonly<Record<string, number>>) {
    const folder = mkdtempSync(join(tmpdir(), "standin-users-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    this.#passwd = join(folder, "passwd");
    this.#group = join(folder, "group");
    writeFileSync(this.#passwd, "root:x:0:0::/root:/bin/sh\n");
    writeFileSync(this.#group, "root:x:0:\n");
    for (const [name, id] of Object.entries(ids)) this.add(name, id);
  }

  add(name: string, id: number): void {
    appendFileSync(this.#passwd, `${name}:x:${id}:${id}::/:/bin/false\n`);
    appendFileSync(this.#group, `${name}:x:${id}:\n`);
  }

  /**
   * Runs a command where these are the users. What is unmounted here is unmounted there too, so
   * that no folder stays in use.
   */
  get prefix(): readonly string[] {
    const unshare = ["unshare", "--mount", "--propagation", "slave"];
    return [...unshare, "sh", "-c", SCRIPT, this.#passwd, this.#group];
  }
}

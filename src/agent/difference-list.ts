/**
 * What a verify or resync has found different: an exact count of nodes, and the first of them by
 * name.
 */

import type { Difference } from "../apply/mirror-events.ts";
import { printableName } from "../base/bytes.ts";

const LISTED_MAX = 1000;
/**
 * Paths that are remembered for counting each once; beyond, a path that differs in two ways may
 * count twice.
 */
const REMEMBERED_MAX = 100_000;

export interface ListedDifference {
  readonly path: string;
  readonly what: string[];
}

export class DifferenceList {
  readonly #listed = new Map<string, ListedDifference>();
  readonly #seen = new Set<string>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Returns true when the path was not known to differ. */
  add({ path, what }: Difference): boolean {
    const key = Buffer.from(path).toString("latin1");
    const listed = this.#listed.get(key);
    if (listed !== undefined) {
      if (!listed.what.includes(what)) listed.what.push(what);
      return false;
    }
    if (this.#seen.has(key)) return false;
    if (this.#seen.size < REMEMBERED_MAX) this.#seen.add(key);
    if (this.#listed.size < LISTED_MAX) {
      const shown = path.length === 0 ? "." : printableName(path);
      this.#listed.set(key, { path: shown, what: [what] });
    }
    this.#count += 1;
    return true;
  }

  list(): ListedDifference[] {
    return [...this.#listed.values()];
  }

  clear(): void {
    this.#listed.clear();
    this.#seen.clear();
    this.#count = 0;
  }
}

/** Files of segments that are not needed any more, kept for new ones. */
import type { LogFiles } from "../platform/log-files.ts";

/** Ending of their names. */
export const SPARE = ".spare";

/**
 * What is written over has its place on the disk already: a sync need not commit the file system's
 * journal, and the page cache need not find new pages.
 *
 * Behind a new segment's end its file still has entries of an old one. Their checksums go on from
 * that one's header, so they are none here. A spare is not used by the next process: after a power
 * cut a file may have both of its names, and what is written by the one would be read by the other.
 */
export class SpareFiles {
  readonly #files: LogFiles;
  readonly #most: number;
  readonly #names: string[] = [];

  constructor(files: LogFiles, most: number) {
    this.#files = files;
    this.#most = most;
  }

  /**
   * Keeps the file `name` of a segment that nobody is to read any more, or removes it; durable when
   * it resolves. Rejects with the system's error.
   */
  async retire(name: string): Promise<void> {
    const spare = this.#names.length < this.#most ? name + SPARE : undefined;
    await (spare === undefined ? this.#files.remove(name) : this.#files.rename(name, spare));
    // Before it is written to: by its old name it would be taken for damage.
    await this.#files.syncFolder();
    if (spare !== undefined) this.#names.push(spare);
  }

  /** The name of one, which is none from now on. */
  take(): string | undefined {
    return this.#names.pop();
  }
}

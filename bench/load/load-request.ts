/** What a load process is asked for, and what it answers. */

export interface LoadRequest {
  readonly row: string;
  readonly folder: string;
  /** Name of the folder below it that the load makes, works in and removes. */
  readonly runName: string;
  readonly seconds: number;
  /** Size of the file that data rows work in. */
  readonly fileBytes: number;
  /** Entries of the folder that is listed. */
  readonly entries: number;
  readonly workers: number;
  /** Pace of the rows that have one; 0: as fast as it goes. */
  readonly pace: number;
}

export interface LoadResult {
  readonly operations: number;
  readonly seconds: number;
}

export interface Load extends LoadRequest {
  /** Descriptor of the load's own folder. */
  readonly folderFd: number;
  readonly workFolder: string;
}

/** Does its preparation, then its operations for `seconds`. */
export type LoadRow = (load: Load) => LoadResult | Promise<LoadResult>;

/** Runs `batch` (which answers how many operations it did) until `seconds` are over. */
export function repeatFor(seconds: number, batch: () => number): LoadResult {
  const started = performance.now();
  let operations = 0;
  let elapsedMs = 0;
  do {
    operations += batch();
    elapsedMs = performance.now() - started;
  } while (elapsedMs < seconds * 1000);
  return { operations, seconds: elapsedMs / 1000 };
}

/** What the keeper hands to the engine, as JSON in its only argument. */

export interface EngineMount {
  /** Place of the mount in its job, as ops carry it. */
  readonly index: number;
  /** Absolute path of the protected folder. */
  readonly path: string;
  /** Inherited descriptor of the FUSE connection. */
  readonly fuseFd: number;
  /** Inherited descriptor of the folder beneath the mount. */
  readonly rootFd: number;
}

export interface EngineConfig {
  /** Folder of the instance's shared memory. */
  readonly shmDir: string;
  readonly mounts: readonly EngineMount[];
  /**
   * Threads that serve requests; the ring has one arena for each, and one more for the mirror
   * thread.
   */
  readonly workers: number;
  /** How many of them wait for requests at the same time; default by the number of processors. */
  readonly serving?: number;
  /**
   * A copy within the job may be recorded as such (default). False when rules leave parts of the
   * job out: the data must then be in the op.
   */
  readonly recordCopies?: boolean;
}

/**
 * Where the nodes are that the kernel knows by a mount's connection. Without the file the engine
 * takes the connection for a new one.
 */
export function nodesPath(shmDir: string, mount: number): string {
  return `${shmDir}/nodes.${mount}`;
}

/** First descriptor behind stdin, stdout and stderr. */
const FIRST_INHERITED_FD = 3;

/** Descriptors of mount number `position` (not its index in the job) in the engine. */
export function engineDescriptors(position: number): { fuseFd: number; rootFd: number } {
  return {
    fuseFd: FIRST_INHERITED_FD + 2 * position,
    rootFd: FIRST_INHERITED_FD + 2 * position + 1,
  };
}

/** The line on its stdin that makes an engine serve. */
export interface EngineOrder {
  /**
   * The connections were served before: no INIT will come, and what is unanswered must be sent
   * again.
   */
  readonly adopted: boolean;
}

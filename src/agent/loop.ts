/** Something that the agent keeps running: a job, an exchange with peers, a server. */
export interface Loop {
  /** For the log and for status. */
  readonly name: string;
  /**
   * Settles when it runs. A loop that later breaks calls `failed`, once, and is then stopped and
   * started again after a pause.
   */
  start(failed: (error: unknown) => void): Promise<void>;
  /** Finishes what must not be cut, while all other loops still run. Absent: nothing to finish. */
  drain?(): Promise<void>;
  /** Settles when nothing of it runs any more. Also called after a start that failed. */
  stop(): Promise<void>;
}

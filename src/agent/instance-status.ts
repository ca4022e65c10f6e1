/** The status of an instance: plain data, which command line, scripts and console only render. */

export type InstanceState =
  | "stopped"
  | "mirroring"
  | "replicating"
  | "resyncing"
  | "verifying"
  | "paused"
  | "error";

export type ProcessRole = "agent" | "keeper" | "engine" | "applier";

export interface ProcessStatus {
  readonly role: ProcessRole;
  /** Null while it is being started again. */
  readonly pid: number | null;
  readonly memoryBytes: number;
  /** How often it had to be started again since this instance was first started. */
  readonly restarts: number;
}

export interface StatusReason {
  readonly code: string;
  readonly message: string;
}

export interface ProgressStatus {
  readonly work: "mirror" | "resync" | "verify";
  readonly filesDone: number;
  readonly filesTotal: number;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  /** 0 to 100, of the work as far as it is known. */
  readonly percent: number;
  /** Null while it cannot be told. */
  readonly etaSeconds: number | null;
}

export interface InstanceStatus {
  readonly id: string;
  readonly stateDirectory: string;
  readonly source: string;
  readonly replica: string;
  readonly state: InstanceState;
  /**
   * Everything that an application was answered for will be in the copy, whatever dies now but the
   * machine.
   */
  readonly protected: boolean;
  /** Why not. Empty exactly when `protected`. */
  readonly reasons: readonly StatusReason[];
  /** What lies below the source and is never copied. */
  readonly excluded: readonly StatusReason[];
  readonly processes: readonly ProcessStatus[];
  readonly lsn: number;
  readonly appliedLsn: number;
  readonly lag: {
    readonly ops: number;
    readonly bytes: number;
    readonly seconds: number;
    readonly p50Seconds: number;
    readonly p99Seconds: number;
    readonly maxSeconds: number;
  };
  readonly rates: {
    readonly capturedOpsPerSecond: number;
    readonly capturedBytesPerSecond: number;
    readonly appliedOpsPerSecond: number;
    readonly appliedBytesPerSecond: number;
  };
  readonly queue: {
    readonly bytes: number;
    readonly capacityBytes: number;
    /** The fullest part of the ring, 0 to 1. */
    readonly fill: number;
    readonly gaps: number;
    readonly opsLost: number;
  };
  readonly totals: { readonly ops: number; readonly bytes: number };
  readonly progress: ProgressStatus | null;
  readonly uptimeSeconds: number;
}

/** The state folder of one instance: where its files are, and who may run it. */

import { FileLock } from "../platform/file-lock.ts";
import {
  makePrivateFolder,
  readJsonIfPresent,
  readTextIfPresent,
  realPath,
  shortHash,
  writeFileAtomic,
} from "../platform/files.ts";
import { type InstanceRecord, parseInstanceRecord } from "./instance-record.ts";

export class StateDirectory {
  readonly path: string;
  /** Short name of the instance; the same folder gives the same one. */
  readonly id: string;

  private constructor(path: string) {
    this.path = path;
    this.id = shortHash(path);
  }

  /** Makes the folder where it is missing. */
  static create(path: string): StateDirectory {
    makePrivateFolder(path);
    return new StateDirectory(realPath(path));
  }

  /** @throws when there is no such folder. */
  static open(path: string): StateDirectory {
    return new StateDirectory(realPath(path));
  }

  get controlSocket(): string {
    return `${this.path}/control.sock`;
  }
  get keeperEvents(): string {
    return `${this.path}/keeper.events`;
  }
  get keeperLog(): string {
    return `${this.path}/keeper.log`;
  }
  get applierLog(): string {
    return `${this.path}/applier.log`;
  }
  get #recordFile(): string {
    return `${this.path}/instance.json`;
  }

  /** Undefined when another agent runs this instance. */
  tryLock(): FileLock | undefined {
    return FileLock.tryAcquire(`${this.path}/lock`);
  }

  loadRecord(): InstanceRecord | undefined {
    return parseInstanceRecord(readJsonIfPresent(this.#recordFile));
  }

  saveRecord(record: InstanceRecord): void {
    writeFileAtomic(this.#recordFile, `${JSON.stringify(record, undefined, 2)}\n`);
  }
}

/** The state folder of `standin local` when none is named: one per protected folder. */
export function defaultStateDirectory(source: string): string {
  return `/var/lib/standin/local-${shortHash(source)}`;
}

export function sharedMemoryDirectory(id: string): string {
  return `/dev/shm/standin-${id}`;
}

export function currentBootId(): string {
  return (readTextIfPresent("/proc/sys/kernel/random/boot_id") ?? "unknown").trim();
}

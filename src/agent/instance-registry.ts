/**
 * What protects a folder of this machine, `standin local` or a job of the agent: one small file
 * each in /run/standin, gone after a reboot. Commands find "the only running instance" here, and a
 * second protection of one folder is refused.
 */
import { StandinError } from "../base/errors.ts";
import type { Clock } from "../platform/clock.ts";
import { FileLock } from "../platform/file-lock.ts";
import {
  listNames,
  makePrivateFolder,
  readJsonIfPresent,
  removeTree,
  writeFileAtomic,
} from "../platform/files.ts";
import { isAlive, type ProcessIdentity } from "../platform/processes.ts";
import type { OtherInstance } from "../preflight/check.ts";

export interface RegistryEntry {
  readonly id: string;
  readonly stateDirectory: string;
  readonly source: string;
  /** What a job protects together with {@link source}. */
  readonly siblings?: readonly string[];
  /** Null: on other servers. */
  readonly replica: string | null;
  readonly agent: ProcessIdentity;
}

const LOCK_TIMEOUT_MS = 30_000;

export const REGISTRY_FOLDER = "/run/standin";

export class InstanceRegistry {
  readonly #folder: string;

  constructor(folder: string = REGISTRY_FOLDER) {
    this.#folder = folder;
  }

  /** Entries whose agent runs. */
  running(): RegistryEntry[] {
    return this.all().filter((entry) => isAlive(entry.agent));
  }

  /** Also those whose agent was killed and did not come back yet. */
  all(): RegistryEntry[] {
    const entries: RegistryEntry[] = [];
    for (const name of listNames(this.#folder)) {
      if (!name.endsWith(".json")) continue;
      const entry = parseEntry(readJsonIfPresent(`${this.#folder}/${name}`));
      if (entry !== undefined) entries.push(entry);
    }
    return entries.sort((a, b) => a.source.localeCompare(b.source));
  }

  add(entry: RegistryEntry): void {
    makePrivateFolder(this.#folder);
    writeFileAtomic(this.#fileOf(entry.id), JSON.stringify(entry));
  }

  remove(id: string): void {
    removeTree(this.#fileOf(id));
  }

  /** Other running instances, for pre-flight. */
  othersThan(id: string): OtherInstance[] {
    return this.running()
      .filter((entry) => entry.id !== id)
      .flatMap(({ source, siblings = [], replica, stateDirectory, agent: { pid } }) => {
        return [source, ...siblings].map((path) => {
          return { source: path, replica, stateDirectory, pid };
        });
      });
  }

  /**
   * Held from pre-flight until the mount is there, so that two instances that start at one moment
   * see each other. Undefined while another start holds it.
   */
  tryLock(): FileLock | undefined {
    makePrivateFolder(this.#folder);
    return FileLock.tryAcquire(`${this.#folder}/start.lock`);
  }

  /** As {@link tryLock}, waiting for the other start. @throws {StandinError} `START_LOCKED` */
  async lock(clock: Clock): Promise<FileLock> {
    const deadline = clock.monotonicMs() + LOCK_TIMEOUT_MS;
    for (;;) {
      const lock = this.tryLock();
      if (lock !== undefined) return lock;
      if (clock.monotonicMs() > deadline) {
        throw new StandinError("START_LOCKED", "another instance has been starting for too long", {
          hint: `Look for a standin process that holds ${this.#folder}/start.lock`,
        });
      }
      await clock.sleep(50);
    }
  }

  #fileOf(id: string): string {
    return `${this.#folder}/${id}.json`;
  }
}

function parseEntry(value: unknown): RegistryEntry | undefined {
  const entry = value as Partial<RegistryEntry> | undefined;
  const texts = [entry?.id, entry?.stateDirectory, entry?.source, entry?.replica ?? ""];
  if (texts.some((text) => typeof text !== "string")) return undefined;
  if (typeof entry?.agent?.pid !== "number") return undefined;
  return entry as RegistryEntry;
}

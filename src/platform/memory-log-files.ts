/**
 * The twin of {@link file://./log-files.ts} in memory, with a disk beneath that can be cut from
 * power: what was not synced may be lost, in any subset of its sectors; a name may be lost while
 * its folder was not synced. Everything that chance decides comes from one seeded generator.
 */
import { assert } from "../base/assert.ts";
import type { Prng } from "../base/prng.ts";
import type { LogFile, LogFiles } from "./log-files.ts";

export const SECTOR_BYTES = 512;

export interface MemoryDiskOptions {
  /** Of all files together; beyond it writes end with ENOSPC, after what still fits. */
  readonly capacityBytes?: number;
  /**
   * Asked before each operation: the code of the error that it is to end with, or undefined. Such
   * an error of `write` leaves any part written; of `syncData`, it loses what was to be synced as
   * the kernel does: it can be read until the crash, and later syncs say nothing of it.
   */
  readonly fault?: (operation: MemoryOperation, name: string) => string | undefined;
}

export type MemoryOperation =
  | "list"
  | "create"
  | "open"
  | "rename"
  | "remove"
  | "syncFolder"
  | FileOperation;
type FileOperation = "read" | "write" | "truncate" | "size" | "syncData" | "close";

/** A change of a file since the last sync that succeeded; `data` undefined: a truncate to `at`. */
interface Change {
  readonly at: number;
  readonly data: Uint8Array | undefined;
  isDropped: boolean;
}

class Inode {
  durable: Uint8Array;
  current: Uint8Array;
  changes: Change[] = [];

  constructor(content: Uint8Array) {
    this.durable = content;
    this.current = content;
  }
}

/** One name's inodes since the folder was last synced, oldest first; undefined: no such name. */
type NameHistory = (Inode | undefined)[];

export class MemoryLogFiles implements LogFiles {
  capacityBytes: number;
  fault: MemoryDiskOptions["fault"];
  /** Operations done so far. */
  operations = 0;
  readonly #prng: Prng;
  readonly #names: Map<string, NameHistory>;
  #isDead = false;

  constructor(
    prng: Prng,
    options: MemoryDiskOptions = {},
    files?: ReadonlyMap<string, Uint8Array>,
  ) {
    this.#prng = prng;
    this.capacityBytes = options.capacityBytes ?? Number.POSITIVE_INFINITY;
    this.fault = options.fault;
    const entries = [...(files ?? [])];
    this.#names = new Map(entries.map(([name, bytes]) => [name, [new Inode(bytes.slice())]]));
  }

  /** What a machine finds that starts after a power cut now. These files are dead from then on. */
  crash(): MemoryLogFiles {
    this.#isDead = true;
    // Often nothing or all of it is lost, and what only happens then must be met as well.
    const chance = this.#prng.pick([0, 1, 0.5, this.#prng.float()]);
    const files = new Map<string, Uint8Array>();
    for (const [name, history] of this.#names) {
      const inode = this.#prng.chance(chance) ? history.at(-1) : this.#prng.pick(history);
      if (inode !== undefined) files.set(name, this.#remains(inode, chance));
    }
    return new MemoryLogFiles(this.#prng, { capacityBytes: this.capacityBytes }, files);
  }

  /** What another process finds that opens the folder after this one was killed: everything. */
  reopen(): MemoryLogFiles {
    this.#isDead = true;
    const next = new MemoryLogFiles(this.#prng, { capacityBytes: this.capacityBytes });
    for (const [name, history] of this.#names) next.#names.set(name, history);
    return next;
  }

  /** The bytes of a file as they are read now, to look at or to damage. */
  contentOf(name: string): Uint8Array {
    return this.#inode(name).current;
  }

  async list(): Promise<string[]> {
    await this.begin("list", "");
    return [...this.#names].filter(([, history]) => history.at(-1) !== undefined).map(([n]) => n);
  }

  async create(name: string): Promise<LogFile> {
    await this.begin("create", name);
    const inode = new Inode(new Uint8Array(0));
    this.#setName(name, inode);
    return new MemoryLogFile(this, name, inode);
  }

  async open(name: string): Promise<LogFile> {
    await this.begin("open", name);
    return new MemoryLogFile(this, name, this.#inode(name));
  }

  async rename(from: string, to: string): Promise<void> {
    await this.begin("rename", from);
    this.#setName(to, this.#inode(from));
    this.#setName(from, undefined);
  }

  async remove(name: string): Promise<void> {
    await this.begin("remove", name);
    this.#inode(name);
    this.#setName(name, undefined);
  }

  async syncFolder(): Promise<void> {
    await this.begin("syncFolder", "");
    for (const [name, history] of this.#names) this.#names.set(name, history.slice(-1));
  }

  async freeBytes(): Promise<number> {
    return Math.max(0, this.capacityBytes - this.#usedBytes());
  }

  /** How much of `wanted` more bytes fits. For the files. */
  room(wanted: number): number {
    return Math.max(0, Math.min(wanted, this.capacityBytes - this.#usedBytes()));
  }

  /** A part of `bytes`, of any length. For the files. */
  anyPart(bytes: number): number {
    return this.#prng.int(bytes + 1);
  }

  /** Lets others go first, then counts and fails when it is to. For the files. */
  async begin(operation: MemoryOperation, name: string): Promise<void> {
    for (let turns = this.#prng.int(3); turns >= 0; turns--) await undefined;
    if (this.#isDead) throw coded("EDEAD");
    this.operations++;
    const code = this.fault?.(operation, name);
    if (code !== undefined) throw coded(code);
  }

  #usedBytes(): number {
    let bytes = 0;
    for (const history of this.#names.values()) bytes += history.at(-1)?.current.length ?? 0;
    return bytes;
  }

  #inode(name: string): Inode {
    const inode = this.#names.get(name)?.at(-1);
    if (inode === undefined) throw coded("ENOENT");
    return inode;
  }

  #setName(name: string, inode: Inode | undefined): void {
    const history = this.#names.get(name) ?? [undefined];
    history.push(inode);
    this.#names.set(name, history);
  }

  /** Each sector as after any number of the changes; the size too. */
  #remains(inode: Inode, chance: number): Uint8Array {
    const { changes } = inode;
    const fate = (): number => {
      if (this.#prng.chance(chance)) return changes.length;
      return this.#prng.int(changes.length + 1);
    };
    const versions = [inode.durable];
    for (const change of changes) {
      const before = versions.at(-1) as Uint8Array;
      versions.push(change.isDropped ? before : changed(before, change));
    }
    const after = new Uint8Array((versions[fate()] as Uint8Array).length);
    for (let at = 0; at < after.length; at += SECTOR_BYTES) {
      const sector = (versions[fate()] as Uint8Array).subarray(at, at + SECTOR_BYTES);
      after.set(sector.subarray(0, after.length - at), at);
    }
    return after;
  }
}

class MemoryLogFile implements LogFile {
  readonly #files: MemoryLogFiles;
  readonly #name: string;
  readonly #inode: Inode;
  #isClosed = false;

  constructor(files: MemoryLogFiles, name: string, inode: Inode) {
    this.#files = files;
    this.#name = name;
    this.#inode = inode;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    await this.#begin("read");
    const found = this.#inode.current.subarray(position, position + into.length);
    into.set(found);
    return found.length;
  }

  async write(pieces: readonly Uint8Array[], position: number): Promise<void> {
    const data = new Uint8Array(Buffer.concat(pieces));
    try {
      await this.#begin("write");
    } catch (error) {
      this.#change(position, data.slice(0, this.#files.anyPart(data.length)));
      throw error;
    }
    const growth = Math.max(0, position + data.length - this.#inode.current.length);
    const missing = growth - this.#files.room(growth);
    this.#change(position, data.slice(0, data.length - missing));
    if (missing > 0) throw coded("ENOSPC");
  }

  async truncate(bytes: number): Promise<void> {
    await this.#begin("truncate");
    this.#change(bytes, undefined);
  }

  async size(): Promise<number> {
    await this.#begin("size");
    return this.#inode.current.length;
  }

  async syncData(): Promise<void> {
    const inode = this.#inode;
    const before = inode.changes.length;
    try {
      await this.#begin("syncData");
    } catch (error) {
      for (const change of inode.changes) change.isDropped = true;
      throw error;
    }
    for (const change of inode.changes.slice(0, before)) {
      if (!change.isDropped) inode.durable = changed(inode.durable, change);
    }
    inode.changes = inode.changes.slice(before);
  }

  async close(): Promise<void> {
    await this.#begin("close");
    this.#isClosed = true;
  }

  async #begin(operation: FileOperation): Promise<void> {
    assert(!this.#isClosed, () => `${operation} of ${this.#name} after close`);
    await this.#files.begin(operation, this.#name);
  }

  #change(at: number, data: Uint8Array | undefined): void {
    const change = { at, data, isDropped: false };
    this.#inode.current = changed(this.#inode.current, change);
    this.#inode.changes.push(change);
  }
}

function changed(content: Uint8Array, { at, data }: Change): Uint8Array {
  const size = data === undefined ? at : Math.max(content.length, at + data.length);
  const next = new Uint8Array(size);
  next.set(content.subarray(0, size));
  if (data !== undefined) next.set(data, at);
  return next;
}

function coded(code: string): Error {
  return Object.assign(new Error(code), { code });
}

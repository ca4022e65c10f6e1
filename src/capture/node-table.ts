/**
 * Every node that the kernel knows, with the file handle by which it is opened: in shared memory,
 * because the kernel goes on using its node ids when the engine that handed them out is gone.
 *
 * A node's id for the kernel is its inode number + 1 (1 itself is the root), so that a restart, a
 * second engine or a forgotten entry can never give two nodes one id. Handles (name_to_handle_at)
 * cost no descriptor: millions of known files are millions of slots of 64 bytes and nothing else.
 *
 * SIGKILL at any instruction: a slot is whole before the one store that links it in, and is
 * unlinked by one store. What can be lost is a slot, or one count of {@link forget} (the node then
 * stays known): never a link.
 */
import { alignUp } from "../base/bytes.ts";
import { type Mapping, SharedMemory } from "../platform/shared-memory.ts";

const MAGIC = 0x444f4e53; // "SNOD"
const HEADER_BYTES = 4096;
const SLOT_BYTES = 64;
/** Locks, and lists of free slots: a bucket belongs to the partition of its low bits. */
const PARTITIONS = 256;
/** Virtual room; memory is used when slots are. */
const SLOTS_MAX = 1 << 25;

/** Words of the header. */
const AT_MAGIC = 0;
const AT_BUCKETS = 1;
const AT_SLOTS_USED = 2;
const AT_CAN_HOLD = 3;
const AT_FREE_LISTS = 16;

/**
 * Slot: f64 ino, u32 next, u32 lookups, u32 id of what holds it, u32 flags, then struct
 * file_handle: u32 handle_bytes, i32 handle_type, up to 32 bytes.
 */
const SLOT_NEXT = 2;
const SLOT_LOOKUPS = 3;
const SLOT_HOLD = 4;
const SLOT_FLAGS = 5;
const SLOT_HANDLE_BYTES = 6;

export const HANDLE_BYTES_MAX = 32;
/** Made by O_TMPFILE and not linked yet. */
export const NODE_FLAG_TMPFILE = 1;
/** What holds the node is a descriptor of the engine, not the connection. */
export const NODE_FLAG_HELD_BY_FD = 2;

/** The copy has the node: it stays known though the kernel has forgotten it. */
const NODE_FLAG_PINNED = 4;
/** A pinned node that is a regular file: it may be opened without looking first. */
const NODE_FLAG_REGULAR = 8;
const KEPT_FLAGS = NODE_FLAG_PINNED | NODE_FLAG_REGULAR;

const NONE = 0;

export class NodeTable {
  readonly #memory: SharedMemory;
  readonly #u32: Uint32Array;
  readonly #i32: Int32Array;
  readonly #f64: Float64Array;
  readonly #locks: Int32Array;
  readonly #buckets: number;
  readonly #bucketsAt: number;
  readonly #slotsAt: number;
  readonly #slots: number;

  private constructor(memory: SharedMemory, locks: SharedArrayBuffer) {
    this.#memory = memory;
    this.#u32 = new Uint32Array(memory.buffer);
    this.#i32 = new Int32Array(memory.buffer);
    this.#f64 = new Float64Array(memory.buffer);
    this.#locks = new Int32Array(locks);
    this.#buckets = this.#u32[AT_BUCKETS] as number;
    this.#bucketsAt = HEADER_BYTES / 4;
    this.#slotsAt = alignUp(HEADER_BYTES + this.#buckets * 4, 4096) / 4;
    this.#slots = Math.floor((memory.size - this.#slotsAt * 4) / SLOT_BYTES);
  }

  /** Locks for one engine's threads. */
  static allocateLocks(): SharedArrayBuffer {
    return new SharedArrayBuffer(PARTITIONS * 4);
  }

  /**
   * `nodesExpected`: inodes in use on the file system beneath; more of them only make chains
   * longer.
   */
  static create(
    path: string,
    nodesExpected: number,
    locks: SharedArrayBuffer,
    slotsMax = SLOTS_MAX,
  ): NodeTable {
    const wanted = Math.min(Math.max(nodesExpected, 65_536), 1 << 24);
    const buckets = 2 ** Math.ceil(Math.log2(wanted));
    const size = alignUp(HEADER_BYTES + buckets * 4, 4096) + slotsMax * SLOT_BYTES;
    const memory = SharedMemory.create(path, size);
    const header = new Uint32Array(memory.buffer, 0, HEADER_BYTES / 4);
    header[AT_BUCKETS] = buckets;
    header[AT_SLOTS_USED] = 1; // slot 0 stands for "none"
    header[AT_MAGIC] = MAGIC;
    return new NodeTable(memory, locks);
  }

  static open(path: string, locks: SharedArrayBuffer): NodeTable {
    const memory = SharedMemory.open(path);
    if (new Uint32Array(memory.buffer, 0, 1)[0] !== MAGIC)
      throw new Error(`${path} is no node table`);
    return new NodeTable(memory, locks);
  }

  /** The table that another thread of this process has opened. */
  static at(mapping: Mapping, locks: SharedArrayBuffer): NodeTable {
    return new NodeTable(SharedMemory.at(mapping), locks);
  }

  get mapping(): Mapping {
    return this.#memory.mapping;
  }

  /** Whether the connection can hold files (FUSE_DEV_IOC_BACKING_OPEN); agreed on at its start. */
  get canHold(): boolean {
    return this.#u32[AT_CAN_HOLD] === 1;
  }
  set canHold(value: boolean) {
    this.#u32[AT_CAN_HOLD] = value ? 1 : 0;
  }

  #bucket(ino: number): number {
    const mixed = Math.imul(ino | 0, 0x85ebca6b) ^ Math.floor(ino / 4294967296);
    return (mixed ^ (mixed >>> 15)) & (this.#buckets - 1);
  }

  #word(slot: number): number {
    return this.#slotsAt + slot * (SLOT_BYTES / 4);
  }

  /**
   * Slots are held for microseconds and never across a system call: spinning suffices, with a nap
   * if preempted.
   */
  #lock(bucket: number): number {
    const partition = bucket & (PARTITIONS - 1);
    for (let spin = 0; Atomics.compareExchange(this.#locks, partition, 0, 1) !== 0; spin++) {
      if (spin > 100) Atomics.wait(this.#locks, partition, 1, 1);
    }
    return partition;
  }

  #unlock(partition: number): void {
    Atomics.store(this.#locks, partition, 0);
    Atomics.notify(this.#locks, partition, 1);
  }

  #find(ino: number, bucket: number): number {
    let slot = this.#u32[this.#bucketsAt + bucket] as number;
    while (slot !== NONE) {
      const word = this.#word(slot);
      if (this.#f64[word / 2] === ino) return slot;
      slot = this.#u32[word + SLOT_NEXT] as number;
    }
    return NONE;
  }

  /**
   * The kernel (or the mirror) learns of a node: counts one lookup, and keeps the handle when it is
   * new or has changed (the inode number was used again). `handle`: struct file_handle as the
   * kernel wrote it.
   */
  remember(ino: number, handle: Uint32Array): void {
    this.#add(ino, handle, 1, 0);
  }

  /**
   * As {@link remember}, until {@link unpin} and without a count. What was known of a node that had
   * the number before is forgotten.
   */
  pin(ino: number, handle: Uint32Array, isRegular: boolean): void {
    this.#add(ino, handle, 0, isRegular ? KEPT_FLAGS : NODE_FLAG_PINNED);
  }

  #add(ino: number, handle: Uint32Array, lookups: number, flags: number): void {
    const bucket = this.#bucket(ino);
    const partition = this.#lock(bucket);
    const found = this.#find(ino, bucket);
    if (found !== NONE) {
      const word = this.#word(found);
      this.#copyHandle(word, handle);
      this.#u32[word + SLOT_LOOKUPS] = (this.#u32[word + SLOT_LOOKUPS] as number) + lookups;
      const before = this.#u32[word + SLOT_FLAGS] as number;
      const stays = flags === 0 ? before : before & ~KEPT_FLAGS;
      this.#u32[word + SLOT_FLAGS] = stays | flags;
    } else {
      const slot = this.#allocate(partition);
      if (slot === NONE) {
        this.#unlock(partition);
        throw new Error("more nodes are known to the kernel than there is room for");
      }
      const word = this.#word(slot);
      this.#f64[word / 2] = ino;
      this.#u32[word + SLOT_LOOKUPS] = lookups;
      this.#u32[word + SLOT_HOLD] = 0;
      this.#u32[word + SLOT_FLAGS] = flags;
      this.#copyHandle(word, handle);
      this.#u32[word + SLOT_NEXT] = this.#u32[this.#bucketsAt + bucket] as number;
      Atomics.store(this.#i32, this.#bucketsAt + bucket, slot);
    }
    this.#unlock(partition);
  }

  #copyHandle(word: number, handle: Uint32Array): void {
    const words = 2 + (((handle[0] as number) + 3) >> 2);
    for (let i = 0; i < words; i++) this.#u32[word + SLOT_HANDLE_BYTES + i] = handle[i] as number;
  }

  #allocate(partition: number): number {
    const freeAt = AT_FREE_LISTS + partition;
    const free = this.#u32[freeAt] as number;
    if (free !== NONE) {
      this.#u32[freeAt] = this.#u32[this.#word(free) + SLOT_NEXT] as number;
      return free;
    }
    const slot = Atomics.add(this.#i32, AT_SLOTS_USED, 1);
    return slot < this.#slots ? slot : NONE;
  }

  /** Copies the node's handle to `out` (struct file_handle); false when the node is not known. */
  handle(ino: number, out: Uint32Array): boolean {
    const bucket = this.#bucket(ino);
    const partition = this.#lock(bucket);
    const slot = this.#find(ino, bucket);
    if (slot !== NONE) {
      const word = this.#word(slot) + SLOT_HANDLE_BYTES;
      for (let i = 0; i < 2 + HANDLE_BYTES_MAX / 4; i++) out[i] = this.#u32[word + i] as number;
    }
    this.#unlock(partition);
    return slot !== NONE;
  }

  /** Notes what keeps the node alive though its last name is gone. False: the node is not known. */
  hold(ino: number, id: number, flags: number): boolean {
    const bucket = this.#bucket(ino);
    const partition = this.#lock(bucket);
    const slot = this.#find(ino, bucket);
    if (slot !== NONE) {
      this.#u32[this.#word(slot) + SLOT_HOLD] = id;
      const flagsAt = this.#word(slot) + SLOT_FLAGS;
      this.#u32[flagsAt] = ((this.#u32[flagsAt] as number) & KEPT_FLAGS) | flags;
    }
    this.#unlock(partition);
    return slot !== NONE;
  }

  /** The node got a name again; returns what held it (id 0: nothing did). */
  unhold(ino: number): { id: number; flags: number } {
    const bucket = this.#bucket(ino);
    const partition = this.#lock(bucket);
    const slot = this.#find(ino, bucket);
    const held = { id: 0, flags: 0 };
    if (slot !== NONE) {
      const word = this.#word(slot);
      held.id = this.#u32[word + SLOT_HOLD] as number;
      held.flags = this.#u32[word + SLOT_FLAGS] as number;
      this.#u32[word + SLOT_HOLD] = 0;
      this.#u32[word + SLOT_FLAGS] = held.flags & KEPT_FLAGS;
    }
    this.#unlock(partition);
    return held;
  }

  /**
   * The kernel gives back `count` lookups. When none are left the node is dropped; returns then
   * what held it (with NODE_FLAG_TMPFILE if it never got a name), else undefined.
   */
  forget(ino: number, count: number): { id: number; flags: number } | undefined {
    return this.#subtract(ino, count, 0);
  }

  /**
   * The node is gone, or will be when the kernel forgets it. `handle`: the one that it had, if
   * another node may have its number by now.
   */
  unpin(ino: number, handle?: Uint32Array): void {
    this.#subtract(ino, 0, KEPT_FLAGS, handle);
  }

  /** Whether the node is known to be a regular file. */
  isRegular(ino: number): boolean {
    const bucket = this.#bucket(ino);
    const partition = this.#lock(bucket);
    const slot = this.#find(ino, bucket);
    const flags = slot === NONE ? 0 : (this.#u32[this.#word(slot) + SLOT_FLAGS] as number);
    this.#unlock(partition);
    return (flags & NODE_FLAG_REGULAR) !== 0;
  }

  #subtract(
    ino: number,
    lookups: number,
    flags: number,
    handle?: Uint32Array,
  ): { id: number; flags: number } | undefined {
    const bucket = this.#bucket(ino);
    const partition = this.#lock(bucket);
    let released: { id: number; flags: number } | undefined;
    let before = NONE;
    let slot = this.#u32[this.#bucketsAt + bucket] as number;
    while (slot !== NONE && this.#f64[this.#word(slot) / 2] !== ino) {
      before = slot;
      slot = this.#u32[this.#word(slot) + SLOT_NEXT] as number;
    }
    if (slot !== NONE && (handle === undefined || this.#hasHandle(slot, handle))) {
      const word = this.#word(slot);
      const left = Math.max(0, (this.#u32[word + SLOT_LOOKUPS] as number) - lookups);
      const flagsLeft = (this.#u32[word + SLOT_FLAGS] as number) & ~flags;
      this.#u32[word + SLOT_LOOKUPS] = left;
      this.#u32[word + SLOT_FLAGS] = flagsLeft;
      if (left === 0 && (flagsLeft & NODE_FLAG_PINNED) === 0) {
        released = { id: this.#u32[word + SLOT_HOLD] as number, flags: flagsLeft };
        this.#drop(slot, before, bucket, partition);
      }
    }
    this.#unlock(partition);
    return released;
  }

  #hasHandle(slot: number, handle: Uint32Array): boolean {
    const at = this.#word(slot) + SLOT_HANDLE_BYTES;
    const words = 2 + (((handle[0] as number) + 3) >> 2);
    for (let i = 0; i < words; i++) if (this.#u32[at + i] !== handle[i]) return false;
    return true;
  }

  #drop(slot: number, before: number, bucket: number, partition: number): void {
    const word = this.#word(slot);
    const next = this.#u32[word + SLOT_NEXT] as number;
    if (before === NONE) Atomics.store(this.#i32, this.#bucketsAt + bucket, next);
    else Atomics.store(this.#i32, this.#word(before) + SLOT_NEXT, next);
    const freeAt = AT_FREE_LISTS + partition;
    this.#f64[word / 2] = 0;
    this.#u32[word + SLOT_NEXT] = this.#u32[freeAt] as number;
    this.#u32[freeAt] = slot;
  }

  close(): void {
    this.#memory.close();
  }
}

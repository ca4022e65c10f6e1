/**
 * What source and target say to each other on a stream besides ops. JSON, checked here: what comes
 * from a peer is not trusted to have the right shape.
 */
import { readU64, writeU64 } from "../base/bytes.ts";
import { FrameError } from "./frame.ts";

/** One protected path of a job, as the target must know it. */
export interface StreamMount {
  readonly index: number;
  /** Absolute, on the source; for people, and for the default of a promotion. */
  readonly path: string;
  /** Inode number of the folder itself, beneath the mount. */
  readonly rootIno: number;
  /** Name of the folder that holds its replica, in the job's replica folder on each target. */
  readonly folder: string;
}

/** A target that gets a job's ops from another target, which has them on its disk. */
export interface OnwardTarget {
  /** Id of its agent. */
  readonly agent: string;
  /** Its number among the job's targets: whose an answer is, can be told from it. */
  readonly index: number;
  /** Folder for the replica there; null: below the agent's state folder. */
  readonly replica: string | null;
  /** Bytes a second, and when others hold, on the way to it; see ScheduledLimit. */
  readonly limitBytes: number | null;
  readonly schedule: readonly string[];
}

/** No more than a job may have: a question's number modulo this tells whose it is. */
export const TARGETS_MAX = 64;

/** What a target has to know to send a job's ops on. */
export interface Onward {
  /** Its own number among the job's targets. */
  readonly index: number;
  readonly targets: readonly OnwardTarget[];
}

/** Parameters of the hello by which a source opens a stream. */
export interface StreamHello {
  /** Unique in the fleet, and the same for ever. */
  readonly job: string;
  readonly name: string;
  /** Which life of the source's ring the LSNs belong to, 32 hex digits. */
  readonly stream: string;
  /** Counts the lives: a hello of an earlier one, which was late, is refused. */
  readonly life: number;
  /** The first LSN that the source can send, and the last one at the moment. */
  readonly firstLsn: number;
  readonly lastLsn: number;
  /** Of the job; it grows with each promotion. */
  readonly epoch: number;
  readonly mounts: readonly StreamMount[];
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  readonly orphans: "keep" | "aside" | "delete";
  /** Whether files belong on the target to who has the same number, or the same name. */
  readonly owners: "id" | "name";
  /** The target promotes by itself when source and host were silent for so long; null: never. */
  readonly onFailureSeconds: number | null;
  /** Run on the target after a promotion. */
  readonly startCommand: string | null;
  /** Null: the target sends nothing on, and gets its own answers under its own numbers. */
  readonly onward: Onward | null;
}

/** Parameters of the welcome. */
export interface StreamWelcome {
  /** Ops up to here are on the target's disk. */
  readonly durable: number;
  readonly applied: number;
}

/** What the source's ring says besides ops; sent when it changes. */
export interface SourceState {
  readonly recording: number;
  readonly gaps: number;
  readonly engineGeneration: number;
  /** The last op when this was so: it is true behind that op, and not before. */
  readonly lsn: number;
  /** Who sends is a target itself, and has lost the source: why. What is above may be old. */
  readonly away?: string;
}

/** What numbers of the source are called there; null: nothing. */
export type NamesById = readonly (readonly [id: number, name: string | null])[];

/**
 * Names of users and groups that occur in ops, sent before the first op in which they do, and again
 * when a name has changed.
 */
export interface OwnerNames {
  readonly users: NamesById;
  readonly groups: NamesById;
}

/** Of users, and of groups: others keep their numbers. */
export const OWNER_NAMES_MAX = 65_536;

/** Owners that the target has no counterpart for, and which keep their numbers. */
export interface UnknownOwners {
  readonly count: number;
  /** The first of them, for people. */
  readonly names: readonly string[];
}

/** A question to the source's mirror thread: number, kind, mount, node, offset, length. */
export type AskTuple = readonly [number, number, number, number, number, number];

export interface TargetState {
  /** The applier has begun a pass for this many gaps: ops are to be recorded again. */
  readonly record?: number;
  /** All questions so far are void. */
  readonly recall?: true;
  readonly asks?: readonly AskTuple[];
  readonly copy?: TargetCopy;
  /** What a target further on has said, and how it is connected. */
  readonly onward?: OnwardState;
}

/** Passed on by the target in between. */
export interface OnwardState {
  /** Id of the agent whose target this is of. */
  readonly agent: string;
  readonly state?: TargetState;
  readonly link?: OnwardLinkState;
}

export interface OnwardLinkState {
  readonly isConnected: boolean;
  /** Why it is not connected; null while it is, or when nothing is known. */
  readonly why: string | null;
  readonly durable: number;
  readonly applied: number;
  readonly bytesSent: number;
  /** The replica there was promoted: the source must not write any more. Null: no. */
  readonly promoted: string | null;
}

/** How the copy is; sent when it changes. */
export interface TargetCopy {
  /** What must happen before the copy is complete. */
  readonly due: "none" | "mirror" | "resync";
  /** Gaps of the source's ring that this takes into account; after others it says nothing. */
  readonly gaps: number;
  readonly work: "mirror" | "resync" | "verify" | null;
  readonly percent: number;
  readonly etaSeconds: number | null;
  readonly filesDone: number;
  readonly filesTotal: number;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly pendingResyncs: number;
  readonly isPaused: boolean;
  readonly isReplicaFull: boolean;
  readonly problem: string | null;
  readonly unknownOwners: UnknownOwners;
}

export interface Positions {
  readonly received: number;
  readonly durable: number;
  readonly applied: number;
}

export function positionsPayload({ received, durable, applied }: Positions): Uint8Array {
  const bytes = new Uint8Array(24);
  const view = new DataView(bytes.buffer);
  writeU64(view, 0, received);
  writeU64(view, 8, durable);
  writeU64(view, 16, applied);
  return bytes;
}

/** @throws {FrameError} */
export function parsePositions(payload: Uint8Array): Positions {
  if (payload.length !== 24) throw new FrameError("positions of a wrong length");
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const received = readU64(view, 0);
  const durable = readU64(view, 8);
  const applied = readU64(view, 16);
  if (durable > received) throw new FrameError("more is durable than was received");
  return { received, durable, applied };
}

type Fields = Readonly<Record<string, unknown>>;

/** @throws {FrameError} */
export function parseStreamHello(fields: Fields): StreamHello {
  const { job, name, stream, orphans, owners } = fields;
  const isStream = typeof stream === "string" && /^[0-9a-f]{32}$/.test(stream);
  if (!isJobId(job) || typeof name !== "string" || !isStream) bad("hello");
  if (orphans !== "keep" && orphans !== "aside" && orphans !== "delete") bad("hello");
  const mounts = list(fields, "mounts").map(parseMount);
  if (!areDistinct(mounts)) bad("hello");
  if (owners !== "id" && owners !== "name") bad("hello");
  return {
    job,
    name,
    stream,
    life: count(fields, "life"),
    firstLsn: count(fields, "firstLsn"),
    lastLsn: count(fields, "lastLsn"),
    epoch: count(fields, "epoch"),
    mounts,
    include: texts(fields, "include"),
    exclude: texts(fields, "exclude"),
    orphans,
    owners,
    onFailureSeconds: fields.onFailureSeconds === null ? null : count(fields, "onFailureSeconds"),
    startCommand: typeof fields.startCommand === "string" ? fields.startCommand : null,
    onward: parseOnward(fields.onward),
  };
}

/** @throws {FrameError} */
export function parseOnward(value: unknown): Onward | null {
  if (value === undefined || value === null) return null;
  const fields = objectOf(value, "hello");
  const targets = list(fields, "targets").map((target) => {
    const { agent, replica, limitBytes, schedule, index } = objectOf(target, "hello");
    if (typeof agent !== "string") bad("hello");
    const settings = { limitBytes: limitBytes ?? null, schedule };
    return {
      agent,
      index: targetIndex({ index }),
      replica: typeof replica === "string" ? replica : null,
      limitBytes: settings.limitBytes === null ? null : count(settings, "limitBytes"),
      schedule: texts(settings, "schedule"),
    };
  });
  const agents = new Set(targets.map(({ agent }) => agent));
  if (targets.length >= TARGETS_MAX || agents.size !== targets.length) bad("hello");
  return { index: targetIndex(fields), targets };
}

function targetIndex(fields: Fields): number {
  const index = count(fields, "index");
  if (index >= TARGETS_MAX) bad("hello");
  return index;
}

function objectOf(value: unknown, what: string): Fields {
  if (typeof value !== "object" || value === null) bad(what);
  return value as Fields;
}

/** It becomes part of paths on the target. */
export function isJobId(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{8,64}$/.test(value);
}

/** What may be the name of a replica's folder: nothing that leads elsewhere, or hides. */
const FOLDER = /^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$/;

function parseMount(value: unknown): StreamMount {
  const fields = objectOf(value, "mount");
  const { path } = fields;
  if (typeof path !== "string" || !path.startsWith("/")) bad("mount");
  const index = count(fields, "index");
  if (index > 0xffff) bad("mount");
  const { folder } = fields;
  if (typeof folder !== "string" || !FOLDER.test(folder)) bad("mount");
  return { index, path, rootIno: count(fields, "rootIno"), folder };
}

function areDistinct(mounts: readonly StreamMount[]): boolean {
  const indexes = new Set(mounts.map(({ index }) => index));
  const folders = new Set(mounts.map(({ folder }) => folder));
  return mounts.length > 0 && indexes.size === mounts.length && folders.size === mounts.length;
}

/** @throws {FrameError} */
export function parseStreamWelcome(fields: Fields): StreamWelcome {
  return { durable: count(fields, "durable"), applied: count(fields, "applied") };
}

/** @throws {FrameError} */
export function parseSourceState(fields: Fields): SourceState {
  return {
    recording: count(fields, "recording"),
    gaps: count(fields, "gaps"),
    engineGeneration: count(fields, "engineGeneration"),
    lsn: count(fields, "lsn"),
    ...(typeof fields.away === "string" ? { away: fields.away.slice(0, 1000) } : {}),
  };
}

/** @throws {FrameError} */
export function parseTargetState(fields: Fields): TargetState {
  const { onward } = fields;
  return {
    ...parseOwnState(fields),
    ...(onward === undefined ? {} : { onward: parseOnwardState(objectOf(onward, "state")) }),
  };
}

function parseOwnState({ record, recall, asks, copy }: Fields): TargetState {
  const fields = { record, asks };
  return {
    ...(record === undefined ? {} : { record: count(fields, "record") }),
    ...(recall === true ? { recall } : {}),
    ...(asks === undefined ? {} : { asks: list(fields, "asks").map(parseAsk) }),
    ...(copy === undefined ? {} : { copy: parseCopy(copy) }),
  };
}

/** There is one target in between: what is further on is not looked at. */
function parseOnwardState({ agent, state, link }: Fields): OnwardState {
  if (typeof agent !== "string") bad("state");
  return {
    agent,
    ...(state === undefined ? {} : { state: parseOwnState(objectOf(state, "state")) }),
    ...(link === undefined ? {} : { link: parseOnwardLink(objectOf(link, "state")) }),
  };
}

function parseOnwardLink(fields: Fields): OnwardLinkState {
  const { isConnected, why, promoted } = fields;
  return {
    isConnected: isConnected === true,
    why: typeof why === "string" ? why.slice(0, 1000) : null,
    durable: count(fields, "durable"),
    applied: count(fields, "applied"),
    bytesSent: count(fields, "bytesSent"),
    promoted: typeof promoted === "string" ? promoted.slice(0, 1000) : null,
  };
}

function parseAsk(value: unknown): AskTuple {
  if (!Array.isArray(value) || value.length !== 6) bad("ask");
  if (!value.every((number) => Number.isSafeInteger(number) && number >= 0)) bad("ask");
  return value as unknown as AskTuple;
}

const DUE: ReadonlySet<unknown> = new Set(["none", "mirror", "resync"]);
const WORK: ReadonlySet<unknown> = new Set([null, "mirror", "resync", "verify"]);

function parseCopy(value: unknown): TargetCopy {
  const fields = objectOf(value, "copy");
  const { due, work, etaSeconds, isPaused, isReplicaFull, problem } = fields;
  if (!DUE.has(due) || !WORK.has(work)) bad("copy");
  return {
    due: due as TargetCopy["due"],
    gaps: count(fields, "gaps"),
    work: work as TargetCopy["work"],
    percent: typeof fields.percent === "number" ? fields.percent : 0,
    etaSeconds: typeof etaSeconds === "number" ? etaSeconds : null,
    filesDone: count(fields, "filesDone"),
    filesTotal: count(fields, "filesTotal"),
    bytesDone: count(fields, "bytesDone"),
    bytesTotal: count(fields, "bytesTotal"),
    pendingResyncs: count(fields, "pendingResyncs"),
    isPaused: isPaused === true,
    isReplicaFull: isReplicaFull === true,
    problem: typeof problem === "string" ? problem.slice(0, 1000) : null,
    unknownOwners: parseUnknownOwners(fields.unknownOwners),
  };
}

function parseUnknownOwners(value: unknown): UnknownOwners {
  const fields = objectOf(value, "copy");
  return { count: count(fields, "count"), names: texts(fields, "names") };
}

/** @throws {FrameError} */
export function parseOwnerNames(fields: Fields): OwnerNames {
  return {
    users: list(fields, "users").map(parseNameById),
    groups: list(fields, "groups").map(parseNameById),
  };
}

/** What separates fields and lines of passwd(5) is in no name; a dash in front is an option. */
const OWNER_NAME = /^[^-:\n\0][^:\n\0]{0,255}$/;

function parseNameById(value: unknown): NamesById[number] {
  if (!Array.isArray(value) || value.length !== 2) bad("owner");
  const [id, name] = value as [unknown, unknown];
  if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id > 0xffffffff) bad("owner");
  if (name === null) return [id, null];
  if (typeof name !== "string" || !OWNER_NAME.test(name)) bad("owner");
  return [id, name];
}

function bad(what: string): never {
  throw new FrameError(`a malformed ${what} was received`);
}

function count(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) bad(name);
  return value;
}

function list(fields: Fields, name: string): readonly unknown[] {
  const value = fields[name];
  if (!Array.isArray(value) || value.length > 4096) bad(name);
  return value;
}

function texts(fields: Fields, name: string): readonly string[] {
  const values = list(fields, name);
  if (!values.every((value) => typeof value === "string")) bad(name);
  return values as readonly string[];
}

/**
 * Decides what the source is asked for: the passes of a mirror, a resync, a verify, and single
 * nodes that were found different in between.
 *
 * A pass first has every directory listed, then asks for every node. What is done is marked in the
 * tree with the number of the pass, so that a restarted process goes on where the killed one was:
 * it asks for what has no mark. An answer is taken at its word only for what it says itself; a node
 * is marked when the last record for it was applied.
 *
 * Pure: reads the tree, keeps no time, sends nothing. The runner performs the effects in order.
 */
import { commandNumber, Purpose, purposeOf } from "../model/mirror-command.ts";
import {
  LISTING_WANTED,
  NODE_WANTED,
  NodeFlag,
  type NodeTree,
  PASSES,
  TYPE_DIRECTORY,
  WANTED,
} from "../model/node-tree.ts";
import { TYPE_REGULAR } from "../model/node-tree.ts";
import { PassKind, type PassState, Phase } from "./pass-state.ts";
import { RangeLedger } from "./range-ledger.ts";

/** Commands that may be outstanding; the queue to the engine holds 1024. */
const WINDOW = 768;
/** Nodes looked at in one step, so that a step stays short. */
const SWEEP_NODES = 200_000;
const REQUESTED_MAX = 1024;
/** After a node could not be made right, the next try for it waits. */
const RETRY_MS_MIN = 250;
const RETRY_MS_MAX = 30_000;
/** Tries within a pass; then the pass goes on without the node, which stays wanted. */
const TRIES_MAX = 5;
const HELD_MAX = 4096;

export const AskKind = { directory: 1, node: 2, verifyNode: 3, range: 4 } as const;
export type AskKind = (typeof AskKind)[keyof typeof AskKind];

export interface Ask {
  readonly number: number;
  readonly kind: AskKind;
  readonly node: number;
  readonly offset: number;
  readonly length: number;
}

export type MirrorEffect =
  | { readonly effect: "ask"; readonly ask: Ask }
  /** Mark the node as done in the pass; `isRight`: it is no longer wanted. */
  | { readonly effect: "done"; readonly node: number; readonly isRight: boolean }
  /** The pass goes on without the node and its listing. */
  | { readonly effect: "skip"; readonly node: number }
  /** Remove what waited for its place and has none. */
  | { readonly effect: "purge" }
  /** Questions under way are void: the queue to the engine is to be emptied. */
  | { readonly effect: "recall" }
  | { readonly effect: "started"; readonly kind: PassKind }
  | { readonly effect: "ended"; readonly kind: PassKind };

export interface AnswerEvent {
  readonly command: number;
  readonly node: number;
  readonly isListing: boolean;
  readonly isWhole: boolean;
}

export class MirrorControl {
  readonly #tree: NodeTree;
  readonly #state: PassState;
  readonly #outstanding = new Map<number, Ask>();
  /** What is asked for already: twice the node, plus one for its listing. */
  readonly #asked = new Set<number>();
  readonly #ranges = new RangeLedger();
  #requested: number[] = [];
  /** Nodes that could not be made right: when to try again. */
  readonly #held = new Map<number, { untilMs: number; tries: number }>();
  #nowMs = 0;
  #cursor = 1;
  /** Something was asked for since the cursor was last at the start. */
  #sweepAsked = false;
  #sweepNotBeforeMs = 0;
  #purgeDue = false;

  constructor(tree: NodeTree, state: PassState) {
    this.#tree = tree;
    this.#state = state;
    this.#purgeDue = state.kind !== PassKind.verify;
  }

  get state(): Readonly<PassState> {
    return this.#state;
  }
  get outstanding(): number {
    return this.#outstanding.size;
  }
  get isPassActive(): boolean {
    return this.#state.kind !== PassKind.none;
  }

  /** A pass that makes equal what differs has not come to this node yet. */
  isUnproven(node: number): boolean {
    const { kind, number } = this.#state;
    return (
      (kind === PassKind.mirror || kind === PassKind.resync) && this.#tree.doneIn(node) !== number
    );
  }

  /** Begins a pass over everything. One that is under way is given up. */
  start(kind: PassKind): MirrorEffect[] {
    const state = this.#state;
    state.kind = PassKind.none;
    state.number = (state.number % (PASSES - 1)) + 1;
    state.filesTotal = 0;
    state.filesDone = 0;
    state.bytesTotal = 0;
    state.bytesDone = 0;
    state.differing = 0;
    state.phase = Phase.listing;
    // The kind is stored last: a kill before it leaves no pass, and the reason for the pass is
    // still there.
    state.kind = kind;
    return [...this.recall(), { effect: "started", kind }];
  }

  /** Gives up a pass that only compares. */
  stop(): MirrorEffect[] {
    this.#state.kind = PassKind.none;
    this.#state.phase = Phase.none;
    return this.recall();
  }

  /**
   * The engine was restarted, and what it had taken of our questions is lost: all are asked again.
   */
  recall(): MirrorEffect[] {
    this.#outstanding.clear();
    this.#asked.clear();
    this.#ranges.clear();
    this.#rewind();
    return [{ effect: "recall" }];
  }

  #rewind(): void {
    this.#cursor = 1;
    this.#sweepAsked = false;
    this.#sweepNotBeforeMs = 0;
  }

  /** The node's slot is free, or will be another node's. */
  removed(node: number): void {
    this.#held.delete(node);
    this.#ranges.forget(node);
    this.#asked.delete(node * 2);
    this.#asked.delete(node * 2 + 1);
  }

  /** A node waits for its place, perhaps. */
  detached(): void {
    this.#purgeDue = true;
  }

  /** The tree has marked the node as wanted. */
  wanted(node: number): void {
    if (this.#requested.length < REQUESTED_MAX) this.#requested.push(node);
  }

  counted(bytes: number): void {
    if (this.#state.phase !== Phase.listing) return;
    this.#state.bytesTotal += bytes;
    this.#state.filesTotal += 1;
  }

  contents(bytes: number): void {
    this.#state.bytesDone += bytes;
  }

  differs(): void {
    this.#state.differing += 1;
  }

  blockDiffers(command: number, node: number, offset: number, length: number): void {
    // What has come back in another slot was asked for by a question of its own.
    const isMine = this.#outstanding.get(command)?.node === node;
    if (isMine && purposeOf(command) === Purpose.repair) this.#ranges.add({ node, offset, length });
  }

  answered(answer: AnswerEvent, nowMs: number): MirrorEffect[] {
    const ask = this.#outstanding.get(answer.command);
    const isMine = ask !== undefined && (answer.node === 0 || ask.node === answer.node);
    if (ask !== undefined) this.#settle(ask);
    // Also of a directory that is gone by its end: its first part may have taken names away.
    if (answer.isListing && purposeOf(answer.command) !== Purpose.compare) this.#purgeDue = true;
    if (answer.node === 0) return [];
    if (answer.isListing || ask?.kind === AskKind.directory) return this.#listed(answer, nowMs);
    switch (purposeOf(answer.command)) {
      case Purpose.bring:
        return this.#ended(answer.node, answer.isWhole, nowMs);
      case Purpose.compare:
        return isMine ? [{ effect: "done", node: answer.node, isRight: false }] : [];
      case Purpose.repair:
        // Of a question of an earlier process, differences may have been found and forgotten.
        if (!isMine) return [];
        if (!answer.isWhole) return this.#failed(answer.node, nowMs);
        return this.#ranges.compared(answer.node) ? this.#ended(answer.node, true, nowMs) : [];
      case Purpose.range:
        if (!isMine || !this.#ranges.isOpen(answer.node)) return [];
        return this.#ranges.came(answer.node, answer.isWhole)
          ? this.#ended(answer.node, true, nowMs)
          : [];
    }
  }

  #settle(ask: Ask): void {
    this.#outstanding.delete(ask.number);
    if (ask.kind === AskKind.range) return;
    this.#asked.delete(ask.node * 2 + (ask.kind === AskKind.directory ? 1 : 0));
  }

  #listed(answer: AnswerEvent, nowMs: number): MirrorEffect[] {
    const isWhole = answer.isListing && answer.isWhole;
    return isWhole ? [] : this.#failed(answer.node, nowMs);
  }

  #ended(node: number, isWhole: boolean, nowMs: number): MirrorEffect[] {
    if (!isWhole) return this.#failed(node, nowMs);
    this.#held.delete(node);
    if (this.#state.phase === Phase.contents) this.#state.filesDone += 1;
    return [{ effect: "done", node, isRight: true }];
  }

  /** The node stays wanted. A pass does not wait for it for ever. */
  #failed(node: number, nowMs: number): MirrorEffect[] {
    this.#ranges.forget(node);
    const tries = (this.#held.get(node)?.tries ?? 0) + 1;
    const waitMs = Math.min(RETRY_MS_MIN * 2 ** tries, RETRY_MS_MAX);
    if (this.#held.size >= HELD_MAX) this.#held.clear();
    this.#held.set(node, { untilMs: nowMs + waitMs, tries });
    const givesUp = this.isPassActive && tries >= TRIES_MAX;
    return givesUp ? [{ effect: "skip", node }] : [];
  }

  /** Asks for as much as the window allows, and moves the pass on. To be called again and again. */
  step(nowMs: number): MirrorEffect[] {
    this.#nowMs = nowMs;
    const effects: MirrorEffect[] = [];
    this.#askForRanges(effects);
    this.#askForRequested(effects);
    this.#sweep(effects, nowMs);
    return effects;
  }

  get #hasRoom(): boolean {
    return this.#outstanding.size < WINDOW;
  }

  #askForRanges(effects: MirrorEffect[]): void {
    while (this.#hasRoom) {
      const range = this.#ranges.take();
      if (range === undefined) return;
      this.#ask(effects, AskKind.range, Purpose.range, range);
    }
  }

  #ask(
    effects: MirrorEffect[],
    kind: AskKind,
    purpose: Purpose,
    what: { node: number; offset: number; length: number },
  ): void {
    this.#state.commandSequence += 1;
    const number = commandNumber(this.#state.commandSequence, purpose);
    const ask = { number, kind, ...what };
    this.#outstanding.set(number, ask);
    if (kind !== AskKind.range) {
      this.#asked.add(what.node * 2 + (kind === AskKind.directory ? 1 : 0));
    }
    effects.push({ effect: "ask", ask });
  }

  #askForRequested(effects: MirrorEffect[]): void {
    while (this.#hasRoom && this.#requested.length > 0) {
      const node = this.#requested.shift() as number;
      if (this.#tree.exists(node)) this.#askFor(effects, node);
    }
  }

  /**
   * Asks for what the node needs and has not been asked for. Returns true when it needs something.
   */
  #askFor(effects: MirrorEffect[], node: number): boolean {
    const held = this.#held.get(node);
    if (held !== undefined && this.#nowMs < held.untilMs) {
      const delaysPass = this.isPassActive && held.tries < TRIES_MAX;
      return delaysPass && (this.#needsListing(node) || this.#needsContents(node));
    }
    let needs = false;
    if (this.#needsListing(node)) {
      needs = true;
      if (!this.#asked.has(node * 2 + 1)) this.#askWhole(effects, AskKind.directory, node);
    }
    if (this.#needsContents(node)) {
      needs = true;
      if (!this.#asked.has(node * 2) && !this.#ranges.isOpen(node)) this.#askForNode(effects, node);
    }
    return needs;
  }

  get #compares(): boolean {
    return this.#state.kind === PassKind.verify;
  }

  #needsListing(node: number): boolean {
    const tree = this.#tree;
    if (tree.type(node) !== TYPE_DIRECTORY || tree.ino(node) === 0) return false;
    if (tree.has(node, LISTING_WANTED)) return !this.#isWaiting(node);
    return (
      this.isPassActive && tree.listedIn(node) !== this.#state.number && !this.#isWaiting(node)
    );
  }

  #needsContents(node: number): boolean {
    const tree = this.#tree;
    if (tree.ino(node) === 0) return false;
    const { phase, number } = this.#state;
    const isDue = phase === Phase.contents && tree.doneIn(node) !== number;
    // While directories are listed, names still change: nodes wait, so that totals are known first.
    const isWanted = tree.has(node, NODE_WANTED) && phase !== Phase.listing;
    return (isDue || isWanted) && !this.#isWaiting(node);
  }

  /** The node has no place yet, or its directory is not there yet. */
  #isWaiting(node: number): boolean {
    const tree = this.#tree;
    const link = tree.firstLink(node);
    if (link === 0) return node !== tree.root(tree.mount(node));
    const isHere = !tree.has(tree.directoryOf(link), NodeFlag.absent);
    return (!isHere && tree.type(node) !== TYPE_DIRECTORY) || this.#isDetached(link);
  }

  /** The name, or one of those above it, waits in the private directory. */
  #isDetached(link: number): boolean {
    const tree = this.#tree;
    const home = tree.privateDirectory(tree.mount(tree.nodeOf(link)));
    for (let at = link; at !== 0; at = tree.firstLink(tree.directoryOf(at))) {
      if (tree.directoryOf(at) === home) return tree.nameOf(at)[0] === DETACHED_PREFIX;
    }
    return false;
  }

  #askWhole(effects: MirrorEffect[], kind: AskKind, node: number): void {
    const isWanted = this.#tree.has(node, WANTED);
    const purpose = this.#compares && !isWanted ? Purpose.compare : Purpose.repair;
    this.#ask(effects, kind, purpose, { node, offset: 0, length: 0 });
  }

  #askForNode(effects: MirrorEffect[], node: number): void {
    const tree = this.#tree;
    if (tree.has(node, NodeFlag.absent)) {
      const whole = { node, offset: 0, length: 0 };
      this.#ask(effects, AskKind.node, Purpose.bring, whole);
      return;
    }
    const kind = tree.type(node) === TYPE_REGULAR ? AskKind.verifyNode : AskKind.node;
    this.#askWhole(effects, kind, node);
  }

  #sweep(effects: MirrorEffect[], nowMs: number): void {
    const tree = this.#tree;
    if (nowMs < this.#sweepNotBeforeMs) return;
    if (!this.isPassActive && tree.wantedCount === 0) {
      this.#rest(effects);
      return;
    }
    const end = Math.min(tree.nodeHigh, this.#cursor + SWEEP_NODES);
    for (; this.#cursor < end && this.#hasRoom; this.#cursor++) {
      if (!tree.exists(this.#cursor)) continue;
      if (this.#askFor(effects, this.#cursor)) this.#sweepAsked = true;
    }
    if (this.#cursor >= tree.nodeHigh) this.#sweepEnded(effects, nowMs);
  }

  /** No directory is wanted: what waited for a place after single listings has none. */
  #rest(effects: MirrorEffect[]): void {
    if (!this.#purgeDue || this.#outstanding.size > 0) return;
    this.#purgeDue = false;
    effects.push({ effect: "purge" });
  }

  #sweepEnded(effects: MirrorEffect[], nowMs: number): void {
    if (this.#outstanding.size > 0 || this.#ranges.size > 0) {
      // New nodes are found behind the cursor; what is before it is looked at when this is
      // answered.
      return;
    }
    const isClean = !this.#sweepAsked;
    this.#cursor = 1;
    this.#sweepAsked = false;
    if (!isClean) {
      if (this.#held.size > 0) this.#sweepNotBeforeMs = nowMs + RETRY_MS_MIN;
      return;
    }
    if (!this.isPassActive) {
      this.#rest(effects);
      // What is wanted waits for something: look again, but not all the time.
      this.#sweepNotBeforeMs = nowMs + RETRY_MS_MIN;
      return;
    }
    if (this.#state.phase === Phase.listing) this.#beginContents(effects);
    else this.#endPass(effects);
  }

  #beginContents(effects: MirrorEffect[]): void {
    if (!this.#compares) {
      effects.push({ effect: "purge" });
      this.#purgeDue = false;
    }
    this.#state.filesTotal = Math.max(this.#state.filesTotal, 1);
    this.#state.phase = Phase.contents;
  }

  #endPass(effects: MirrorEffect[]): void {
    const { kind } = this.#state;
    this.#state.phase = Phase.none;
    this.#state.kind = PassKind.none;
    effects.push({ effect: "ended", kind });
  }
}

/** "l": a node that waits in the private directory for its place. */
const DETACHED_PREFIX = 0x6c;

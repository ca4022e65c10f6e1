/**
 * Carries out resolved ops on the replica, in order. What may be repeated and why is said where it
 * is done: data and attributes in content.ts, names in namespace.ts, listings and nodes of a mirror
 * in their own files.
 */
import type { NodeTree } from "../model/node-tree.ts";
import { OpKind, type OpView } from "../model/op.ts";
import { Action, type ResolvedOp } from "../model/resolved-op.ts";
import type { Rules } from "../model/rules.ts";
import type { ApplyMemory } from "./apply-memory.ts";
import { ContentApplier } from "./content.ts";
import { Disposal, type OrphanPolicy } from "./disposal.ts";
import { ListingApplier } from "./listing-applier.ts";
import type { MirrorEvents } from "./mirror-events.ts";
import { NamespaceApplier } from "./namespace.ts";
import { NodeApplier } from "./node-applier.ts";
import type { ReplicaRoot } from "./private-area.ts";
import { Removal } from "./removal.ts";
import { Replica, type ReplicaEvents } from "./replica.ts";

export interface ApplierParts {
  readonly tree: NodeTree;
  readonly memory: ApplyMemory;
  readonly roots: ReadonlyMap<number, ReplicaRoot>;
  readonly rules: Rules;
  readonly orphans: OrphanPolicy;
  /** Where the memory that the ops' views are on is mapped. */
  readonly recordsAddress: number;
  /** The node may differ from the source's, and will be compared. */
  readonly isUnproven: (node: number) => boolean;
  readonly events: ReplicaEvents & MirrorEvents;
}

export class Applier {
  readonly replica: Replica;
  readonly disposal: Disposal;
  readonly removal: Removal;
  readonly #content: ContentApplier;
  readonly #namespace: NamespaceApplier;
  readonly #listing: ListingApplier;
  readonly #node: NodeApplier;
  readonly #roots: ReadonlyMap<number, ReplicaRoot>;

  constructor(parts: ApplierParts) {
    const replica = new Replica(parts.tree, parts.memory, parts.roots, parts.events);
    const disposal = new Disposal(parts.orphans);
    const removal = new Removal(replica, disposal);
    const namespace = new NamespaceApplier(replica, disposal);
    const content = new ContentApplier(replica, parts.recordsAddress, parts.isUnproven);
    const { events, rules } = parts;
    this.replica = replica;
    this.disposal = disposal;
    this.removal = removal;
    this.#content = content;
    this.#namespace = namespace;
    this.#listing = new ListingApplier({ replica, rules, namespace, disposal, removal, events });
    this.#node = new NodeApplier({ replica, namespace, content, disposal, removal, events });
    this.#roots = parts.roots;
    namespace.isRedo = true;
  }

  /** Number of the pass in progress, with which listings are marked. */
  set pass(pass: number) {
    this.#listing.pass = pass;
  }

  /** @throws {ReplicaUnavailableError} when the op is to be tried again later. */
  apply(op: OpView, resolved: ResolvedOp): void {
    this.#perform(op, resolved);
    this.#namespace.directoryTimes(op, resolved);
  }

  #perform(op: OpView, resolved: ResolvedOp): void {
    switch (resolved.action) {
      case Action.none:
        return;
      case Action.content:
        this.#content.apply(op, resolved);
        return;
      case Action.create:
        this.#namespace.create(op, resolved);
        return;
      case Action.link:
        this.#namespace.link(resolved);
        return;
      case Action.remove:
        this.#namespace.remove(op, resolved);
        return;
      case Action.rename:
        this.#namespace.rename(op, resolved);
        return;
      case Action.exchange:
        this.#namespace.exchange(op, resolved);
        return;
      case Action.mirror:
        if (op.kind === OpKind.mirrorDirectory) {
          this.#listing.apply(op);
          return;
        }
        this.#node.apply(op);
        return;
    }
  }

  /** The op's effect is on the replica. */
  applied(): void {
    this.#namespace.isRedo = false;
  }

  /** The op was given up half-way and will be carried out again. */
  abandoned(): void {
    this.replica.forgetDescriptors();
    this.#namespace.isRedo = true;
  }

  purge(): void {
    this.removal.purgeDetached(this.#roots.keys());
  }

  /** Deletes some of what was removed. Returns true when there is more. */
  emptyTrash(): boolean {
    let more = false;
    for (const root of this.#roots.values()) more = this.disposal.emptySome(root) || more;
    return more;
  }
}

/**
 * What the agent knows of keeper and engine: the sum of the events they reported. Pure, so that an
 * agent that comes back reads the events from their beginning and knows the same.
 */
import type { KeeperEvent } from "../capture/keeper-config.ts";
import type { ProcessIdentity } from "../platform/processes.ts";

export interface KeeperState {
  readonly keeper: ProcessIdentity | undefined;
  readonly engine: ProcessIdentity | undefined;
  readonly keeperStarts: number;
  readonly engineStarts: number;
  readonly isMounted: boolean;
  /** The present engine answers requests. */
  readonly isServing: boolean;
  /** Path that could not be unmounted at once because it is in use. */
  readonly busyPath: string | undefined;
  /** The mount was taken away while files on it were open; the engine serves them to their end. */
  readonly isDetached: boolean;
  /** How it ended, when it did not just die. */
  readonly end: KeeperEnd | undefined;
}

export type KeeperEnd =
  | { readonly kind: "unmounted"; readonly asked: boolean }
  | { readonly kind: "gave-up" }
  | { readonly kind: "failed"; readonly message: string; readonly hint: string | undefined };

export const NO_KEEPER: KeeperState = {
  keeper: undefined,
  engine: undefined,
  keeperStarts: 0,
  engineStarts: 0,
  isMounted: false,
  isServing: false,
  busyPath: undefined,
  isDetached: false,
  end: undefined,
};

export function foldKeeperEvent(state: KeeperState, event: KeeperEvent): KeeperState {
  switch (event.event) {
    case "keeper-started":
      return {
        ...NO_KEEPER,
        // A keeper that adopts does not mount: it finds the mount of the one before it.
        isMounted: state.isMounted && state.end === undefined,
        engine: state.engine,
        engineStarts: state.engineStarts,
        keeperStarts: state.keeperStarts + 1,
        keeper: { pid: event.pid, startTicks: event.startTicks },
      };
    case "mounted":
    case "adopted":
      return { ...state, isMounted: true };
    case "engine-started":
      return {
        ...state,
        engine: { pid: event.pid, startTicks: event.startTicks },
        engineStarts: state.engineStarts + 1,
        isServing: false,
      };
    case "serving":
      return { ...state, isServing: true };
    case "engine-died":
      return { ...state, isServing: false };
    case "busy":
      return { ...state, busyPath: event.path };
    case "detached":
      return { ...state, isDetached: true };
    case "unmounted":
      return ended(state, { kind: "unmounted", asked: event.asked });
    case "gave-up":
      return ended(state, { kind: "gave-up" });
    case "failed":
      return ended(state, { kind: "failed", message: event.message, hint: event.hint });
    default:
      return state; // the engine reports more than the agent needs
  }
}

function ended(state: KeeperState, end: KeeperEnd): KeeperState {
  const isMounted = end.kind === "failed" && state.isMounted;
  return { ...state, isMounted, isServing: false, end };
}

export type KeeperVerdict =
  | "alive"
  /** Ended as it was told to. */
  | "unmounted"
  /** Killed, but the engine holds the connections: another keeper takes them over. */
  | "adopt"
  /** The connections are gone: mount again, and compare, since changes were missed. */
  | "remount"
  /** The engine cannot live; mounting again would hang the applications again. */
  | "broken";

/** What to do about a keeper, from what it reported and what still lives. */
export function judgeKeeper(
  state: KeeperState,
  living: { readonly keeper: boolean; readonly engine: boolean },
): KeeperVerdict {
  if (living.keeper) return "alive";
  if (state.end?.kind === "unmounted") return state.end.asked ? "unmounted" : "remount";
  if (state.end?.kind === "gave-up") return "broken";
  return living.engine && state.isMounted ? "adopt" : "remount";
}

/** Reads the values of options; errors of the value itself are wrong usage. */
import { InvalidArgumentError } from "commander";

import { StandinError } from "../base/errors.ts";
import { parseSize } from "../base/units.ts";
import { normalAddress } from "../platform/host.ts";
import { parseLimit, WeeklySchedule } from "../replication/weekly-schedule.ts";

export function sizeArgument(text: string): number {
  try {
    return parseSize(text);
  } catch (error) {
    if (error instanceof StandinError) throw new InvalidArgumentError(error.hint ?? error.message);
    throw error;
  }
}

/** An object, since commander takes a null for no value. */
export interface LimitOption {
  /** Null for `none`. */
  readonly bytesPerSecond: number | null;
}

export function limitArgument(text: string): LimitOption {
  return asUsage(() => ({ bytesPerSecond: parseLimit(text) }));
}

/** One window more; `before` is false after `--no-schedule`. */
export function scheduleArgument(text: string, before: string[] | false | undefined): string[] {
  const windows = [...(before === false ? [] : (before ?? [])), text];
  asUsage(() => WeeklySchedule.parse(windows));
  return windows;
}

/** The address from which to connect to a target; without `agent`, to all that have none. */
export interface Via {
  readonly agent: string | undefined;
  readonly address: string;
}

export function viaArgument(text: string, before: Via[] = []): Via[] {
  const [address = "", agent] = text.split("=").toReversed();
  const normal = normalAddress(address);
  if (normal === undefined || agent === "" || text.split("=").length > 2) {
    throw new InvalidArgumentError(
      "Give an IP address of this server, or AGENT=ADDRESS, such as db3=10.0.2.1.",
    );
  }
  if (before.some((via) => via.agent === agent)) {
    const whose = agent === undefined ? "all targets" : agent;
    throw new InvalidArgumentError(`There are two addresses for ${whose}: give one.`);
  }
  return [...before, { agent, address: normal }];
}

function asUsage<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof StandinError)) throw error;
    throw new InvalidArgumentError(`${error.message}. ${error.hint ?? ""}`.trim());
  }
}

export function secondsArgument(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== "" && seconds >= 0 && seconds <= 86_400) return seconds;
  throw new InvalidArgumentError("Give a number of seconds, at most a day.");
}

/** Reads the values of options; errors of the value itself are wrong usage. */
import { InvalidArgumentError } from "commander";

import { StandinError } from "../base/errors.ts";
import { parseSize } from "../base/units.ts";

export function sizeArgument(text: string): number {
  try {
    return parseSize(text);
  } catch (error) {
    if (error instanceof StandinError) throw new InvalidArgumentError(error.hint ?? error.message);
    throw error;
  }
}

export function secondsArgument(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== "" && seconds >= 0 && seconds <= 86_400) return seconds;
  throw new InvalidArgumentError("Give a number of seconds, at most a day.");
}

/**
 * What the demo's applications have in common: how they are started, and how they note their work.
 */
import { appendLine, openForAppend, readTextIfPresent } from "../../platform/files.ts";

export interface ApplicationConfig {
  /** The folder that the application writes to. */
  readonly folder: string;
  /** Outside of it: a line for each piece of work that was answered as done. */
  readonly notes: string;
  readonly firstNumber: number;
  /** Ends after so many; null: runs until it is killed. */
  readonly count: number | null;
  readonly pauseMs: number;
}

export interface Note {
  readonly number: number;
  /** Wall clock, when the work was done. */
  readonly atMs: number;
}

export class NoteBook {
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openForAppend(path);
  }

  done(number: number, atMs: number): void {
    appendLine(this.#fd, `done ${number} ${atMs.toFixed(2)}`);
  }

  failed(message: string): void {
    appendLine(this.#fd, `failed ${message}`);
  }
}

export interface Notes {
  readonly done: readonly Note[];
  /** Errors that the application was given. */
  readonly failures: readonly string[];
}

export function readNotes(path: string): Notes {
  const done: Note[] = [];
  const failures: string[] = [];
  const lines = (readTextIfPresent(path) ?? "").split("\n");
  lines.pop(); // what a killed writer did not end with a newline was not noted
  for (const line of lines) {
    const [word, number, atMs] = line.split(" ");
    if (word === "done") done.push({ number: Number(number), atMs: Number(atMs) });
    else failures.push(line);
  }
  return { done, failures };
}

/** The longest time without a finished piece of work, from `fromMs` on. */
export function longestPauseMs(notes: readonly Note[], fromMs: number, untilMs: number): number {
  let longest = 0;
  let last = fromMs;
  for (const { atMs } of notes) {
    if (atMs < fromMs) continue;
    if (atMs > untilMs) break;
    longest = Math.max(longest, atMs - last);
    last = atMs;
  }
  return Math.max(longest, untilMs - last);
}

/**
 * What the demo's applications have in common: how they are started, and how they note their work.
 * They number what they write, and go on behind what they find, wherever they are started.
 */
import type { Clock } from "../../platform/clock.ts";
import { appendLine, existsSync, openForAppend, readTextIfPresent } from "../../platform/files.ts";

export interface ApplicationConfig {
  /** The folder that the application writes to. */
  readonly folder: string;
  /** Outside of it: a line for each piece of work that was answered as done. */
  readonly notes: string;
  /** Ends with this number; null: runs until it is killed, or told to end. */
  readonly lastNumber: number | null;
  readonly pauseMs: number;
}

export interface Note {
  readonly number: number;
  /** Wall clock, when the work was done. */
  readonly atMs: number;
}

export class NoteBook {
  readonly #path: string;
  readonly #fd: number;

  constructor(path: string) {
    this.#path = path;
    this.#fd = openForAppend(path);
  }

  done(number: number, atMs: number): void {
    appendLine(this.#fd, `done ${number} ${atMs.toFixed(2)}`);
  }

  failed(message: string): void {
    appendLine(this.#fd, `failed ${message}`);
  }

  ended(): void {
    appendLine(this.#fd, "ended");
  }

  get isToEnd(): boolean {
    return existsSync(endFileOf(this.#path));
  }
}

/** When it exists, the application that keeps these notes ends. */
export function endFileOf(notes: string): string {
  return `${notes}.end`;
}

/** Does numbered work until it is enough; what goes wrong is noted. */
export async function workOn(
  { notes, lastNumber, pauseMs }: ApplicationConfig,
  clock: Clock,
  begin: () => { readonly firstNumber: number; readonly work: (number: number) => void },
): Promise<void> {
  const book = new NoteBook(notes);
  try {
    const { firstNumber, work } = begin();
    const end = lastNumber ?? Number.POSITIVE_INFINITY;
    for (let number = firstNumber; number <= end && !book.isToEnd; number++) {
      work(number);
      book.done(number, clock.wallMs());
      if (pauseMs > 0) await clock.sleep(pauseMs);
    }
    book.ended();
  } catch (error) {
    book.failed((error as Error).message);
    process.exitCode = 1;
  }
}

export interface Notes {
  readonly done: readonly Note[];
  /** Errors that the application was given. */
  readonly failures: readonly string[];
  /** It ended as it was told to. */
  readonly hasEnded: boolean;
}

export function readNotes(path: string): Notes {
  const done: Note[] = [];
  const failures: string[] = [];
  const lines = (readTextIfPresent(path) ?? "").split("\n");
  lines.pop(); // what a killed writer did not end with a newline was not noted
  for (const line of lines) {
    const [word, number, atMs] = line.split(" ");
    if (word === "done") done.push({ number: Number(number), atMs: Number(atMs) });
    else if (word !== "ended") failures.push(line);
  }
  return { done, failures, hasEnded: lines.at(-1) === "ended" };
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

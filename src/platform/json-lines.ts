/** JSON objects, one a line: how our processes talk to each other and to scripts. */
import { StringDecoder } from "node:string_decoder";

/** A line longer than this is not ours. */
const LINE_BYTES_MAX = 1 << 20;

/**
 * Cuts a byte stream into objects, wherever the chunks are cut. What is no JSON object is handed to
 * `onNoise` (a stray print of a library must not stop anything).
 */
export class JsonLineParser {
  readonly #decoder = new StringDecoder("utf8");
  readonly #onObject: (value: Record<string, unknown>) => void;
  readonly #onNoise: (line: string) => void;
  #rest = "";

  constructor(
    onObject: (value: Record<string, unknown>) => void,
    onNoise: (line: string) => void = () => {},
  ) {
    this.#onObject = onObject;
    this.#onNoise = onNoise;
  }

  push(chunk: Uint8Array): void {
    const lines = (this.#rest + this.#decoder.write(chunk)).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line);
    if (this.#rest.length <= LINE_BYTES_MAX) return;
    this.#onNoise(`${this.#rest.slice(0, 200)}…`);
    this.#rest = "";
  }

  #line(line: string): void {
    if (line === "") return;
    const value = parsedObject(line);
    if (value === undefined) this.#onNoise(line);
    else this.#onObject(value);
  }
}

function parsedObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

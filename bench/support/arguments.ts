/** The command line of a benchmark: `--name value` with a default for each, and `--help`. */
import { parseArgs } from "node:util";

import { parseSize } from "../../src/base/units.ts";

export interface Argument {
  readonly help: string;
  readonly default?: string;
  /** May be given several times. */
  readonly multiple?: true;
  /** Takes no value. */
  readonly flag?: true;
}

type Values = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;

export class Arguments {
  readonly #values: Values;

  private constructor(values: Values) {
    this.#values = values;
  }

  /** Prints the help and ends the process when it was asked for, or the command line is wrong. */
  static parse(about: string, known: Readonly<Record<string, Argument>>): Arguments {
    try {
      const options = Object.fromEntries(
        Object.entries({ ...known, help: { help: "", flag: true as const } }).map(
          ([name, { default: value, multiple, flag }]: [string, Argument]) => [
            name,
            {
              type: flag === true ? ("boolean" as const) : ("string" as const),
              multiple: multiple === true,
              ...(value === undefined ? {} : { default: value }),
            },
          ],
        ),
      );
      const { values } = parseArgs({ options, strict: true });
      if (values.help !== true) return new Arguments(values);
      console.log(`${about}\n\n${helpOf(known)}`);
      process.exit(0);
    } catch (error) {
      console.error(`${(error as Error).message}\n\n${helpOf(known)}`);
      process.exit(2);
    }
  }

  text(name: string): string {
    const value = this.#values[name];
    if (typeof value !== "string") throw new Error(`--${name} is missing`);
    return value;
  }

  optional(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === "string" ? value : undefined;
  }

  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  list(name: string): string[] {
    return this.text(name)
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "");
  }

  /** The values of an argument that may be given several times. */
  each(name: string): string[] {
    const value = this.#values[name];
    return Array.isArray(value) ? value.map(String) : [];
  }

  number(name: string): number {
    const value = Number(this.text(name));
    if (!Number.isFinite(value) || value < 0) throw new Error(`--${name}: give a number`);
    return value;
  }

  /** Bytes of a size such as 64M. */
  size(name: string): number {
    return parseSize(this.text(name));
  }
}

function helpOf(known: Readonly<Record<string, Argument>>): string {
  return Object.entries(known)
    .map(([name, { help, default: value }]) => {
      const given = value === undefined ? "" : ` (${value === "" ? "none" : value})`;
      return `  --${name.padEnd(12)} ${help}${given}`;
    })
    .join("\n");
}

/** The two halves of `NAME=REST`. */
export function namedValue(text: string): { name: string; value: string } {
  const at = text.indexOf("=");
  if (at < 1 || at === text.length - 1) throw new Error(`not NAME=VALUE: ${text}`);
  return { name: text.slice(0, at), value: text.slice(at + 1) };
}

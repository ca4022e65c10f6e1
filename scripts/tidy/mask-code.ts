/**
 * Blanks out what is inside comments, strings and regular expressions, so that the rules can look
 * for words and braces in code alone. Every other character, each newline and the quotes stay where
 * they are: offsets in the result are offsets in the text. Code in a template's `${}` stays.
 *
 * It is no parser. Its one guess is whether a slash divides or opens a regular expression, which it
 * takes from the word or sign before it.
 */
export function maskCode(text: string): string {
  return new Masker(text).run();
}

const BEFORE_REGEX_SIGNS = "(,=:[!&|?{};+-*%<>~^";
const BEFORE_REGEX_WORD = /(?<![.\w$])(?:return|typeof|case|in|of|delete|void|throw|else|await)$/;

class Masker {
  readonly #text: string;
  readonly #out: string[];
  #at = 0;
  /** For each open template, how many braces are open in its current `${}`. */
  readonly #templateDepths: number[] = [];

  constructor(text: string) {
    this.#text = text;
    this.#out = text.split("");
  }

  run(): string {
    while (this.#at < this.#text.length) this.#step();
    return this.#out.join("");
  }

  #step(): void {
    const char = this.#text[this.#at]!;
    const two = this.#text.slice(this.#at, this.#at + 2);
    if (two === "//") this.#blankTo(this.#find("\n", this.#at));
    else if (two === "/*") this.#blankTo(this.#find("*/", this.#at + 2) + 2);
    else if (char === '"' || char === "'") this.#string(char);
    else if (char === "`") this.#template();
    else if (char === "/" && this.#opensRegex()) this.#regex();
    else if (char === "}" && this.#closesPlaceholder()) this.#template();
    else {
      if (char === "{") this.#countBrace(1);
      this.#at++;
    }
  }

  #find(needle: string, from: number): number {
    const found = this.#text.indexOf(needle, from);
    return found === -1 ? this.#text.length : found;
  }

  #blankTo(end: number): void {
    for (; this.#at < Math.min(end, this.#text.length); this.#at++) {
      if (this.#text[this.#at] !== "\n") this.#out[this.#at] = " ";
    }
  }

  #string(quote: string): void {
    this.#at++;
    const rest = this.#text.slice(this.#at);
    const inside = quote === '"' ? /^(?:\\[\s\S]|[^"\\\n])*/ : /^(?:\\[\s\S]|[^'\\\n])*/;
    this.#blankTo(this.#at + inside.exec(rest)![0].length);
    this.#at++;
  }

  /** From a template's opening quote, or from the brace that ends a placeholder in it. */
  #template(): void {
    this.#at++;
    const inside = /^(?:\\[\s\S]|\$(?!\{)|[^`\\$])*/.exec(this.#text.slice(this.#at))![0];
    this.#blankTo(this.#at + inside.length);
    if (this.#text[this.#at] === "$") {
      this.#templateDepths.push(0);
      this.#at += 2;
    } else {
      this.#at++;
    }
  }

  #regex(): void {
    const inside = /^\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])*\//.exec(
      this.#text.slice(this.#at),
    );
    if (inside === null) this.#at++;
    else this.#blankTo(this.#at + inside[0].length);
  }

  #opensRegex(): boolean {
    const before = this.#out
      .slice(Math.max(0, this.#at - 200), this.#at)
      .join("")
      .trimEnd();
    const last = before.at(-1);
    return (
      last === undefined || BEFORE_REGEX_SIGNS.includes(last) || BEFORE_REGEX_WORD.test(before)
    );
  }

  #countBrace(by: number): void {
    const depth = this.#templateDepths.pop();
    if (depth !== undefined) this.#templateDepths.push(depth + by);
  }

  #closesPlaceholder(): boolean {
    if (this.#templateDepths.at(-1) !== 0) {
      this.#countBrace(-1);
      return false;
    }
    this.#templateDepths.pop();
    return true;
  }
}

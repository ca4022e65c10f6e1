import { lineAt } from "./tree.ts";

export interface FoundFunction {
  /** Its own name, or that of the variable or property that it is given to, or `anonymous`. */
  readonly name: string;
  readonly line: number;
  /** From the line of the body's opening brace to that of its closing one. */
  readonly lineCount: number;
}

/** An open brace, and what was known outside it. */
interface Frame {
  readonly kind: "function" | "type" | "other";
  readonly name: string;
  readonly openOffset: number;
  readonly headerStart: number;
  readonly parenDepth: number;
}

/**
 * Finds function bodies in masked code by matching braces: a brace is a body when what stands
 * before it since the last statement (the header) ends in `=>`, or in a parameter list and perhaps
 * a return type. A heuristic; all it decides is what is measured.
 */
export function functionsOf(code: string): FoundFunction[] {
  const found: FoundFunction[] = [];
  const frames: Frame[] = [];
  let headerStart = 0;
  let parenDepth = 0;
  for (let offset = 0; offset < code.length; offset++) {
    const char = code[offset]!;
    if (char === "(") parenDepth++;
    if (char === ")") parenDepth--;
    if (char === ";" && parenDepth === 0) headerStart = offset + 1;
    if (char === "{") {
      const { kind, name } = classify(code.slice(headerStart, offset));
      frames.push({ kind, name, openOffset: offset, headerStart, parenDepth });
      headerStart = offset + 1;
      parenDepth = 0;
    }
    if (char === "}") {
      const frame = frames.pop();
      if (frame === undefined) continue;
      if (frame.kind === "function") found.push(measure(code, frame, offset));
      // A pattern in a parameter list, or an object type, is in the middle of a header.
      const isInHeader = frame.parenDepth > 0 || frame.kind === "type";
      headerStart = isInHeader ? frame.headerStart : offset + 1;
      parenDepth = frame.parenDepth;
    }
  }
  return found;
}

function measure(code: string, { name, openOffset }: Frame, closeOffset: number): FoundFunction {
  const line = lineAt(code, openOffset);
  return { name, line, lineCount: lineAt(code, closeOffset) - line + 1 };
}

const CONTROL = /(?:^|[^.\w$#])(?:if|for|for\s+await|while|switch|catch|with)$/;
const RETURN_TYPE = /^(?:\s*:[^=;]*[^=;:|&,<\s])?\s*$/;

function classify(header: string): Pick<Frame, "kind" | "name"> {
  const text = header.trimEnd();
  if (text.endsWith("=>")) return { kind: "function", name: arrowName(text) };
  if (/\)\s*:(?:.*[|&<,:])?$/s.test(text)) return { kind: "type", name: "" };
  const close = lastTopLevelClose(text);
  if (close === -1 || !RETURN_TYPE.test(text.slice(close + 1))) return { kind: "other", name: "" };
  const before = text.slice(0, openOf(text, close)).trimEnd();
  if (CONTROL.test(before)) return { kind: "other", name: "" };
  if (/(?:^|\s)(?:class|interface)\s+\w[^(]*$/.test(before)) return { kind: "other", name: "" };
  return { kind: "function", name: /([\w$#]+)\s*(?:<[^()]*>)?$/.exec(before)?.[1] ?? "anonymous" };
}

const DECLARED_ARROW = /\b(?:const|let)\s+([\w$]+)(?:\s*:[^=]*)?\s*=[^=]*=>$/;
const GIVEN_ARROW = /([\w$#]+)\s*[=:]\s*(?:async\s*)?(?:<[^()]*>)?(?:\(|\w+\s*=>$)/g;

function arrowName(text: string): string {
  const declared = DECLARED_ARROW.exec(text)?.[1];
  return declared ?? [...text.matchAll(GIVEN_ARROW)].at(-1)?.[1] ?? "anonymous";
}

/** The `)` that ends a parameter list: the last one that is not in a return type's own parens. */
function lastTopLevelClose(text: string): number {
  let depth = 0;
  let last = -1;
  for (let offset = 0; offset < text.length; offset++) {
    if (text[offset] === "(") depth++;
    if (text[offset] === ")" && --depth <= 0) last = offset;
  }
  return last;
}

function openOf(text: string, close: number): number {
  let depth = 0;
  for (let offset = close; offset >= 0; offset--) {
    if (text[offset] === ")") depth++;
    if (text[offset] === "(" && --depth === 0) return offset;
  }
  return 0;
}

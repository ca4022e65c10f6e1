import assert from "node:assert/strict";
import { test } from "node:test";

import { JsonLineParser } from "./json-lines.ts";

function parse(chunks: Uint8Array[]): { objects: unknown[]; noise: string[] } {
  const objects: unknown[] = [];
  const noise: string[] = [];
  const parser = new JsonLineParser(
    (value) => objects.push(value),
    (line) => noise.push(line),
  );
  for (const chunk of chunks) parser.push(chunk);
  return { objects, noise };
}

test("JsonLineParser gives the same objects wherever the stream is cut", () => {
  const bytes = Buffer.from('{"a":"größer"}\n\n{"b":[1,2]}\n{"c":');
  for (let cut = 0; cut <= bytes.length; cut++) {
    const { objects } = parse([bytes.subarray(0, cut), bytes.subarray(cut)]);
    assert.deepEqual(objects, [{ a: "größer" }, { b: [1, 2] }]);
  }
});

test("JsonLineParser hands on what is no object, and goes on", () => {
  const { objects, noise } = parse([Buffer.from('warning\n[1]\nnull\n{"ok":true}\n')]);
  assert.deepEqual(objects, [{ ok: true }]);
  assert.deepEqual(noise, ["warning", "[1]", "null"]);
});

test("JsonLineParser does not keep a line without an end for ever", () => {
  const { noise } = parse([Buffer.alloc(3 << 20, "x"), Buffer.from("\n")]);
  assert.equal(noise.length, 1);
});

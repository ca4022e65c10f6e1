import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";

const MAIN = join(import.meta.dirname, "../main.ts");

function standin(...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const { STANDIN_STATE: _, ...env } = process.env;
  const result = spawnSync(process.execPath, [MAIN, ...args], { encoding: "utf8", env });
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}

test("standin exits with 2 and says how it is used, for wrong usage", () => {
  const cases: [string[], RegExp][] = [
    [[], /Usage: standin/],
    [["frobnicate"], /unknown command 'frobnicate'/],
    [["statu"], /Did you mean status\?/],
    [["local", "/srv"], /missing required argument 'replica'/],
    [["local", "/a", "/b", "--orphans", "eat"], /Allowed choices are keep, aside, delete/],
    [["local", "/a", "/b", "--ring", "lots"], /Write a number and a unit/],
    [["local", "/a", "/b", "--workers", "0"], /a number from 1 to 64/],
    [["flush", "--timeout", "soon"], /a number of seconds/],
    [["status", "--nonsense"], /unknown option '--nonsense'/],
    [["pause", "now", "please"], /too many arguments/],
    [["protect", "/srv"], /required option '--to <agent...>' not specified/],
    [["protect", "/srv", "--to", "b", "--limit", "fast"], /Write a number and a unit/],
    [["protect", "/srv", "--to", "b", "--via", "c=10.0.0.1"], /c is not in --to/],
    [
      ["limit", "mail", "--schedule", "mon 8:00-9:00 1M", "--schedule", "daily 8:30-9:30 2M"],
      /"mon 8:00-9:00 1M" and "daily 8:30-9:30 2M" overlap, on Mon 08:30/,
    ],
  ];
  for (const [args, expected] of cases) {
    const { code, stdout, stderr } = standin(...args);
    assert.equal(code, 2, args.join(" "));
    assert.match(stderr, expected);
    assert.equal(stdout, "");
    assert.doesNotMatch(stderr, /^ {4}at /m);
  }
});

test("standin --help and each command's --help exit with 0 and give examples", () => {
  const local = ["", "local", "status", "flush", "verify", "pause", "resume", "demo"];
  const between = ["protect", "unprotect", "jobs", "limit", "promote"];
  for (const command of [...local, ...between]) {
    const { code, stdout } = standin(...(command === "" ? [] : [command]), "--help");
    assert.equal(code, 0, command);
    assert.match(stdout, /Examples?:\n {2}standin/, command);
  }
});

test("standin exits with 1, says what happened and what to do, for what failed", () => {
  const { code, stdout, stderr } = standin("status", "--state", "/nonexistent/state");
  assert.equal(code, 1);
  assert.equal(stdout, "");
  assert.match(
    stderr,
    /^standin: there is no state folder \/nonexistent\/state\n {2}Name the folder/,
  );
});

test("standin --json prints an error as an object too", () => {
  const { code, stdout } = standin("flush", "--state", "/nonexistent/state", "--json");
  assert.equal(code, 1);
  const error = JSON.parse(stdout) as Record<string, unknown>;
  assert.equal(error.event, "error");
  assert.equal(error.code, "NO_STATE");
  assert.equal(typeof error.hint, "string");
});

test("standin local refuses a source that is no directory", () => {
  const missing = standin("local", "/nonexistent/source", "/tmp");
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /SOURCE cannot be read/);
  const file = standin("local", MAIN, "/tmp");
  assert.equal(file.code, 1);
  assert.match(file.stderr, /SOURCE is not a directory/);
});

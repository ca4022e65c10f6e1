/**
 * Runs the cases in a folder and prints their results as JSON:
 *
 *   node test/conformance/run-cases.ts FOLDER root|nobody [part of a name]
 *
 * A process of its own, because a case may change the user and the umask, and because one that
 * hangs can be ended.
 */
import { chmodSync, existsSync, mkdirSync, writeSync } from "node:fs";
import { becomeUser, umask } from "../support/more-calls.ts";
import { type Cases, Folder, NOBODY } from "./case.ts";
import { attributeCases } from "./cases/attributes.ts";
import { extendedCases } from "./cases/extended.ts";
import { fileCases } from "./cases/files.ts";
import { lockCases } from "./cases/locks.ts";
import { nameCases } from "./cases/names.ts";
import { spaceCases } from "./cases/space.ts";

const ALL: Cases = {
  ...fileCases,
  ...spaceCases,
  ...nameCases,
  ...attributeCases,
  ...extendedCases,
  ...lockCases,
};

function run(folder: string, user: string, part: string): Record<string, unknown> {
  umask(0o022);
  if (user === "nobody") becomeUser(NOBODY);
  const results: Record<string, unknown> = {};
  for (const [name, testCase] of Object.entries(ALL)) {
    if (!name.includes(part)) continue;
    const path = `${folder}/${name.replaceAll(/[^a-zA-Z0-9]+/g, "-")}`;
    if (user === "root" && !existsSync(path)) {
      mkdirSync(path);
      if (testCase.asNobody !== undefined) chmodSync(path, 0o777);
    }
    const call = user === "root" ? testCase.asRoot : testCase.asNobody;
    if (call === undefined) continue;
    try {
      results[`${name}, as ${user}`] = call(new Folder(path));
    } catch (error) {
      results[`${name}, as ${user}`] = `threw ${error instanceof Error ? error.stack : error}`;
    }
  }
  return results;
}

const [, , folder = "", user = "root", part = ""] = process.argv;
const text = Buffer.from(JSON.stringify(run(folder, user, part)));
for (let at = 0; at < text.length; ) at += writeSync(1, text, at);

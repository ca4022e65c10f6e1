/** A small project for `npm ci`, cut out of this repository's own lock. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");

interface LockedPackage {
  readonly version: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

interface Lock {
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

/** Writes package.json and package-lock.json with these packages and all that they need. */
export function makeNpmProject(folder: string, names: readonly string[]): void {
  const lock = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as Lock;
  const packages: Record<string, unknown> = {};
  const add = (name: string): void => {
    const path = `node_modules/${name}`;
    const locked = lock.packages[path];
    if (locked === undefined || path in packages) return;
    packages[path] = { ...locked, dev: undefined };
    const needed = { ...locked.dependencies, ...locked.optionalDependencies };
    for (const other of Object.keys(needed)) add(other);
  };
  for (const name of names) add(name);
  const dependencies = Object.fromEntries(
    names.map((name) => [name, lock.packages[`node_modules/${name}`]?.version ?? "*"]),
  );
  const project = { name: "project", version: "1.0.0", dependencies };
  mkdirSync(folder, { recursive: true });
  writeJson(`${folder}/package.json`, project);
  writeJson(`${folder}/package-lock.json`, {
    ...{ name: "project", version: "1.0.0", lockfileVersion: 3, requires: true },
    packages: { "": project, ...packages },
  });
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(path, `${JSON.stringify(value, undefined, 2)}\n`);
}

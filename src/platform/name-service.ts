/**
 * Users and groups as this machine's name service has them (NSS: files, LDAP, Active Directory, …),
 * asked through getent(1), which loads its modules in a process of its own.
 */
import { execFile } from "node:child_process";

import { StandinError } from "../base/errors.ts";

export interface NameEntry {
  readonly name: string;
  readonly id: number;
}

/** Asks by names or by numbers. What is unknown is left out of the answer. */
export type NameService = (
  kind: "user" | "group",
  keys: readonly (string | number)[],
) => Promise<NameEntry[]>;

const DATABASES = { user: "passwd", group: "group" } as const;
/** A directory service on the network may be slow to say that it does not know. */
const TIMEOUT_MS = 20_000;
/** Of groups with many thousand members. */
const OUTPUT_BYTES_MAX = 64 << 20;
const KEYS_MAX = 100;
const NOT_ALL_FOUND = 2;

/** @throws {StandinError} `NAME_SERVICE`: it did not answer, which is not "unknown" */
export const systemNameService: NameService = async (kind, keys) => {
  const found: NameEntry[] = [];
  for (let at = 0; at < keys.length; at += KEYS_MAX) {
    const texts = keys.slice(at, at + KEYS_MAX).map(String);
    found.push(...(await getent(DATABASES[kind], texts)));
  }
  return found;
};

function getent(database: string, keys: readonly string[]): Promise<NameEntry[]> {
  const options = { encoding: "utf8", timeout: TIMEOUT_MS, maxBuffer: OUTPUT_BYTES_MAX } as const;
  return new Promise((resolve, reject) => {
    execFile("getent", ["--", database, ...keys], options, (error, stdout) => {
      if (error === null || error.code === NOT_ALL_FOUND) resolve(parseEntries(stdout));
      else reject(unanswered(database, error.killed ? "no answer in time" : String(error.code)));
    });
  });
}

/** Lines of passwd(5) or group(5): name, password, number, … */
function parseEntries(text: string): NameEntry[] {
  return text.split("\n").flatMap((line) => {
    const [name = "", , id = ""] = line.split(":");
    return name !== "" && /^\d+$/.test(id) ? [{ name, id: Number(id) }] : [];
  });
}

function unanswered(database: string, why: string): StandinError {
  return new StandinError("NAME_SERVICE", `users and groups cannot be looked up: ${why}`, {
    hint: `Try getent ${database}; it comes with libc-bin, and asks what /etc/nsswitch.conf names.`,
  });
}

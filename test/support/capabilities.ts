import { spawnSync } from "node:child_process";
import {
  accessSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { TestContext } from "node:test";

/** What a test may need of the machine beyond Node. `command:NAME` asks for a program in PATH. */
export type Capability =
  | "root"
  | "fuse"
  | "fuse-resend"
  | "loop-devices"
  | "network-namespaces"
  | "direct-io"
  | `command:${string}`;

/** Why the machine cannot do it, or undefined when it can. */
type Probe = () => string | undefined;

const PROBES: Readonly<Record<Exclude<Capability, `command:${string}`>, Probe>> = {
  root: () => (process.getuid?.() === 0 ? undefined : "the tests do not run as root"),
  fuse: () => noAdmin() ?? notOpenable("/dev/fuse"),
  "fuse-resend": () => kernelOlderThan(6, 9, "FUSE_NOTIFY_RESEND"),
  "loop-devices": () => noAdmin() ?? notOpenable("/dev/loop-control"),
  "network-namespaces": () => failing("unshare", "--net", "true"),
  "direct-io": () => noDirectFileIn(tmpdir()),
};

const answers = new Map<Capability, string | undefined>();

/** Why this machine lacks the capability, or undefined when it has it. Probed once a process. */
export function whyMissing(capability: Capability): string | undefined {
  if (!answers.has(capability)) answers.set(capability, probe(capability));
  return answers.get(capability);
}

/**
 * True when the machine has all that the test needs. Otherwise marks the test as skipped, with the
 * reason, and the test must return at once:
 *
 *     if (!requireCapability(t, "fuse")) return;
 *
 * Where CI is set it throws instead, because a check that silently does not run protects nobody.
 */
export function requireCapability(
  t: Pick<TestContext, "skip">,
  ...capabilities: readonly Capability[]
): boolean {
  const skip = skipUnless(...capabilities);
  if (skip !== false) t.skip(skip);
  return skip === false;
}

/**
 * The same for the options of a test or a whole suite:
 *
 *     describe("mount", { skip: skipUnless("fuse", "command:setfattr") }, () => { ... });
 */
export function skipUnless(...capabilities: readonly Capability[]): string | false {
  for (const capability of capabilities) {
    const reason = whyMissing(capability);
    if (reason === undefined) continue;
    const message = `needs ${capability}: ${reason}`;
    if (process.env.CI) throw new Error(`${message} (skipping is not allowed where CI is set)`);
    return message;
  }
  return false;
}

function probe(capability: Capability): string | undefined {
  if (!capability.startsWith("command:")) return PROBES[capability as keyof typeof PROBES]();
  const name = capability.slice("command:".length);
  return isInPath(name) ? undefined : `no program ${name} in PATH (scripts/debian-packages.txt)`;
}

function isInPath(name: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

const CAP_SYS_ADMIN = 21n;

/** Root in a container often lacks the right to mount, so the user id alone does not tell. */
function noAdmin(): string | undefined {
  const status = readFileSync("/proc/self/status", "utf8");
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  return (effective >> CAP_SYS_ADMIN) & 1n ? undefined : "no CAP_SYS_ADMIN, which mounting needs";
}

function noDirectFileIn(parent: string): string | undefined {
  const folder = mkdtempSync(join(parent, "standin-direct-"));
  try {
    return notOpenable(
      join(folder, "file"),
      constants.O_CREAT | constants.O_RDWR | constants.O_DIRECT,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function notOpenable(path: string, flags: string | number = "r+"): string | undefined {
  try {
    closeSync(openSync(path, flags));
    return undefined;
  } catch (error) {
    return `cannot open ${path}: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function kernelOlderThan(major: number, minor: number, what: string): string | undefined {
  const release = readFileSync("/proc/sys/kernel/osrelease", "utf8").trim();
  const [isMajor = 0, isMinor = 0] = release.split(".").map((part) => Number.parseInt(part, 10));
  if (isMajor > major || (isMajor === major && isMinor >= minor)) return undefined;
  return `kernel ${release} has no ${what}, which came with ${major}.${minor}`;
}

function failing(command: string, ...args: readonly string[]): string | undefined {
  const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8", timeout: 10_000 });
  if (status === 0) return undefined;
  return `${command} ${args.join(" ")}: ${error?.message ?? stderr.trim()}`;
}

/** Two machines with a network of their own (namespaces), joined by a cable (veth) to be cut. */
import { spawnSync } from "node:child_process";
import type { TestContext } from "node:test";

import type { Prng } from "../../src/base/prng.ts";

let made = 0;

/**
 * What can be wrong between two machines. `link`: both see that the cable is out. `both`,
 * `forward`, `back`: what is sent there, in one direction or both, does not arrive, and nobody
 * says so. `loss`: some of what is sent either way.
 */
export const CUTS = ["link", "both", "forward", "back", "loss"] as const;
export type Cut = (typeof CUTS)[number];

const LOSS_PERCENT_MIN = 10;
const LOSS_PERCENT_MAX = 70;

/** One end of the cable. */
export interface Machine {
  /** Runs a command on that machine's network, but with our mounts. */
  readonly prefix: readonly string[];
  readonly address: string;
}

interface End extends Machine {
  readonly namespace: string;
}

export class IsolatedNetwork {
  /** Forward is from the first to the second. */
  readonly machines: readonly [Machine, Machine];
  readonly #ends: readonly [End, End];

  constructor(t: TestContext) {
    made += 1;
    const id = `standin-${process.pid}-${made}`;
    // A network for documentation (RFC 5737): nobody is there.
    const end = (name: string, address: string): End => ({
      namespace: `${id}-${name}`,
      prefix: ["nsenter", `--net=/run/netns/${id}-${name}`],
      address,
    });
    this.#ends = [end("a", "192.0.2.1"), end("b", "192.0.2.2")];
    this.machines = this.#ends;
    // The cable goes with its ends.
    t.after(() => {
      for (const { namespace } of this.#ends) spawnSync("ip", ["netns", "delete", namespace]);
    });
    const [a, b] = this.#ends.map(({ namespace }) => namespace) as [string, string];
    for (const name of [a, b]) run("ip", "netns", "add", name);
    const cable = ["type", "veth", "peer", "name", "eth0", "netns", b];
    run("ip", "link", "add", "eth0", "netns", a, ...cable);
    for (const { namespace, address } of this.#ends) {
      run("ip", "-n", namespace, "addr", "add", `${address}/24`, "dev", "eth0");
      for (const device of ["eth0", "lo"]) run("ip", "-n", namespace, "link", "set", device, "up");
    }
  }

  /** How it is cut, in words. */
  cut(kind: Cut, prng?: Prng): string {
    const [a, b] = this.#ends;
    if (kind === "link") {
      run("ip", "-n", a.namespace, "link", "set", "eth0", "down");
      return kind;
    }
    const percent = LOSS_PERCENT_MIN + (prng?.int(LOSS_PERCENT_MAX - LOSS_PERCENT_MIN) ?? 0);
    const what = kind === "loss" ? `numgen random mod 100 < ${percent} drop` : "drop";
    // Where it would arrive: who sends must not see it.
    if (kind !== "forward") refuse(a, what);
    if (kind !== "back") refuse(b, what);
    return kind === "loss" ? `${kind} of ${percent} %` : kind;
  }

  /** Nothing is wrong any more. */
  heal(): void {
    for (const { namespace } of this.#ends) {
      run("ip", "netns", "exec", namespace, "nft", "flush", "ruleset");
      run("ip", "-n", namespace, "link", "set", "eth0", "up");
    }
  }
}

function refuse({ namespace }: End, what: string): void {
  const hook = "type filter hook input priority 0 ;";
  const rules = `table inet cut { chain input { ${hook} iif eth0 ${what} ; } ; }`;
  run("ip", "netns", "exec", namespace, "nft", rules);
}

function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8", timeout: 20_000 });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
}

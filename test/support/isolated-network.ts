/** A network namespace that stands for another machine, joined to ours by a cable (veth). */
import { spawnSync } from "node:child_process";
import type { TestContext } from "node:test";

let made = 0;

export class IsolatedNetwork {
  /** Runs a command on that machine's network, but with our mounts. */
  readonly prefix: readonly string[];
  readonly inside: string;
  readonly outside: string;
  readonly #cable: string;

  constructor(t: TestContext) {
    made += 1;
    const id = `${process.pid % 100_000}x${made}`;
    const name = `standin-${id}`;
    this.#cable = `sv${id}`;
    // A network for documentation (RFC 5737): nobody is there.
    this.inside = `192.0.2.${1 + ((2 * made) % 250)}`;
    this.outside = `192.0.2.${2 + ((2 * made) % 250)}`;
    this.prefix = ["nsenter", `--net=/run/netns/${name}`];
    t.after(() => {
      spawnSync("ip", ["link", "delete", this.#cable]);
      spawnSync("ip", ["netns", "delete", name]);
    });
    ip("netns", "add", name);
    ip("link", "add", this.#cable, "type", "veth", "peer", "name", "eth0", "netns", name);
    ip("addr", "add", `${this.outside}/32`, "peer", this.inside, "dev", this.#cable);
    ip("link", "set", this.#cable, "up");
    ip("-n", name, "addr", "add", `${this.inside}/32`, "peer", this.outside, "dev", "eth0");
    ip("-n", name, "link", "set", "eth0", "up");
    ip("-n", name, "link", "set", "lo", "up");
  }

  /** The cable is out: what is sent gets no answer, not even that there is nobody. */
  cut(): void {
    ip("link", "set", this.#cable, "arp", "off");
    ip("neigh", "replace", this.inside, "lladdr", "02:00:00:00:00:01", "dev", this.#cable);
  }
}

function ip(...args: string[]): void {
  const { status, stderr } = spawnSync("ip", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr}`);
}

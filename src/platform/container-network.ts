/** An Ethernet between containers: a bridge in a network namespace of its own, and cables to it. */
import { StandinError } from "../base/errors.ts";
import { Container } from "./container.ts";

const BRIDGE = "bridge";

export class ContainerNetwork {
  readonly #switch: Container;
  readonly #ports = new Map<Container, string>();

  private constructor(middle: Container) {
    this.#switch = middle;
  }

  /** @throws {StandinError} `NO_CONTAINER`, `NO_NETWORK`: nothing is left. */
  static async start(): Promise<ContainerNetwork> {
    const middle = await Container.start({ name: "switch", hasNetwork: true, binds: [] });
    const network = new ContainerNetwork(middle);
    try {
      await ip(middle, `link add ${BRIDGE} type bridge`);
      await ip(middle, `link set ${BRIDGE} up`);
      // The kernel may have no veth.
      await ip(middle, "link add probe type veth peer name probe-peer");
      await ip(middle, "link delete probe");
      return network;
    } catch (error) {
      await network.remove();
      throw error;
    }
  }

  /** Gives the container an IPv4 address, in a /24. @throws {StandinError} `NO_NETWORK` */
  async connect(container: Container, address: string): Promise<void> {
    const port = `port${this.#ports.size + 1}`;
    const peer = `peer name eth0 netns ${container.pid}`;
    await ip(this.#switch, `link add ${port} type veth ${peer}`);
    this.#ports.set(container, port);
    await ip(this.#switch, `link set ${port} master ${BRIDGE} up`);
    await ip(container, `address add ${address}/24 dev eth0`);
    await ip(container, "link set eth0 up");
    await ip(container, "link set lo up");
  }

  /** Pulls the cable: what is sent gets no answer, and no connection is closed. */
  async cut(container: Container): Promise<void> {
    await ip(this.#switch, `link set ${this.#ports.get(container)} nomaster`);
  }

  async remove(): Promise<void> {
    await this.#switch.kill();
  }
}

async function ip(container: Container, args: string): Promise<void> {
  const { code, stderr } = await container.runOnNetwork(["ip", ...args.split(" ")]);
  if (code === 0) return;
  throw new StandinError("NO_NETWORK", `ip ${args}: ${stderr.trim() || `exit code ${code}`}`, {
    hint: "It needs iproute2, CAP_NET_ADMIN, and a kernel with bridge and veth.",
  });
}

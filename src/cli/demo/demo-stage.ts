/**
 * The demo's two servers and what lies between them. Whatever was made is known here, so that it
 * can all be taken away again at any moment.
 */
import { StandinError } from "../../base/errors.ts";
import type { Clock } from "../../platform/clock.ts";
import { ContainerNetwork } from "../../platform/container-network.ts";
import {
  makeFolder,
  makeTemporaryFolder,
  removeTree,
  writeSmallFile,
} from "../../platform/files.ts";
import { scriptCommand } from "../../platform/processes.ts";
import type { ApplicationConfig } from "./application.ts";
import { type Application, APPLICATIONS, DemoServer, demoFailed } from "./demo-server.ts";

/** Fast enough to be a load, slow enough to leave the machine to its other users. */
const PAUSE_MS = { database: 2, mail: 4 } as const;
const PORT = 7400;
const LOOPBACK = { alpha: "127.0.0.2", beta: "127.0.0.3" } as const;

type ServerName = keyof typeof LOOPBACK;

export class DemoStage {
  readonly folder: string;
  /** Where both servers see their disk. */
  readonly path: string;
  readonly #clock: Clock;
  readonly #servers = new Map<ServerName, DemoServer>();
  readonly #addresses = new Map<ServerName, string>();
  #network: ContainerNetwork | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.folder = makeTemporaryFolder("standin-demo-");
    this.path = `${this.folder}/server`;
    makeFolder(this.path);
    writeSmallFile(
      this.#startScript,
      startScript((name) => this.#command(name, null)),
    );
  }

  /** Why there is no network, and the servers share ours; undefined when there is one. */
  async makeNetwork(): Promise<string | undefined> {
    try {
      this.#network = await ContainerNetwork.start();
      return undefined;
    } catch (error) {
      if (error instanceof StandinError) return error.message;
      throw error;
    }
  }

  /** A server, on the network if there is one. @throws {StandinError} `NO_CONTAINER` */
  async makeServer(name: ServerName): Promise<DemoServer> {
    const server = await DemoServer.start({
      name,
      home: `${this.folder}/${name}`,
      path: this.path,
      hasNetwork: this.#network !== undefined,
      clock: this.#clock,
    });
    this.#servers.set(name, server);
    const address = (await this.#network?.connect(server.container)) ?? LOOPBACK[name];
    this.#addresses.set(name, address);
    return server;
  }

  server(name: ServerName): DemoServer {
    const found = this.#servers.get(name);
    if (found === undefined) throw demoFailed(`there is no server ${name}`);
    return found;
  }

  /** Where its agent listens. */
  addressOf(name: ServerName): string {
    return `${this.#addresses.get(name)}:${PORT}`;
  }

  /** The folder that is protected, as a server sees it. */
  get live(): string {
    return `${this.path}/shop`;
  }

  get #startScript(): string {
    return `${this.folder}/start-applications`;
  }

  /** The command that starts the applications, on whichever server. */
  get startCommand(): string {
    return `sh ${this.#startScript}`;
  }

  /** Runs an application up to a number. */
  async prepareData(server: DemoServer, name: Application, lastNumber: number): Promise<void> {
    await server.run(...this.#command(name, lastNumber));
  }

  #command(name: Application, lastNumber: number | null): string[] {
    const config: ApplicationConfig = {
      folder: name === "mail" ? `${this.live}/mail` : this.live,
      notes: `${this.path}/notes/${name}`,
      lastNumber,
      pauseMs: lastNumber === null ? PAUSE_MS[name] : 0,
    };
    return scriptCommand({ base: import.meta.url, script: `./${name}-process.ts`, config });
  }

  /**
   * The server is lost in one moment: its cable is out, then every process of it is dead. When that
   * was, by the wall clock.
   */
  async lose(server: DemoServer): Promise<number> {
    const atMs = this.#clock.wallMs();
    await this.#network?.cut(server.container);
    await server.container.kill();
    return atMs;
  }

  /** Ends everything that runs. */
  async kill(): Promise<void> {
    const servers = [...this.#servers.values()];
    await Promise.all(servers.map(({ container }) => container.kill()));
    await this.#network?.remove();
  }

  /** Leaves nothing: with the servers go their mounts, memory and network. */
  async clear(keepsFolder: boolean): Promise<void> {
    await this.kill();
    if (!keepsFolder) removeTree(this.folder);
  }
}

/** Output goes to a file: whoever started the applications does not wait for them. */
function startScript(commandOf: (application: Application) => readonly string[]): string {
  const lines = APPLICATIONS.map((name) => {
    const words = commandOf(name).map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
    return `${words.join(" ")} </dev/null >/dev/null 2>&1 &\n`;
  });
  return lines.join("");
}

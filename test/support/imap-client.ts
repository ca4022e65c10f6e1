/** As much of IMAP (RFC 9051) as a mail program needs to sort, mark and delete messages. */
import { connect, type Socket } from "node:net";

const ANSWER_MS_MAX = 60_000;

export class ImapClient {
  readonly #socket: Socket;
  #received = "";
  #sequence = 0;
  #onData: () => void = () => {};

  private constructor(port: number) {
    this.#socket = connect(port, "127.0.0.1");
    this.#socket.setEncoding("latin1");
    this.#socket.on("data", (text: string) => {
      this.#received += text;
      this.#onData();
    });
    this.#socket.on("error", () => this.#onData());
  }

  static async login(port: number, user: string, password: string): Promise<ImapClient> {
    const client = new ImapClient(port);
    try {
      await client.#until(/^\* OK[^\n]*\n/m);
      await client.command(`LOGIN ${user} ${password}`);
    } catch (error) {
      client[Symbol.dispose]();
      throw error;
    }
    return client;
  }

  /** @returns the answer's lines. @throws when the server says anything but OK. */
  async command(text: string): Promise<string> {
    this.#sequence += 1;
    const tag = `a${this.#sequence}`;
    this.#received = "";
    this.#socket.write(`${tag} ${text}\r\n`);
    const answer = await this.#until(new RegExp(`^${tag} [^\\n]*\\n`, "m"));
    if (!new RegExp(`^${tag} OK`, "m").test(answer)) throw new Error(`${text}: ${answer}`);
    return answer;
  }

  /**
   * Makes a mailbox if there is none. Dovecot 2.3.19 may answer ALREADYEXISTS to who was the only
   * one to create it, on plain ext4, too: in 45 of 540 creations while mail came in. By its source,
   * who opens a maildir that lacks `cur` makes it; who opens it so early was not looked for.
   */
  async create(mailbox: string): Promise<void> {
    try {
      await this.command(`CREATE ${mailbox}`);
    } catch (error) {
      if (!String(error).includes("[ALREADYEXISTS]")) throw error;
    }
  }

  async append(mailbox: string, message: string): Promise<void> {
    this.#sequence += 1;
    const tag = `a${this.#sequence}`;
    this.#received = "";
    this.#socket.write(`${tag} APPEND ${mailbox} (\\Seen) {${message.length}}\r\n`);
    await this.#until(/^\+/m);
    this.#socket.write(`${message}\r\n`);
    await this.#until(new RegExp(`^${tag} OK`, "m"));
  }

  /** UIDs of the messages in the chosen mailbox that match. */
  async search(criteria: string): Promise<number[]> {
    const answer = await this.command(`UID SEARCH ${criteria}`);
    const found = /^\* SEARCH([ \d]*)/m.exec(answer)?.[1] ?? "";
    return found.split(" ").filter(Boolean).map(Number);
  }

  async #until(pattern: RegExp): Promise<string> {
    const deadline = performance.now() + ANSWER_MS_MAX;
    while (!pattern.test(this.#received)) {
      if (this.#socket.destroyed || performance.now() > deadline) {
        throw new Error(`no ${pattern} in: ${this.#received.slice(-500)}`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.#onData = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.#received;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

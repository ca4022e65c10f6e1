/**
 * A Postfix and a Dovecot of their own, as an operator sets them up: mail comes by SMTP, is
 * delivered by LMTP into maildirs, and is read by IMAP. Everything but the maildirs is in a folder
 * of the test; ports are on loopback. The configuration is for Dovecot 2.3 and Postfix 3.
 */
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, chownSync, closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { killIfThere } from "./process-tree.ts";
import { readIfThere } from "./read-if-there.ts";
import { runCommand } from "./run-command.ts";

export const DOMAIN = "example.test";
export const PASSWORD = "secret";

const STOP_MS_MAX = 30_000;

export class MailServer {
  readonly #folder: string;
  readonly #mail: string;
  readonly #users: readonly string[];
  smtpPort = 0;
  imapPort = 0;

  /** `folder` is new, `mail` exists: there each user gets a maildir. */
  constructor(folder: string, mail: string, users: readonly string[]) {
    this.#folder = folder;
    this.#mail = mail;
    this.#users = users;
  }

  async start(): Promise<void> {
    [this.smtpPort, this.imapPort] = await freePorts();
    for (const path of ["", "/postfix", "/spool", "/lib", "/run", "/log"]) {
      mkdirSync(this.#folder + path);
      chmodSync(this.#folder + path, 0o755);
    }
    chownSync(`${this.#folder}/lib`, await idOf("postfix"), 0);
    chownSync(this.#mail, await idOf("mail"), await idOf("mail"));
    this.#configurePostfix();
    await this.#configureDovecot();
    this.#daemon("dovecot", "-c", this.#dovecotConf);
    this.#daemon("postfix", "-c", `${this.#folder}/postfix`, "start");
  }

  get #dovecotConf(): string {
    return `${this.#folder}/dovecot.conf`;
  }

  #configurePostfix(): void {
    const { smtpPort } = this;
    const folder = this.#folder;
    writeFileSync(
      `${folder}/postfix/main.cf`,
      `compatibility_level = 3.6
queue_directory = ${folder}/spool
data_directory = ${folder}/lib
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
myhostname = mail.${DOMAIN}
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = ${folder}/log/maillog
maillog_file_prefixes = ${folder}
virtual_mailbox_domains = ${DOMAIN}
virtual_transport = lmtp:unix:${folder}/run/lmtp
smtputf8_enable = no
alias_maps =
alias_database =
`,
    );
    writeFileSync(
      `${folder}/postfix/master.cf`,
      `127.0.0.1:${smtpPort} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
`,
    );
  }

  async #configureDovecot(): Promise<void> {
    const folder = this.#folder;
    const users = this.#users.map((user) => `${user}@${DOMAIN}:{PLAIN}${PASSWORD}::::::\n`);
    writeFileSync(`${folder}/users`, users.join(""));
    writeFileSync(
      this.#dovecotConf,
      `base_dir = ${folder}/run
state_dir = ${folder}/run
log_path = ${folder}/log/dovecot.log
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:${this.#mail}/%n
mail_uid = ${await idOf("mail")}
mail_gid = ${await idOf("mail")}
first_valid_uid = 1
passdb {
  driver = passwd-file
  args = ${folder}/users
}
userdb {
  driver = static
  args = uid=mail gid=mail home=${this.#mail}/%n
}
service imap-login {
  inet_listener imap {
    port = ${this.imapPort}
  }
  inet_listener imaps {
    port = 0
  }
}
service lmtp {
  unix_listener lmtp {
    mode = 0666
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}
`,
    );
  }

  /** Daemons keep their caller's output open; a file does not wait for its end. */
  #daemon(command: string, ...args: string[]): void {
    const log = openSync(`${this.#folder}/log/start.log`, "a");
    const { status } = spawnSync(command, args, { stdio: ["ignore", log, log], timeout: 30_000 });
    closeSync(log);
    if (status !== 0) throw new Error(`${command} does not start: ${this.log()}`);
  }

  /** What both have written, the last of it. */
  log(): string {
    const folder = `${this.#folder}/log`;
    const texts = readdirSync(folder).map((name) => readFileSync(`${folder}/${name}`, "utf8"));
    return texts.map((text) => text.slice(-2000)).join("\n");
  }

  /** Sends many messages at once over several connections. */
  async sendMany(from: string, to: string, count: number): Promise<void> {
    const addresses = ["-f", `${from}@${DOMAIN}`, "-t", `${to}@${DOMAIN}`];
    const sizes = ["-s", "3", "-l", "6000", "-m", String(count)];
    await runCommand("smtp-source", ...sizes, ...addresses, `127.0.0.1:${this.smtpPort}`);
  }

  async sendOne(from: string, to: string, subject: string, attachment: string): Promise<void> {
    const addresses = ["--from", `${from}@${DOMAIN}`, "--to", `${to}@${DOMAIN}`];
    const server = ["--server", "127.0.0.1", "--port", String(this.smtpPort), "--silent", "2"];
    const content = ["--header", `Subject: ${subject}`, "--attach", `@${attachment}`];
    await runCommand("swaks", ...server, ...addresses, ...content);
  }

  /** Messages in a user's inbox. */
  countOf(user: string): number {
    return ["new", "cur"].reduce((sum, kind) => sum + namesIn(`${this.#mail}/${user}/${kind}`), 0);
  }

  /** Until the inboxes hold so many messages together. */
  async untilDelivered(count: number, timeoutMs = 90_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    const delivered = () => this.#users.reduce((sum, user) => sum + this.countOf(user), 0);
    while (delivered() < count) {
      if (performance.now() > deadline) {
        throw new Error(`${delivered()} of ${count} messages came:\n${this.log()}`);
      }
      await sleep(100);
    }
  }

  async stop(): Promise<void> {
    const postfix = ["-c", `${this.#folder}/postfix`, "stop"];
    await quietly("postfix", ...postfix);
    await quietly("doveadm", "-c", this.#dovecotConf, "stop");
    const deadline = performance.now() + STOP_MS_MAX;
    while (this.#pids().length > 0 && performance.now() < deadline) await sleep(50);
    for (const pid of this.#pids()) killIfThere(pid);
  }

  /** Processes of both, by what their command line and environment name. */
  #pids(): number[] {
    const masters = [`${this.#folder}/run/master.pid`, `${this.#folder}/spool/pid/master.pid`];
    return masters.flatMap((path) => {
      const pid = Number(readIfThere(path).trim());
      return pid > 0 && readIfThere(`/proc/${pid}/cmdline`) !== "" ? [pid] : [];
    });
  }
}

async function idOf(user: string): Promise<number> {
  return Number(await runCommand("id", "-u", user));
}

/** Stopping what does not run is an error of theirs, not of ours. */
function quietly(command: string, ...args: string[]): Promise<void> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: "ignore", timeout: STOP_MS_MAX });
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
}

function namesIn(path: string): number {
  try {
    return readdirSync(path).length;
  } catch {
    return 0;
  }
}

async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()];
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    ports.push(typeof address === "object" && address !== null ? address.port : 0);
  }
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return [ports[0] ?? 0, ports[1] ?? 0];
}

/**
 * Real applications at work in a protected folder; the copy is compared in everything after each.
 * Sizes for long runs by hand: STANDIN_GIT_REPO, STANDIN_GIT_FILES, STANDIN_NPM_FULL,
 * STANDIN_PGBENCH_SCALE, STANDIN_PGBENCH_SECONDS, STANDIN_MAILS, STANDIN_FUZZ_SEEDS.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { appendFileSync, cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";

import { Prng } from "../../src/base/prng.ts";
import { randomOperations } from "../fuzz/operation.ts";
import { Side } from "../fuzz/side.ts";
import type { Capability } from "./capabilities.ts";
import { compareTrees } from "./compare-trees.ts";
import { git, makeRepository } from "./git-history.ts";
import { ImapClient } from "./imap-client.ts";
import { DOMAIN, MailServer, PASSWORD } from "./mail-server.ts";
import { makeNpmProject } from "./npm-project.ts";
import {
  addPostgresToPath,
  asPostgres,
  giveToPostgres,
  PostgresServer,
} from "./postgres-server.ts";
import { runCommand } from "./run-command.ts";
import type { WorkloadSide } from "./workload-side.ts";

const ROOT = join(import.meta.dirname, "../..");
const MINUTE_MS = 60_000;

function setting(name: string, otherwise: number): number {
  return Number(process.env[name] ?? otherwise);
}

addPostgresToPath();
export const WORKLOAD_MS_MAX: number = setting("STANDIN_WORKLOAD_MINUTES", 5) * MINUTE_MS;
const FUZZ_OPS = 1500;
const SEED = setting("STANDIN_SEED", 1);

export interface Workload {
  readonly name: string;
  readonly needs: readonly Capability[];
  /** Works below the protected folder, and compares now and then. */
  readonly work: (side: WorkloadSide, t: TestContext) => Promise<void>;
  /** Looks at the replica when all is over. */
  readonly inspect?: (side: WorkloadSide) => void;
}

async function assertEqualAfterFlush(side: WorkloadSide, what: string): Promise<void> {
  await side.flush();
  assert.deepEqual(compareTrees(side.source, side.replica()), [], what);
}

/** Through the mount, and then as the files lie beneath it. */
export async function runWorkload(
  t: TestContext,
  side: WorkloadSide,
  { work, inspect }: Workload,
): Promise<void> {
  await work(side, t);
  await assertEqualAfterFlush(side, "at the end");
  const replica = side.replica();
  t.diagnostic(await side.end());
  assert.deepEqual(compareTrees(side.source, replica), [], "beneath");
  inspect?.({ ...side, replica: () => replica } as WorkloadSide);
}

async function workWithGit(side: WorkloadSide): Promise<void> {
  const given = process.env.STANDIN_GIT_REPO;
  const origin = given ?? `${side.folder}/origin`;
  if (given === undefined) makeRepository(origin, setting("STANDIN_GIT_FILES", 1000));
  git(side.source, "clone", "-q", "--no-local", "--no-hardlinks", origin, "clone");
  await assertEqualAfterFlush(side, "clone");
  const clone = `${side.source}/clone`;
  const newest = git(clone, "rev-parse", "HEAD").trim();
  const history = git(clone, "rev-list", "--first-parent", "-n", "200", "HEAD").trim().split("\n");
  const oldest = history.at(-1) ?? newest;
  const middle = history[Math.floor(history.length / 2)] ?? newest;
  for (const commit of [oldest, newest, middle, oldest]) {
    git(clone, "checkout", "-q", commit);
    await assertEqualAfterFlush(side, `checkout of ${commit}`);
  }
  git(clone, "checkout", "-q", newest);
  git(clone, "gc", "-q", "--prune=now");
  git(clone, "clean", "-qfdx");
  await assertEqualAfterFlush(side, "gc");
  assert.equal(git(clone, "status", "--porcelain"), "");
}

function inspectGit({ source, replica }: WorkloadSide): void {
  const clone = `${replica()}/clone`;
  const newest = git(`${source}/clone`, "rev-parse", "HEAD").trim();
  assert.equal(git(clone, "rev-parse", "HEAD").trim(), newest);
  git(clone, "fsck", "--no-dangling");
}

async function workWithNpm(side: WorkloadSide, t: TestContext): Promise<void> {
  const project = `${side.source}/project`;
  if (process.env.STANDIN_NPM_FULL === undefined) {
    makeNpmProject(project, ["cli-table3", "commander", "picomatch", "fast-check"]);
  } else {
    mkdirSync(project);
    for (const name of ["package.json", "package-lock.json"]) {
      cpSync(`${ROOT}/${name}`, `${project}/${name}`);
    }
  }
  for (const turn of ["first", "second"]) {
    if (!npmCi(project)) {
      t.diagnostic("npm ci cannot reach a registry: copying what is installed here instead");
      rmSync(`${project}/node_modules`, { recursive: true, force: true });
      for (const name of ["commander", "fast-check", "picomatch", "@types/node"]) {
        const path = `node_modules/${name}`;
        cpSync(`${ROOT}/${path}`, `${project}/${path}`, { recursive: true, dereference: false });
      }
    }
    await assertEqualAfterFlush(side, `${turn} npm ci`);
  }
  spawnSync("cp", ["-a", `${project}/node_modules`, `${project}/kept`], { timeout: MINUTE_MS });
  rmSync(`${project}/node_modules`, { recursive: true });
}

function npmCi(project: string): boolean {
  const options = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
  const args = ["ci", ...options, "--fetch-retries=1", "--fetch-timeout=10000"];
  // A cache is on the machine or not; the project's own would only be noise in the folder.
  const spawned = spawnSync("npm", args, {
    cwd: project,
    timeout: WORKLOAD_MS_MAX / 2,
    encoding: "utf8",
  });
  return spawned.status === 0;
}

async function workWithPostgres(side: WorkloadSide, t: TestContext): Promise<void> {
  const data = `${side.source}/data`;
  mkdirSync(data, { mode: 0o700 });
  await giveToPostgres(data);
  const options = ["--data-checksums", "--auth=trust", "--username=postgres"];
  await asPostgres("initdb", "-D", data, ...options);
  appendFileSync(`${data}/postgresql.conf`, "listen_addresses = ''\nmax_wal_size = 64MB\n");
  await assertEqualAfterFlush(side, "initdb");
  const server = new PostgresServer(data, `${side.folder}/socket`);
  side.beforeEnd(() => server.clear());
  await server.start();
  const scale = String(setting("STANDIN_PGBENCH_SCALE", 2));
  await runCommand("pgbench", ...server.connection, "-i", "-q", "-s", scale, "postgres");
  const seconds = String(setting("STANDIN_PGBENCH_SECONDS", 8));
  const load = runCommand(
    ...(["pgbench", ...server.connection, "-c", "4", "-T", seconds, "postgres"] as const),
  );
  assert.equal(await side.verify(), 0, "a verify of the live database is exact");
  t.diagnostic(/tps = \d+/.exec(await load)?.[0] ?? "");
  await server.query("VACUUM FULL");
  await server.stop();
}

async function workWithMail(side: WorkloadSide): Promise<void> {
  const mail = `${side.source}/mail`;
  mkdirSync(mail, { mode: 0o755 });
  const users = ["alice", "bob", "carol"];
  const server = new MailServer(`${side.folder}/mailserver`, mail, users);
  side.beforeEnd(() => server.stop());
  await server.start();
  const each = Math.ceil(setting("STANDIN_MAILS", 240) / users.length);
  const attachment = `${side.folder}/attachment`;
  writeFileSync(attachment, Buffer.alloc(300_000, "attachment "));
  for (const user of users) await server.sendOne("alice", user, `hello ${user}`, attachment);
  await server.untilDelivered(users.length);
  const sendAll = users.map((from, at) => {
    return server.sendMany(from, users[(at + 1) % users.length] ?? from, each);
  });
  // While mail comes in.
  const sortAll = users.map((user) => sortMail(server.imapPort, user, each));
  const [counts] = await Promise.all([Promise.all(sortAll), Promise.all(sendAll)]);
  const moved = counts.reduce((sum, count) => sum + count, 0);
  await server.untilDelivered(users.length * (each + 1) - moved);
  await assertEqualAfterFlush(side, "delivered");
  using client = await ImapClient.login(server.imapPort, `bob@${DOMAIN}`, PASSWORD);
  await client.command("SELECT INBOX");
  await client.command("STORE 1:* +FLAGS (\\Deleted)");
  await client.command("EXPUNGE");
  await client.command("RENAME Archive Kept");
  await client.command("LOGOUT");
  assert.equal(server.countOf("bob"), 0);
  await server.stop();
}

/** What a user does with mail that has come and is coming; how many left the inbox. */
async function sortMail(port: number, user: string, expected: number): Promise<number> {
  using client = await ImapClient.login(port, `${user}@${DOMAIN}`, PASSWORD);
  await client.create("Archive");
  await client.append("Archive", "Subject: draft\r\n\r\nkept\r\n");
  let left = 0;
  for (let round = 0; round < 40 && left < expected / 2; round++) {
    await client.command("SELECT INBOX");
    const uids = await client.search("ALL");
    const [archived, deleted] = [uids.slice(0, 3), uids.slice(3, 5)];
    if (archived.length > 0) await client.command(`UID MOVE ${archived.join(",")} Archive`);
    if (uids.length > 5) await client.command(`UID STORE ${uids[5]} +FLAGS (\\Seen \\Flagged)`);
    if (deleted.length > 0) {
      await client.command(`UID STORE ${deleted.join(",")} +FLAGS (\\Deleted)`);
      await client.command("EXPUNGE");
    }
    left += archived.length + deleted.length;
  }
  await client.command("LOGOUT");
  return left;
}

/** What the fuzzer does; here only the copy is compared. */
async function workAtRandom(side: WorkloadSide): Promise<void> {
  // Files that cannot be changed cannot be removed.
  const makeRemovable = () =>
    spawnSync("chattr", ["-R", "-f", "-ia", side.folder], { timeout: MINUTE_MS });
  side.beforeEnd(makeRemovable);
  for (let seed = SEED; seed < SEED + setting("STANDIN_FUZZ_SEEDS", 2); seed++) {
    const random = new Side(`${side.source}/run-${seed}`);
    for (const operation of randomOperations(new Prng(seed), FUZZ_OPS)) random.do(operation);
    await assertEqualAfterFlush(side, `STANDIN_SEED=${seed}, with open files`);
    random.closeAll();
    // Else each comparison of a long run would read again all that came before.
    makeRemovable();
    rmSync(`${side.source}/run-${seed - 1}`, { recursive: true, force: true });
    await assertEqualAfterFlush(side, `STANDIN_SEED=${seed}`);
  }
}

export const WORKLOADS: readonly Workload[] = [
  {
    name: "fuzzer: random operations of every kind",
    needs: ["command:chattr"],
    work: workAtRandom,
  },
  {
    name: "git: a clone, checkouts back and forth, and a repack",
    needs: ["command:git"],
    work: workWithGit,
    inspect: inspectGit,
  },
  {
    name: "npm ci: installed, removed and installed again",
    needs: ["command:npm"],
    work: workWithNpm,
  },
  {
    name: "pgbench: PostgreSQL made, loaded and verified live",
    needs: ["command:pgbench", "command:initdb", "command:setpriv"],
    work: workWithPostgres,
  },
  {
    name: "mail: delivered by Postfix and Dovecot, sorted and deleted by IMAP",
    needs: ["command:dovecot", "command:postfix", "command:smtp-source", "command:swaks"],
    work: workWithMail,
  },
];

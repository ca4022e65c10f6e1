/**
 * Real applications at work in a protected folder; the copy is compared in everything after each.
 * Sizes for long runs by hand: STANDIN_GIT_REPO, STANDIN_GIT_FILES, STANDIN_NPM_FULL,
 * STANDIN_PGBENCH_SCALE, STANDIN_PGBENCH_SECONDS, STANDIN_MAILS.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { appendFileSync, chmodSync, cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";

import { skipUnless } from "../support/capabilities.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { git, makeRepository } from "../support/git-history.ts";
import { ImapClient } from "../support/imap-client.ts";
import { LocalRun } from "../support/local-run.ts";
import { DOMAIN, MailServer, PASSWORD } from "../support/mail-server.ts";
import { makeNpmProject } from "../support/npm-project.ts";
import {
  addPostgresToPath,
  asPostgres,
  giveToPostgres,
  PostgresServer,
} from "../support/postgres-server.ts";
import { runCommand } from "../support/run-command.ts";

const ROOT = join(import.meta.dirname, "../..");
const MINUTE_MS = 60_000;

function setting(name: string, otherwise: number): number {
  return Number(process.env[name] ?? otherwise);
}

addPostgresToPath();
const base = ["root", "fuse", "fuse-resend"] as const;
const timeout = setting("STANDIN_WORKLOAD_MINUTES", 5) * MINUTE_MS;

async function protectedRun(t: TestContext): Promise<LocalRun> {
  const run = new LocalRun();
  t.after(() => run.clear());
  // Other users must reach what is theirs below.
  chmodSync(run.folder, 0o755);
  run.start("--ring", "256M");
  await run.waitFor("mirrored", MINUTE_MS);
  return run;
}

function assertEqualAfterFlush(run: LocalRun, what: string): void {
  const { code, stderr } = run.command("flush", "--timeout", "55");
  assert.equal(code, 0, `${what}: ${stderr}`);
  assert.deepEqual(compareTrees(run.source, run.replica), [], what);
}

/** Through the mount, and then as the files lie beneath it. */
async function assertEqualAtEnd(t: TestContext, run: LocalRun): Promise<void> {
  assertEqualAfterFlush(run, "at the end");
  const status = run.status();
  const { totals, queue } = status;
  t.diagnostic(`${totals.ops} ops, ${totals.bytes} bytes, ${queue.gaps} gaps`);
  assert.equal(status.protected, true, JSON.stringify(status.reasons));
  assert.equal(await run.stop(), 0);
  assert.deepEqual(compareTrees(run.source, run.replica), [], "beneath");
}

test("git: a clone, checkouts back and forth, and a repack are in the copy", {
  skip: skipUnless(...base, "command:git"),
  timeout,
}, async (t) => {
  const run = await protectedRun(t);
  const given = process.env.STANDIN_GIT_REPO;
  const origin = given ?? `${run.folder}/origin`;
  if (given === undefined) makeRepository(origin, setting("STANDIN_GIT_FILES", 1000));
  git(run.source, "clone", "-q", "--no-local", "--no-hardlinks", origin, "clone");
  assertEqualAfterFlush(run, "clone");
  const clone = `${run.source}/clone`;
  const newest = git(clone, "rev-parse", "HEAD").trim();
  const history = git(clone, "rev-list", "--first-parent", "-n", "200", "HEAD").trim().split("\n");
  const oldest = history.at(-1) ?? newest;
  const middle = history[Math.floor(history.length / 2)] ?? newest;
  for (const commit of [oldest, newest, middle, oldest]) {
    git(clone, "checkout", "-q", commit);
    assertEqualAfterFlush(run, `checkout of ${commit}`);
  }
  git(clone, "checkout", "-q", newest);
  git(clone, "gc", "-q", "--prune=now");
  git(clone, "clean", "-qfdx");
  assertEqualAfterFlush(run, "gc");
  assert.equal(git(clone, "status", "--porcelain"), "");
  await assertEqualAtEnd(t, run);
  assert.equal(git(`${run.replica}/clone`, "rev-parse", "HEAD").trim(), newest);
  git(`${run.replica}/clone`, "fsck", "--no-dangling");
});

test("npm ci: installed, removed and installed again, the copy follows", {
  skip: skipUnless(...base, "command:npm"),
  timeout,
}, async (t) => {
  const run = await protectedRun(t);
  const project = `${run.source}/project`;
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
    assertEqualAfterFlush(run, `${turn} npm ci`);
  }
  spawnSync("cp", ["-a", `${project}/node_modules`, `${project}/kept`], { timeout: MINUTE_MS });
  rmSync(`${project}/node_modules`, { recursive: true });
  await assertEqualAtEnd(t, run);
});

function npmCi(project: string): boolean {
  const options = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
  const args = ["ci", ...options, "--fetch-retries=1", "--fetch-timeout=10000"];
  // A cache is on the machine or not; the project's own would only be noise in the folder.
  const spawned = spawnSync("npm", args, { cwd: project, timeout: timeout / 2, encoding: "utf8" });
  return spawned.status === 0;
}

test("pgbench: PostgreSQL made, loaded and verified live in the folder is in the copy", {
  skip: skipUnless(...base, "command:pgbench", "command:initdb", "command:setpriv"),
  timeout,
}, async (t) => {
  const run = await protectedRun(t);
  const data = `${run.source}/data`;
  mkdirSync(data, { mode: 0o700 });
  await giveToPostgres(data);
  const options = ["--data-checksums", "--auth=trust", "--username=postgres"];
  await asPostgres("initdb", "-D", data, ...options);
  appendFileSync(`${data}/postgresql.conf`, "listen_addresses = ''\nmax_wal_size = 64MB\n");
  assertEqualAfterFlush(run, "initdb");
  const server = new PostgresServer(data, `${run.folder}/socket`);
  t.after(() => server.clear());
  await server.start();
  const scale = String(setting("STANDIN_PGBENCH_SCALE", 2));
  await runCommand("pgbench", ...server.connection, "-i", "-q", "-s", scale, "postgres");
  const seconds = String(setting("STANDIN_PGBENCH_SECONDS", 8));
  const load = runCommand(
    ...(["pgbench", ...server.connection, "-c", "4", "-T", seconds, "postgres"] as const),
  );
  const verified = run.command("verify", "--json");
  const { different } = JSON.parse(verified.stdout) as Record<string, unknown>;
  assert.equal(different, 0, `a verify of the live database is exact: ${verified.stdout}`);
  t.diagnostic(/tps = \d+/.exec(await load)?.[0] ?? "");
  await server.query("VACUUM FULL");
  await server.stop();
  await assertEqualAtEnd(t, run);
});

test("mail: delivered by Postfix and Dovecot, sorted and deleted by IMAP, is in the copy", {
  skip: skipUnless(
    ...([...base, "command:dovecot", "command:postfix"] as const),
    ...(["command:smtp-source", "command:swaks"] as const),
  ),
  timeout,
}, async (t) => {
  const run = await protectedRun(t);
  const mail = `${run.source}/mail`;
  mkdirSync(mail, { mode: 0o755 });
  const users = ["alice", "bob", "carol"];
  const server = new MailServer(`${run.folder}/mailserver`, mail, users);
  t.after(() => server.stop());
  await server.start();
  const each = Math.ceil(setting("STANDIN_MAILS", 240) / users.length);
  const attachment = `${run.folder}/attachment`;
  writeFileSync(attachment, Buffer.alloc(300_000, "attachment "));
  for (const user of users) await server.sendOne("alice", user, `hello ${user}`, attachment);
  await server.untilDelivered(users.length);
  const sending = users.map((from, at) => {
    return server.sendMany(from, users[(at + 1) % users.length] ?? from, each);
  });
  // While mail comes in.
  const counts = await Promise.all(users.map((user) => sortMail(server.imapPort, user, each)));
  await Promise.all(sending);
  const moved = counts.reduce((sum, count) => sum + count, 0);
  await server.untilDelivered(users.length * (each + 1) - moved);
  assertEqualAfterFlush(run, "delivered");
  const client = await ImapClient.login(server.imapPort, `bob@${DOMAIN}`, PASSWORD);
  await client.command("SELECT INBOX");
  await client.command("STORE 1:* +FLAGS (\\Deleted)");
  await client.command("EXPUNGE");
  await client.command("RENAME Archive Kept");
  await client.command("LOGOUT");
  client.close();
  assert.equal(server.countOf("bob"), 0);
  await server.stop();
  await assertEqualAtEnd(t, run);
});

/** What a user does with mail that has come and is coming; how many left the inbox. */
async function sortMail(port: number, user: string, expected: number): Promise<number> {
  const client = await ImapClient.login(port, `${user}@${DOMAIN}`, PASSWORD);
  await client.command("CREATE Archive");
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
  client.close();
  return left;
}

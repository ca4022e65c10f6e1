/**
 * How much a source sends to a target, and from where: limits that are changed while it sends, and
 * kept; and the address of this server that a target is connected from.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import type { TargetStatus } from "../../src/agent/jobs/job-status.ts";
import { until } from "../support/agent-run.ts";
import { skipUnless } from "../support/capabilities.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { Servers } from "../support/two-servers.ts";

const skip = skipUnless("root", "fuse", "fuse-resend");
const timeout = 300_000;
const M = 1 << 20;
const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

function target(servers: Servers, name = "s1"): TargetStatus {
  const found = servers.status().targets.find(({ agent }) => agent === name);
  assert.ok(found);
  return found;
}

/** How often the source has connected to a target since its agent was started. */
function connections(servers: Servers): number {
  return servers.source.log.filter(({ message }) => message === "connected").length;
}

/** Bytes a second that are sent to the target in the next seconds. */
async function rate(servers: Servers, seconds: number): Promise<number> {
  const begin = performance.now();
  const before = target(servers).bytesSent;
  await sleep(seconds * 1000);
  const sent = target(servers).bytesSent - before;
  return sent / ((performance.now() - begin) / 1000);
}

function write(servers: Servers, name: string, megabytes: number): void {
  writeFileSync(join(servers.folder, name), randomBytes(megabytes * M));
}

test("a limit is changed while bytes flow, on the connection that there is", {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t);
  write(servers, "before", 1);
  await servers.protect("--limit", "1M");
  assert.equal(target(servers).limit.bytesPerSecond, M);
  write(servers, "large", 60);
  const slow = await rate(servers, 5);
  assert.ok(slow > M / 8 && slow < 1.5 * M, `${slow} bytes a second`);
  servers.source.json("limit", "data", "--limit", "4MB/s");
  await sleep(1000);
  const faster = await rate(servers, 5);
  assert.ok(faster > 1.5 * M && faster < 6_000_000, `${faster} bytes a second`);
  const { stdout } = servers.source.command("limit", "data", "--limit", "none");
  assert.match(stdout, /^data to s1: no limit$/m);
  servers.flush();
  assert.equal(connections(servers), 1);
  assert.equal(servers.replicaStatus().duplicates, 0, "nothing was sent again");
  assert.deepEqual(compareTrees(servers.folder, servers.replica()), []);
});

test("a schedule limits, is kept over restarts, and is taken away", {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t);
  const today = (new Date().getDay() + 6) % 7;
  const days = `${DAYS[today]},${DAYS[(today + 1) % 7]}`;
  const window = `${days} 00:00-24:00 1M`;
  await servers.protect("--limit", "100M", "--schedule", window);
  const { limit } = target(servers);
  const midnight = new Date();
  midnight.setHours(48, 0, 0, 0);
  assert.deepEqual(limit, {
    limitBytes: 100 * M,
    schedule: [window],
    bytesPerSecond: M,
    until: midnight.toISOString(),
  });
  write(servers, "large", 30);
  assert.ok((await rate(servers, 5)) < 1.5 * M);
  await servers.source.stop();
  await servers.source.start();
  await servers.untilConnected();
  assert.deepEqual(target(servers).limit, limit, "also after a restart");
  assert.ok((await rate(servers, 3)) < 1.5 * M);
  const shown = servers.source.command("status", "data").stdout;
  assert.match(shown, /data to s1: at most 1 MiB\/s until \w{3} 00:00/);
  const changed = servers.source.json("limit", "data", "--no-schedule").targets as object[];
  assert.deepEqual(changed, [
    { agent: "s1", limitBytes: 100 * M, schedule: [], bytesPerSecond: 100 * M, until: null },
  ]);
  servers.flush();
  assert.deepEqual(compareTrees(servers.folder, servers.replica()), []);
});

test("each target has a limit of its own; what cannot be is refused and changes nothing", {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t, 3);
  await servers.protect("--limit", "10M");
  servers.source.json("limit", "data", "--to", "s2", "--limit", "512K");
  const limits = () => servers.status().targets.map(({ limit }) => limit.bytesPerSecond);
  assert.deepEqual(limits(), [10 * M, 512 << 10]);
  const refused: [string[], RegExp, number][] = [
    [["limit", "other", "--limit", "1M"], /no job other is sent from here/, 1],
    [["limit", "data", "--to", "s0", "--limit", "1M"], /s0 is no target of job data\n.*s1, s2/, 1],
    [["limit", "data", "--to", "s9", "--limit", "1M"], /s9/, 1],
    [["limit", "data", "--limit", "1"], /1 KiB\/s or more/, 2],
  ];
  for (const [args, message, code] of refused) {
    const ended = servers.source.command(...args);
    assert.equal(ended.code, code, args.join(" "));
    assert.match(ended.stderr, message);
  }
  assert.deepEqual(limits(), [10 * M, 512 << 10]);
  servers.source.json("limit", "data", "--limit", "none");
  assert.deepEqual(limits(), [null, null], "without --to it is for all");
});

/** An address on the loopback interface: of a network for documentation, so nobody else's. */
class ExtraAddress {
  readonly address = `198.51.100.${1 + (process.pid % 250)}`;

  constructor(t: TestContext) {
    t.after(() => this.remove());
  }

  add(): void {
    this.#ip("add");
  }

  remove(): void {
    this.#ip("delete");
  }

  #ip(verb: string): void {
    spawnSync("ip", ["addr", verb, `${this.address}/32`, "dev", "lo"]);
  }
}

/** Local addresses of the connections to an agent's port. */
function comingFrom(address: string): boolean {
  const { stdout } = spawnSync("ss", ["-Htn", "state", "established", "src", address], {
    encoding: "utf8",
  });
  return stdout.trim() !== "";
}

test("a target is connected from the address that was chosen, and waits for one that is gone", {
  skip: skip || skipUnless("command:ip", "command:ss"),
  timeout,
}, async (t) => {
  const servers = await Servers.start(t);
  const extra = new ExtraAddress(t);
  const refused = servers.source.command(
    "protect",
    servers.folder,
    "--to",
    "s1",
    "--via",
    extra.address,
  );
  assert.equal(refused.code, 1);
  assert.match(
    refused.stderr,
    /this server has no address 198\.51\.100\.\d+\n.*It has 127\.0\.0\.1/,
  );
  assert.equal(servers.isMounted(), false);
  extra.add();
  await servers.protect("--via", `s1=${extra.address}`);
  assert.equal(target(servers).via, extra.address);
  assert.equal(comingFrom(extra.address), true);
  assert.match(servers.source.command("jobs").stdout, /data to s1: connected from 198\.51\.100/);

  await servers.target.stop();
  extra.remove();
  await servers.target.start();
  writeFileSync(join(servers.folder, "file"), "written while the address is gone");
  await until(
    () => /no address/.test(JSON.stringify(target(servers).reasons)) || undefined,
    () => JSON.stringify(servers.status()),
    60_000,
  );
  extra.add();
  servers.flush();
  assert.equal(comingFrom(extra.address), true);
  assert.deepEqual(compareTrees(servers.folder, servers.replica()), []);
});

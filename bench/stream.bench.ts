/**
 * What does the stream between two agents cost beside the same bytes through node:tls alone? Sender
 * and receiver are a process each, joined by loopback; the ops stand in the source's ring from the
 * start, so that capture and applying are not measured. The pipe throws away what it receives;
 * Standin's target has it on disk, checked, and fed to the applier's ring, and the pipe that writes
 * to a file stands between the two.
 *
 *   node bench/stream.bench.ts --help
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

import type { TlsCredentials } from "../src/platform/tls.ts";
import { createAuthority, createRequest, issueCertificate } from "../src/trust/authority.ts";
import { Arguments } from "./support/arguments.ts";
import { type Cleanup, withCleanup } from "./support/cleanup.ts";
import { describeMachine } from "./support/describe-machine.ts";
import { printResult } from "./support/print-result.ts";
import { medianOfRounds, ratioOf, rotated, rounded } from "./support/statistics.ts";
import type { EndConfig, EndResult, Form } from "./support/stream/end-config.ts";
import { makeWorkFolder } from "./support/work-folder.ts";

const ALL: readonly Form[] = ["pipe", "pipe-to-disk", "pipe-zstd", "stream", "stream-zstd"];
const COMPARED: readonly (readonly [Form, Form])[] = [
  ["pipe-to-disk", "pipe"],
  ["stream", "pipe"],
  ["stream", "pipe-to-disk"],
  ["stream-zstd", "pipe-zstd"],
];
const RUN_MS = 120_000;
const MEBIBYTE = 1 << 20;

const given = Arguments.parse("Compares the stream with a plain TLS pipe, per processor second.", {
  rounds: { help: "rounds", default: "5" },
  bytes: { help: "bytes of each run; held in memory", default: "512M" },
  "op-size": { help: "bytes of each write", default: "1M" },
  forms: { help: `what is run, of: ${ALL.join(", ")}`, default: ALL.join(",") },
  in: { help: "folder for the work folder", default: "/var/tmp" },
});
const FORMS = given.list("forms").map((name) => {
  const form = ALL.find((one) => one === name);
  if (form === undefined) throw new Error(`--forms: ${name} is none of ${ALL.join(", ")}`);
  return form;
});

interface Run {
  readonly sender: EndResult;
  readonly receiver: EndResult;
}

async function credentialsOfOneAgent(): Promise<TlsCredentials> {
  const nowMs = Date.now();
  const authority = await createAuthority("bench", nowMs);
  const { request, key } = await createRequest("bench");
  const agent = { id: crypto.randomUUID(), name: "bench" };
  const certificate = await issueCertificate(authority, request, agent, nowMs);
  return { certificate, key, authority: authority.certificate };
}

/** A process of a run, and the lines that it prints. */
class End {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(cleanup: Cleanup, config: EndConfig) {
    const script = join(import.meta.dirname, `support/stream/${config.role}.ts`);
    const child = spawn(process.execPath, [script, JSON.stringify(config)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    cleanup.add(`end the ${config.role}`, () => void child.kill("SIGKILL"));
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    const late = AbortSignal.timeout(RUN_MS);
    const next = await Promise.race([this.#lines.next(), once(late, "abort")]);
    if (Array.isArray(next) || next.done === true) throw new Error("a process did not answer");
    return next.value;
  }

  go(): void {
    this.#child.stdin?.write("go\n");
  }

  /** It ends when nobody talks to it any more. */
  async end(): Promise<void> {
    this.#child.stdin?.end();
    if (this.#child.exitCode === null) await once(this.#child, "exit");
  }
}

async function runOnce(
  cleanup: Cleanup,
  work: string,
  form: Form,
  credentials: TlsCredentials,
): Promise<Run> {
  const memory = mkdtempSync("/dev/shm/standin-bench-");
  const folder = mkdtempSync(`${work}/run-`);
  for (const name of ["log", "spill"]) mkdirSync(`${folder}/${name}`);
  const remove = () => {
    for (const path of [memory, folder]) rmSync(path, { recursive: true, force: true });
  };
  cleanup.add(`remove ${memory}`, remove);
  const opBytes = given.size("op-size");
  const ops = Math.ceil(given.size("bytes") / opBytes);
  const common = { form, credentials, ops, opBytes, memory, folder };
  const receiver = new End(cleanup, { ...common, role: "receiver", port: 0 });
  const port = Number(await receiver.line());
  const sender = new End(cleanup, { ...common, role: "sender", port });
  if ((await sender.line()) !== "ready") throw new Error("the sender is not ready");
  sender.go();
  const [sent, received] = [await sender.line(), await receiver.line()];
  await Promise.all([sender.end(), receiver.end()]);
  remove();
  return { sender: JSON.parse(sent) as EndResult, receiver: JSON.parse(received) as EndResult };
}

/** MiB a second, or a second of processor time. */
function ratesOf(runs: readonly Run[], seconds: (run: Run) => number): number[] {
  return runs.map((run) => rounded(given.size("bytes") / MEBIBYTE / seconds(run)));
}

const FIGURES: Readonly<Record<string, (run: Run) => number>> = {
  "sender MiB per processor second": ({ sender }) => sender.cpuSeconds,
  "receiver MiB per processor second": ({ receiver }) => receiver.cpuSeconds,
  "MiB per second": ({ sender }) => sender.seconds,
};

await withCleanup(async (cleanup) => {
  const rounds = given.number("rounds");
  const machine = await describeMachine();
  const work = await makeWorkFolder(cleanup, { parent: given.text("in"), loopBytes: undefined });
  const credentials = await credentialsOfOneAgent();
  const runs = new Map<Form, Run[]>(FORMS.map((form) => [form, []]));
  for (let round = 0; round < rounds; round++) {
    for (const form of rotated(FORMS, round)) {
      const run = await runOnce(cleanup, work, form, credentials);
      runs.get(form)?.push(run);
      const mebibytes = given.size("bytes") / MEBIBYTE;
      const rate = Math.round(mebibytes / run.sender.seconds);
      console.error(`round ${round + 1}/${rounds}  ${form}: ${rate} MiB/s`);
    }
  }
  const results = Object.entries(FIGURES).map(([unit, seconds]) => {
    const rates = (form: Form) => ratesOf(runs.get(form) ?? [], seconds);
    const targets = FORMS.map((form) => {
      return [form, { rates: rates(form), median: medianOfRounds(rates(form)) }] as const;
    });
    const compared = COMPARED.filter((pair) => pair.every((form) => FORMS.includes(form)));
    const ratios = compared.map(([of, to]) => ({ of, to, ...ratioOf(rates(of), rates(to)) }));
    return { row: "stream", unit, targets: Object.fromEntries(targets), ratios };
  });
  const settings = { rounds, bytes: given.text("bytes"), opSize: given.text("op-size") };
  printResult({ benchmark: "stream", machine, settings, results });
});

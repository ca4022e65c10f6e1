import assert from "node:assert/strict";
import { test } from "node:test";

import type { InstanceStatus } from "../agent/instance-status.ts";
import { renderBar, renderStatus, renderStatusLine } from "./render-status.ts";

const STATUS: InstanceStatus = {
  id: "0123456789ab",
  stateDirectory: "/var/lib/standin/local-0123456789ab",
  source: "/srv/mail",
  replica: "/backup/mail",
  state: "mirroring",
  protected: false,
  reasons: [{ code: "NOT_MIRRORED", message: "the first full copy is not complete" }],
  excluded: [{ code: "NESTED_MOUNT", message: "not protected: /srv/mail/tmp" }],
  processes: [
    { role: "agent", pid: 100, memoryBytes: 90_000_000, restarts: 0 },
    { role: "engine", pid: null, memoryBytes: 0, restarts: 2 },
  ],
  lsn: 1_234_567,
  appliedLsn: 1_234_000,
  lag: {
    ops: 567,
    bytes: 2_000_000,
    seconds: 0.25,
    p50Seconds: 0.01,
    p99Seconds: 0.08,
    maxSeconds: 1.5,
  },
  rates: {
    capturedOpsPerSecond: 12_345,
    capturedBytesPerSecond: 50_000_000,
    appliedOpsPerSecond: 11_000,
    appliedBytesPerSecond: 45_000_000,
  },
  queue: { bytes: 2_000_000, capacityBytes: 60_000_000, fill: 0.033, gaps: 0, opsLost: 0 },
  totals: { ops: 1_000_000, bytes: 5_000_000_000 },
  progress: {
    work: "mirror",
    filesDone: 50,
    filesTotal: 200,
    bytesDone: 1_000_000,
    bytesTotal: 4_000_000,
    percent: 25,
    etaSeconds: 90,
  },
  uptimeSeconds: 60,
};

test("renderStatus() shows every figure, and why it is not protected", () => {
  assert.equal(
    renderStatus(STATUS),
    `state        mirroring
protected    NO
             - the first full copy is not complete
source       /srv/mail
replica      /backup/mail
progress     mirror 25.0 %: 50 of 200 files, 977 KiB of 3.81 MiB, 1m 30s left
position     LSN 1234567, applied 1234000
lag          567 ops, 1.91 MiB, 250 ms
             p50 10 ms, p99 80 ms, max 1.5 s
captured     12 345 ops/s, 47.7 MiB/s
applied      11 000 ops/s, 42.9 MiB/s
queue        1.91 MiB of 57.2 MiB, 3 % full
not copied   not protected: /srv/mail/tmp
processes    agent    pid 100, 85.8 MiB
             engine   is being started, restarted 2 times
state folder /var/lib/standin/local-0123456789ab`,
  );
});

test("renderStatusLine() is one line that never says protected when it is not", () => {
  const line = renderStatusLine(STATUS);
  assert.doesNotMatch(line, /\n/);
  assert.match(line, /^mirroring, NOT protected: the first full copy is not complete; lag 567 ops/);
  assert.match(renderStatusLine({ ...STATUS, protected: true, reasons: [] }), /, protected; lag/);
});

test("renderBar() fills with the percentage", () => {
  const { progress } = STATUS;
  assert.match(renderBar(progress!), /^\[#{6}-{18}\] mirror 25.0 %/);
  assert.match(renderBar({ ...progress!, percent: 100 }), /^\[#{24}\]/);
});

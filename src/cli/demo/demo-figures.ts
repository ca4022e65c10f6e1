/** What the demo found out. Pure. */
import type { InstanceStatus } from "../../agent/instance-status.ts";
import { formatBytes, formatDurationMs } from "../../base/units.ts";
import type { DatabaseInspection, Inspection } from "./inspect-copy.ts";

export interface DemoFigures {
  /** Just before the server was lost. */
  readonly status: Pick<InstanceStatus, "totals" | "lag">;
  readonly mirrorMs: number;
  readonly enginePauseMs: number;
  /** The longest pause of an application from the mount to the end. */
  readonly pauseMs: number;
  readonly database: DatabaseInspection;
  readonly mail: Inspection;
  /** Sound, everything promised there, nothing left out. */
  readonly isIntact: boolean;
}

export function renderFigures(figures: DemoFigures): string {
  const { status, database, mail } = figures;
  const { totals, lag } = status;
  const seconds = (value: number) => formatDurationMs(value * 1000);
  const rows: [string, string][] = [
    ["changes captured", `${totals.ops}, ${formatBytes(totals.bytes)}`],
    [
      "lag of the copy",
      [
        `p50 ${seconds(lag.p50Seconds)}`,
        `p99 ${seconds(lag.p99Seconds)}`,
        `max ${seconds(lag.maxSeconds)}`,
      ].join(", "),
    ],
    ["database", inspected("rows committed", database)],
    ["", `integrity_check: ${database.integrity}`],
    ["maildir", inspected("messages delivered", mail)],
    ["longest pauses", `${formatDurationMs(figures.enginePauseMs)} when the engine was killed,`],
    ["", `${formatDurationMs(figures.pauseMs)} in all`],
  ];
  const verdict = figures.isIntact
    ? "The copy is intact: nothing that was promised is missing, nothing is torn."
    : "THE COPY IS NOT INTACT.";
  const table = rows.map(([label, value]) => `   ${label.padEnd(18)}${value}`.trimEnd());
  return `\nFigures\n${table.join("\n")}\n\n${verdict}`;
}

function inspected(what: string, inspection: Inspection): string {
  const { promised, found, missing, damaged, gaps } = inspection;
  return (
    `${promised} ${what} before the flush, ${found} found, ` +
    `${missing} missing, ${damaged} damaged, ${gaps} gaps`
  );
}

/** What the demo found out. Pure. */
import type { TargetStatus } from "../../agent/jobs/job-status.ts";
import { formatBytes, formatDurationMs } from "../../base/units.ts";
import type { DatabaseInspection, Inspection } from "./inspection.ts";

/** Of the work of one application: how much was answered as done, and how much of it is there. */
export interface Fate<T extends Inspection> {
  /** On the first server, until it was lost. */
  readonly committed: number;
  /** Of these: before a flush that succeeded. */
  readonly acknowledged: number;
  /** On the new server. */
  readonly committedAfter: number;
  readonly inspection: T;
}

export interface DemoFigures {
  /** False: both servers were on loopback addresses, and the promotion was asked for. */
  readonly isByItself: boolean;
  readonly captured: { readonly ops: number; readonly bytes: number };
  /** Just before the server was lost. */
  readonly target: TargetStatus;
  readonly mirrorMs: number;
  readonly enginePauseMs: number;
  /** The longest pause of an application from the mount until the server was lost. */
  readonly pauseMs: number;
  /** From the kill. */
  readonly promotedMs: number;
  readonly firstRowMs: number;
  readonly firstMailMs: number;
  readonly database: Fate<DatabaseInspection>;
  readonly mail: Fate<Inspection>;
}

/** What was promised and is not so, in words. */
export function brokenPromises({ database, mail }: DemoFigures): string[] {
  const broken = [...brokenBy("rows", database), ...brokenBy("messages", mail)];
  const { integrity } = database.inspection;
  if (integrity !== "ok") broken.unshift(`the database is damaged: ${integrity}`);
  return broken;
}

function brokenBy(what: string, { committedAfter, inspection }: Fate<Inspection>): string[] {
  const { missing, damaged, gaps } = inspection;
  const broken: string[] = [];
  if (missing > 0) broken.push(`${missing} ${what} are missing that were acknowledged`);
  if (damaged > 0) broken.push(`${damaged} ${what} have other contents than were written`);
  if (gaps > 0) broken.push(`${gaps} ${what} are left out before later ones`);
  if (committedAfter === 0) broken.push(`no ${what} were committed on the new server`);
  return broken;
}

export function renderFigures(figures: DemoFigures): string {
  const { captured, target, database, mail } = figures;
  const seconds = (value: number) => formatDurationMs(value * 1000);
  const rows: [string, string][] = [
    ["changes captured", `${captured.ops}, ${formatBytes(captured.bytes)}`],
    ["sent to beta", `${target.durableLsn} on its disk, ${formatBytes(target.bytesSent)}`],
    [
      "lag of the replica",
      [
        `p50 ${seconds(target.lagP50Seconds)}`,
        `p99 ${seconds(target.lagP99Seconds)}`,
        `max ${seconds(target.lagMaxSeconds)}, the first copy included`,
      ].join(", "),
    ],
    ...fateRows("database", "rows", database),
    ["", `PRAGMA integrity_check: ${database.inspection.integrity}`],
    ...fateRows("maildir", "messages", mail),
    ["longest pauses", `${formatDurationMs(figures.enginePauseMs)} when the engine was killed,`],
    ["", `${formatDurationMs(figures.pauseMs)} in all, until the server was lost`],
    [figures.isByItself ? "failover by itself" : "failover by hand", "from the kill"],
    ["", `${formatDurationMs(figures.promotedMs)} until the replica was promoted`],
    ["", `${formatDurationMs(figures.firstRowMs)} until the first row was committed on beta`],
    ["", `${formatDurationMs(figures.firstMailMs)} until the first message was delivered there`],
  ];
  const table = rows.map(([label, value]) => `   ${label.padEnd(20)}${value}`.trimEnd());
  return `\nFigures\n${table.join("\n")}`;
}

function fateRows(label: string, what: string, fate: Fate<Inspection>): [string, string][] {
  const { committed, acknowledged, committedAfter, inspection } = fate;
  const { foundOf, missing, damaged, gaps } = inspection;
  return [
    [label, `${committed} ${what} committed on alpha, ${acknowledged} acknowledged as replicated;`],
    ["", `found of alpha ${foundOf.alpha ?? 0}, of beta ${foundOf.beta ?? 0}`],
    ["", `committed on beta ${committedAfter}`],
    ["", `${missing} acknowledged ones missing, ${damaged} damaged, ${gaps} gaps`],
  ];
}

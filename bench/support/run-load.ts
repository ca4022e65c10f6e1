/** Starts a load process and takes its answer, within a time limit. */
import { join } from "node:path";

import type { LoadRequest, LoadResult } from "../load/load-request.ts";
import { runCommand } from "./run-command.ts";

const LOAD = join(import.meta.dirname, "../load/load-process.ts");
/** Preparation: a folder of 100,000 files takes a slow file system minutes. */
const PREPARATION_MS = 300_000;

export type LoadOrder = Pick<LoadRequest, "row" | "folder"> & Partial<LoadRequest>;

let runs = 0;

export async function runLoad(
  order: LoadOrder,
  preparationMs: number = PREPARATION_MS,
): Promise<LoadResult> {
  runs += 1;
  const request: LoadRequest = {
    runName: `load-${process.pid}-${runs}`,
    seconds: 1,
    fileBytes: 0,
    entries: 0,
    workers: 1,
    pace: 0,
    ...order,
  };
  const limitMs = preparationMs + request.seconds * 5000;
  try {
    const { stdout } = await runCommand(process.execPath, [LOAD, JSON.stringify(request)], {
      limitMs,
      env: { NODE_NO_WARNINGS: "1" },
    });
    return JSON.parse(stdout) as LoadResult;
  } catch (error) {
    const leftover = `${request.folder}/${request.runName}`;
    await runCommand("rm", ["-rf", leftover], { limitMs: 60_000 }).catch(() => {});
    throw error;
  }
}

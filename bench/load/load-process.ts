/**
 * One run of one row against one target, as a process of its own: the same load whatever is
 * measured. Its argument is a {@link LoadRequest} as JSON; it prints a {@link LoadResult}.
 */
import { closeSync, mkdirSync, openSync, rmSync, statfsSync } from "node:fs";

import { DATA_ROWS } from "./data-rows.ts";
import type { LoadRequest, LoadRow } from "./load-request.ts";
import { METADATA_ROWS } from "./metadata-rows.ts";
import { SQLITE_ROWS } from "./sqlite-rows.ts";
import { TREE_ROWS } from "./tree-rows.ts";
import { MAIL_ROWS } from "./varmail-row.ts";

const ROWS: Readonly<Record<string, LoadRow>> = {
  ...DATA_ROWS,
  ...METADATA_ROWS,
  ...SQLITE_ROWS,
  ...MAIL_ROWS,
  ...TREE_ROWS,
};

const request = JSON.parse(process.argv[2] ?? "{}") as LoadRequest;
const row = ROWS[request.row];
if (row === undefined) throw new Error(`no row ${request.row}`);
// Asks the server of a mount: a dead one fails here.
statfsSync(request.folder);
const workFolder = `${request.folder}/${request.runName}`;
mkdirSync(workFolder);
const folderFd = openSync(workFolder, "r");
try {
  const result = await row({ ...request, workFolder, folderFd });
  statfsSync(request.folder);
  process.stdout.write(JSON.stringify(result));
} finally {
  closeSync(folderFd);
  rmSync(workFolder, { recursive: true, force: true });
}

/**
 * The demo's mail delivery into a maildir: written and synced in tmp/, then renamed to new/, then
 * noted.
 */
import { systemClock as clock } from "../../platform/clock.ts";
import { makeFolder, renameFile, writeFileDurably } from "../../platform/files.ts";
import { scriptConfig } from "../../platform/processes.ts";
import { type ApplicationConfig, NoteBook } from "./application.ts";
import { bodyOf } from "./message-body.ts";

async function main(): Promise<void> {
  const config = scriptConfig<ApplicationConfig>();
  const notes = new NoteBook(config.notes);
  try {
    for (const name of ["tmp", "new", "cur"]) makeFolder(`${config.folder}/${name}`);
    const end =
      config.count === null ? Number.POSITIVE_INFINITY : config.firstNumber + config.count;
    for (let number = config.firstNumber; number < end; number++) {
      const name = `${number}.demo`;
      writeFileDurably(`${config.folder}/tmp/${name}`, bodyOf(number));
      renameFile(`${config.folder}/tmp/${name}`, `${config.folder}/new/${name}`);
      notes.done(number, clock.wallMs());
      if (config.pauseMs > 0) await clock.sleep(config.pauseMs);
    }
  } catch (error) {
    notes.failed((error as Error).message);
    process.exitCode = 1;
  }
}

await main();

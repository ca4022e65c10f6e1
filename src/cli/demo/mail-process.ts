/**
 * The demo's mail delivery into a maildir: written and synced in tmp/, then renamed to new/, then
 * noted.
 */
import { systemClock } from "../../platform/clock.ts";
import { listNames, makeFolder, renameFile, writeFileDurably } from "../../platform/files.ts";
import { hostName } from "../../platform/host.ts";
import { scriptConfig } from "../../platform/processes.ts";
import { type ApplicationConfig, workOn } from "./application.ts";
import { bodyOf } from "./message-body.ts";

const config = scriptConfig<ApplicationConfig>();
const { folder } = config;
await workOn(config, systemClock, () => {
  for (const name of ["tmp", "new", "cur"]) makeFolder(`${folder}/${name}`);
  const numbers = listNames(`${folder}/new`).map((name) => Number.parseInt(name, 10));
  const host = hostName();
  return {
    firstNumber: numbers.reduce((highest, number) => Math.max(highest, number), 0) + 1,
    work: (number) => {
      const name = `${number}.${host}`;
      writeFileDurably(`${folder}/tmp/${name}`, bodyOf(number));
      renameFile(`${folder}/tmp/${name}`, `${folder}/new/${name}`);
    },
  };
});

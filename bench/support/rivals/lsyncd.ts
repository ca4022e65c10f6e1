/** lsyncd, which starts an rsync for what has changed; on the other side an rsync daemon. */
import { writeFileSync } from "node:fs";

import { versionOf } from "../describe-machine.ts";
import { type Contender, folderIn, type Place, type Running, startLogged } from "./contender.ts";

const PORT = 873;

/** `delay`: seconds in which changes are gathered; undefined: as it comes. */
export function lsyncd(name: string, delay?: number): Contender {
  return {
    name,
    settings: `default.rsync to an rsync daemon, archive = true, delay ${delay ?? "15 (default)"}`,
    async version() {
      const [own, rsync] = [await versionOf("lsyncd", "-version"), await rsyncVersion()];
      return `lsyncd ${/[\d.]+\d/.exec(own)?.[0]}, rsync ${rsync}`;
    },
    start: async (place) => start(place, delay),
  };
}

async function rsyncVersion(): Promise<string> {
  return /version (\S+)/.exec(await versionOf("rsync", "--version"))?.[1] ?? "unknown";
}

function start(place: Place, delay: number | undefined): Running {
  const { stage, home, source } = place;
  const copy = folderIn(place, "copy");
  writeFileSync(`${home}/rsyncd.conf`, daemonSettings(stage.target.address, copy));
  const daemon = ["rsync", "--daemon", "--no-detach", `--config=${home}/rsyncd.conf`];
  startLogged(place, stage.target, "rsyncd", daemon);
  writeFileSync(`${home}/lsyncd.conf`, ownSettings(source, stage.target.address, delay));
  const own = ["lsyncd", "-nodaemon", "-insist", `${home}/lsyncd.conf`];
  startLogged(place, stage.source, "lsyncd", own);
  return { copy, stop: () => stage.clear() };
}

function daemonSettings(address: string, copy: string): string {
  return [
    `address = ${address}`,
    `port = ${PORT}`,
    "use chroot = no",
    "uid = root",
    "gid = root",
    "[copy]",
    `path = ${copy}`,
    "read only = no",
    "",
  ].join("\n");
}

/** Without `archive` the files would belong to root on the copy, and PostgreSQL could not run. */
function ownSettings(source: string, address: string, delay: number | undefined): string {
  const lines = [
    "sync {",
    "  default.rsync,",
    `  source = "${source}",`,
    `  target = "${address}::copy",`,
    ...(delay === undefined ? [] : [`  delay = ${delay},`]),
    "  rsync = { archive = true },",
    "}",
    "",
  ];
  return lines.join("\n");
}

/** Syncthing: an instance for each side that knows only the other one. */
import { mkdirSync, writeFileSync } from "node:fs";

import { versionOf } from "../describe-machine.ts";
import { runCommand } from "../run-command.ts";
import { type Contender, folderIn, type Place, type Running, startLogged } from "./contender.ts";
import type { Side } from "./stage.ts";

const PORT = 22000;
const FOLDER = "bench";
/** As it comes; the smallest that this release takes is 1. */
const DELAY_DEFAULT = 10;

/** `delay`: seconds in which changes are gathered (fsWatcherDelayS). */
export function syncthing(name: string, delay: number = DELAY_DEFAULT): Contender {
  return {
    name,
    settings:
      "send only to receive only, owner from the parent folder, no discovery, relays, NAT, QUIC, " +
      `usage reports or upgrades; fsWatcherDelayS ${delay}` +
      (delay === DELAY_DEFAULT ? " (default)" : ""),
    version: async () => (await versionOf("syncthing", "--version")).split(" (")[0] as string,
    start: (place) => start(place, delay),
  };
}

interface End {
  readonly side: Side;
  readonly home: string;
  readonly folder: string;
  readonly type: "sendonly" | "receiveonly";
  readonly id: string;
}

async function start(place: Place, delay: number): Promise<Running> {
  const { stage, source } = place;
  const copy = folderIn(place, "copy");
  const target = await prepare(place, stage.target, copy, "receiveonly");
  const sender = await prepare(place, stage.source, source, "sendonly");
  for (const [end, peer] of [
    [target, sender],
    [sender, target],
  ] as const) {
    writeFileSync(`${end.home}/config.xml`, settingsOf(end, peer, delay), { mode: 0o600 });
    // What marks a folder as present; else an empty one would look like everything deleted.
    mkdirSync(`${end.folder}/.stfolder`, { recursive: true });
    const quiet = ["--no-browser", "--no-restart", "--no-upgrade", "--no-default-folder"];
    const command = ["syncthing", "serve", `--home=${end.home}`, ...quiet];
    startLogged(place, end.side, end.type, ["env", "STNOUPGRADE=1", ...command]);
  }
  const stop = async () => {
    await stage.clear();
    await runCommand("rm", ["-rf", `${source}/.stfolder`]);
  };
  return { copy, stop };
}

async function prepare(place: Place, side: Side, folder: string, type: End["type"]): Promise<End> {
  const home = folderIn(place, `home-${type}`);
  await runCommand("syncthing", ["generate", `--home=${home}`, "--no-default-folder"]);
  const { stdout } = await runCommand("syncthing", ["serve", `--home=${home}`, "--device-id"]);
  return { side, home, folder, type, id: stdout.trim() };
}

function settingsOf(own: End, peer: End, delay: number): string {
  const device = ({ id, side }: End, name: string) =>
    `<device id="${id}" name="${name}" compression="metadata">` +
    `<address>tcp://${side.address}:${PORT}</address></device>`;
  const options: Readonly<Record<string, string | number | boolean>> = {
    listenAddress: `tcp://${own.side.address}:${PORT}`,
    globalAnnounceEnabled: false,
    localAnnounceEnabled: false,
    relaysEnabled: false,
    natEnabled: false,
    startBrowser: false,
    urAccepted: -1,
    autoUpgradeIntervalH: 0,
    crashReportingEnabled: false,
    announceLANAddresses: false,
    reconnectionIntervalS: 5,
    stunKeepaliveStartS: 0,
  };
  const listed = Object.entries(options).map(([name, value]) => `<${name}>${value}</${name}>`);
  return [
    '<configuration version="36">',
    `<folder id="${FOLDER}" path="${own.folder}" type="${own.type}" rescanIntervalS="3600"`,
    `  fsWatcherEnabled="true" fsWatcherDelayS="${delay}" ignorePerms="false">`,
    "  <filesystemType>basic</filesystemType>",
    `  <device id="${own.id}"></device><device id="${peer.id}"></device>`,
    `  <copyOwnershipFromParent>${own.type === "receiveonly"}</copyOwnershipFromParent>`,
    "</folder>",
    device(own, "own"),
    device(peer, "peer"),
    '<gui enabled="false"></gui>',
    `<options>${listed.join("")}</options>`,
    "</configuration>",
    "",
  ].join("\n");
}

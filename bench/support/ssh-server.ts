/** An sshd of its own on loopback, for what is compared over the network. Needs openssh-server. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";

import { systemClock } from "../../src/platform/clock.ts";
import { freePort } from "../../test/support/free-port.ts";
import type { Cleanup } from "./cleanup.ts";
import { runCommand } from "./run-command.ts";

const SSHD = "/usr/sbin/sshd";
const START_MS = 10_000;

/** Starts it; the command line that reaches it as this user, for `rsync -e`. */
export async function startSshServer(cleanup: Cleanup): Promise<string> {
  if (!existsSync(SSHD)) throw new Error("no sshd: install openssh-server (Debian's package)");
  const home = mkdtempSync("/tmp/standin-bench-ssh-");
  cleanup.add(`remove ${home}`, () => rmSync(home, { recursive: true, force: true }));
  for (const key of ["host", "user"]) {
    await runCommand("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", `${home}/${key}`]);
  }
  const port = await freePort();
  mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
  const settings = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${home}/host`,
    `AuthorizedKeysFile ${home}/user.pub`,
    "PasswordAuthentication no",
    "PermitRootLogin prohibit-password",
    "StrictModes no",
    "UsePAM no",
    "PidFile none",
  ];
  writeFileSync(`${home}/config`, `${settings.join("\n")}\n`);
  const server = spawn(SSHD, ["-D", "-e", "-f", `${home}/config`], { stdio: "ignore" });
  cleanup.add("end sshd", () => void server.kill("SIGTERM"));
  const deadline = performance.now() + START_MS;
  while (!(await answers(port))) {
    if (performance.now() > deadline) throw new Error("sshd does not answer");
    await systemClock.sleep(50);
  }
  const known = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"];
  return `ssh -F none -i ${home}/user -p ${port} ${known.map((text) => `-o ${text}`).join(" ")}`;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const settle = (isThere: boolean) => {
      socket.destroy();
      resolve(isThere);
    };
    socket.once("connect", () => settle(true)).once("error", () => settle(false));
  });
}

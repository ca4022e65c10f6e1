/** The machine around an instance: commands of the system, and machines that lack something. */
import { type SpawnSyncReturns, spawnSync } from "node:child_process";

const COMMAND_TIMEOUT_MS = 60_000;

export function bounded(command: string, ...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(command, args, { encoding: "utf8", timeout: COMMAND_TIMEOUT_MS });
}

/**
 * A command that runs another in a mount namespace whose /dev has no fuse. Below `folder` it needs
 * a place for that /dev.
 */
export function withoutFuseDevice(folder: string): string[] {
  const script = [
    'dev=$1; shift; mkdir "$dev"',
    'mount -t tmpfs tmpfs "$dev"',
    'for name in null zero full random urandom tty; do cp -a "/dev/$name" "$dev"; done',
    'mkdir "$dev/shm"; mount --bind /dev/shm "$dev/shm"',
    'ln -s /proc/self/fd "$dev/fd"',
    'mount --rbind "$dev" /dev',
    'exec "$@"',
  ].join("\n");
  const inside = ["sh", "-ec", script, "sh", `${folder}/dev`];
  return ["unshare", "--mount", "--propagation", "private", ...inside];
}

/** What happens to an instance, in a line of text. Pure. */
import type { FileUser, LocalEvent } from "../agent/local-options.ts";

export function renderEvent(event: LocalEvent): string {
  switch (event.event) {
    case "mounted":
      return event.adopted
        ? `${event.source} is still mounted; going on where the last agent stopped`
        : `${event.source} is mounted: every change is captured from here on`;
    case "mirroring":
    case "resyncing":
      return `${event.event}: ${event.why}`;
    case "mirrored":
      return "the copy is complete; every change is applied from here on";
    case "resynced":
      return "the copy was compared and repaired; it is complete again";
    case "lost":
    case "draining":
    case "warning":
      return event.message;
    case "restarted":
      return `the ${event.role} died and is started again`;
    case "busy":
      return `the folder is in use by ${renderUsers(event.users)}; waiting for them`;
    case "stopped":
      return renderStopped(event);
    default:
      return JSON.stringify(event);
  }
}

export function renderUsers(users: readonly FileUser[]): string {
  if (users.length === 0) return "processes that cannot be seen from here";
  return users.map(({ pid, command, path }) => `${command} (pid ${pid}: ${path})`).join(", ");
}

function renderStopped(event: Record<string, unknown>): string {
  const users = event.users as readonly FileUser[];
  const still =
    users.length === 0
      ? ""
      : `\nfiles that were open stay usable, uncaptured, for ${renderUsers(users)}`;
  if (event.drained === true) return `stopped; the copy is complete up to LSN ${event.lsn}${still}`;
  return (
    `stopped; the copy is complete up to LSN ${event.appliedLsn}, ` +
    `the rest up to ${event.lsn} waits in memory for the next start${still}`
  );
}

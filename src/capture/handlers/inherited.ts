/**
 * What a new node has from its directory is recorded behind its creation, under the same lock: the
 * replica's directory may be another one at that moment, and its file system have other ways.
 */
import { close, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } from "../../platform/libc.ts";
import { Given } from "../inheritance.ts";
import type { WorkerContext } from "../worker-context.ts";
import { FLAGS_OP_BYTES, givesFlags, recordFlags } from "./ioctl.ts";
import { hasDefaultAcl, recordAcls } from "./xattr.ts";

/** Two ACLs with their names, as long as file systems let them be. */
const ACLS_BYTES = 16_384;
/** What {@link recordInherited} writes at most. */
export const INHERITED_BYTES: number = ACLS_BYTES + FLAGS_OP_BYTES;

/** `statx` is the new node. */
export function recordInherited(
  context: WorkerContext,
  made: { readonly parent: number; readonly ino: number },
): void {
  const { inheritance, statx } = context;
  let given = inheritance.known(made.parent);
  if (given === undefined) {
    given = givenBy(context, made.parent);
    inheritance.learn(made.parent, given);
  }
  if (given === Given.nothing) return;
  if (statx.isDirectory) inheritance.changed();
  if ((given & Given.acl) !== 0) recordAcls(context, made.ino);
  if ((given & Given.flags) !== 0) recordFlagsOf(context, made.ino);
}

function givenBy(context: WorkerContext, parent: number): number {
  const { beneath } = context;
  const acl = hasDefaultAcl(context, parent) ? Given.acl : Given.nothing;
  const fd = beneath.open(parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  // One that cannot be looked at may give some.
  const flags = fd < 0 || givesFlags(context, fd) ? Given.flags : Given.nothing;
  if (fd >= 0) close(fd);
  return acl | flags;
}

/** Only files and directories have some. */
function recordFlagsOf(context: WorkerContext, ino: number): void {
  const { beneath, statx } = context;
  if (!statx.isRegular && !statx.isDirectory) return;
  const fd = beneath.open(ino, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return;
  recordFlags(context, ino, fd);
  close(fd);
}

/** Acting on files as somebody else, on the calling thread alone. */
import { prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, setfsgid, setfsuid } from "./libc.ts";

let keepsCapabilities = false;

/**
 * Does `work`, whose new files belong to this owner and group. The thread keeps its capabilities:
 * what it may do does not change.
 */
export function actAs(uid: number, gid: number, work: () => number): number {
  if (uid === 0 && gid === 0) return work();
  if (!keepsCapabilities) {
    const result = prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP);
    if (result < 0) return work(); // not root: the owner is changed afterwards, or cannot be
    keepsCapabilities = true;
  }
  setfsgid(gid);
  setfsuid(uid);
  try {
    return work();
  } finally {
    setfsuid(0);
    setfsgid(0);
  }
}

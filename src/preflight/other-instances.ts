import { isAtOrBelow } from "../platform/mount-table.ts";
import type { Check, Finding, OtherInstance } from "./check.ts";

export const otherInstancesCheck: Check = {
  id: "other-instances",
  reads: "the running instances in /run/standin, and the mounts of type fuse.standin",
  run({ source, replica }, { otherInstances, mountTable }): Finding[] {
    const findings: Finding[] = [];
    for (const other of otherInstances) {
      if (overlaps(source, other.source)) findings.push(twice(source, other));
      else if (other.replica !== null && overlaps(replica, other.replica))
        findings.push(sameReplica(replica, other));
    }
    if (findings.length > 0) return findings;
    const mount = mountTable.findLast(({ path, type }) => {
      return type === "fuse.standin" && overlaps(path, source);
    });
    return mount === undefined ? [] : [mountedAlready(mount.path)];
  },
};

function overlaps(a: string, b: string): boolean {
  return isAtOrBelow(a, b) || isAtOrBelow(b, a);
}

function twice(source: string, other: OtherInstance): Finding {
  return {
    level: "error",
    code: "ALREADY_PROTECTED",
    message: `${source} is already protected: ${other.source} is, by pid ${other.pid}`,
    hint:
      other.replica === null
        ? "It is a folder of a job: look at it with standin jobs."
        : `Look at it with standin status --state ${other.stateDirectory}`,
  };
}

function sameReplica(replica: string, other: OtherInstance): Finding {
  return {
    level: "error",
    code: "REPLICA_IN_USE",
    message: `${replica} holds the copy of ${other.source} (pid ${other.pid})`,
    hint: "Choose another folder for this copy.",
  };
}

function mountedAlready(path: string): Finding {
  return {
    level: "error",
    code: "ALREADY_MOUNTED",
    message: `${path} is mounted by an instance of Standin that is not known here`,
    hint: `Start with the state folder of that instance (--state), or unmount it: umount ${path}`,
  };
}

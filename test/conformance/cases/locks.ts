/** Locks within one process; what blocks is in the test of the mount itself. */
import { closeSync, openSync, writeFileSync } from "node:fs";
import {
  F_GETLK,
  F_OFD_SETLK,
  F_RDLCK,
  F_SETLK,
  F_UNLCK,
  F_WRLCK,
  flock,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  LOCK_UN,
  recordLock,
} from "../../support/more-calls.ts";
import { attempt, type Cases } from "../case.ts";

export const lockCases: Cases = {
  flock: {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "");
      const [a, b, c] = ["r", "r+", "r"].map((flags) => openSync(d.at("f"), flags)) as [
        number,
        number,
        number,
      ];
      const lock = (fd: number, operation: number) => attempt(() => flock(fd, operation));
      const results = [
        lock(a, LOCK_SH | LOCK_NB),
        lock(b, LOCK_SH | LOCK_NB),
        lock(c, LOCK_EX | LOCK_NB),
        lock(a, LOCK_UN),
        lock(b, LOCK_EX | LOCK_NB),
        lock(a, LOCK_SH | LOCK_NB),
      ];
      closeSync(b);
      results.push(lock(c, LOCK_EX | LOCK_NB), lock(a, LOCK_EX | LOCK_NB));
      closeSync(a);
      closeSync(c);
      return results;
    },
  },
  "fcntl: record locks of open file descriptions": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "x".repeat(100));
      const [a, b, r] = ["r+", "r+", "r"].map((flags) => openSync(d.at("f"), flags)) as [
        number,
        number,
        number,
      ];
      const set = (fd: number, type: number, start: number, length: number) =>
        attempt(() => recordLock(fd, F_OFD_SETLK, { type, start, length }));
      const results = [
        set(a, F_WRLCK, 0, 10),
        set(b, F_WRLCK, 5, 10),
        set(b, F_WRLCK, 10, 10),
        set(b, F_RDLCK, 0, 10),
        set(a, F_RDLCK, 0, 10),
        set(b, F_RDLCK, 0, 10),
        set(a, F_WRLCK, 0, 10),
        set(r, F_WRLCK, 50, 1),
        set(r, F_RDLCK, 50, 1),
        set(b, F_UNLCK, 0, 0),
        set(a, F_WRLCK, 0, 0),
        set(a, F_WRLCK, -1, 10),
      ];
      for (const fd of [a, b, r]) closeSync(fd);
      return results;
    },
  },
  "fcntl: record locks of the process": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "x");
      const fd = openSync(d.at("f"), "r+");
      const lock = { type: F_WRLCK, start: 0, length: 10 };
      const results = [
        attempt(() => recordLock(fd, F_SETLK, lock)),
        // A process is not in its own way.
        attempt(() => recordLock(fd, F_GETLK, lock)),
        attempt(() => recordLock(fd, F_SETLK, { ...lock, type: F_UNLCK })),
      ];
      closeSync(fd);
      return results;
    },
  },
};

/**
 * An application that writes to two folders in turns: `node alternating-writer.ts A B`. For n = 1,
 * 2, …: n to A/counter, then n to B/counter; for some n also a file of that name, behind the
 * counter in each. Now and then it syncs in between. Runs until it is killed or a write fails.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from "node:fs";
import { MARK_EVERY, SYNC_EVERY } from "./alternating-order.ts";

const [a = "", b = ""] = process.argv.slice(2);
const folders = [a, b].map((path) => {
  mkdirSync(path, { recursive: true });
  return { path, fd: openSync(`${path}/counter`, "w") };
});

for (let n = 1; ; n++) {
  for (const { path, fd } of folders) {
    writeSync(fd, String(n).padStart(16), 0);
    if (n % SYNC_EVERY === 0) fsyncSync(fd);
    if (n % MARK_EVERY === 0) closeSync(openSync(`${path}/${n}`, "wx"));
  }
}

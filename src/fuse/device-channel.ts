/** The way to the kernel through a descriptor of /dev/fuse. */
import { isReadable, readAt, writeAt } from "../platform/native.ts";
import type { Channel } from "./session.ts";

const SPIN = Number(process.env.STANDIN_SPIN ?? "0");
export function deviceChannel(fd: number): Channel {
  let misses = 0;
  return {
    receive: (address, room) => {
      if (SPIN > 0 && misses < 4) {
        let found = false;
        for (let i = 0; i < SPIN; i++)
          if (isReadable(fd)) {
            found = true;
            break;
          }
        misses = found ? 0 : misses + 1;
        if (!found) {
          const got = readAt(fd, address, room);
          return got;
        }
      } else if (SPIN > 0 && ++misses > 64) misses = 3;
      return readAt(fd, address, room);
    },
    send: (address, length) => writeAt(fd, address, length),
  };
}

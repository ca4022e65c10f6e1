/** The way to the kernel through a descriptor of /dev/fuse. */
import { readAt, writeAt } from "../platform/native.ts";
import type { Channel } from "./session.ts";

export function deviceChannel(fd: number): Channel {
  return {
    receive: (address, room) => readAt(fd, address, room),
    send: (address, length) => writeAt(fd, address, length),
  };
}

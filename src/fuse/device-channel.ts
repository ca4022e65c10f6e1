/** The way to the kernel through a descriptor of /dev/fuse. */
import { allocateNative, readAt, writeAt } from "../platform/native.ts";
import { OUT_HEADER_BYTES } from "./abi.ts";
import type { Channel } from "./session.ts";

export function deviceChannel(fd: number): Channel {
  return {
    receive: (address, room) => readAt(fd, address, room),
    send: (address, length) => writeAt(fd, address, length),
  };
}

/**
 * For who answers a request that another worker has received, with 0 or `-errno` and nothing more.
 * Makes a function, to be called often.
 */
export function answererOf(
  fd: number,
): (uniqueLow: number, uniqueHigh: number, result: number) => void {
  const { address, view } = allocateNative(OUT_HEADER_BYTES);
  return (uniqueLow, uniqueHigh, result) => {
    view.setUint32(0, OUT_HEADER_BYTES, true);
    view.setInt32(4, result, true);
    view.setUint32(8, uniqueLow, true);
    view.setUint32(12, uniqueHigh, true);
    // It fails when nobody waits any more: the caller was interrupted, or the mount is gone.
    writeAt(fd, address, OUT_HEADER_BYTES);
  };
}

/** Memory that begins at a page's start, which files opened with O_DIRECT ask for. */
import koffi from "koffi";

import { PAGE_BYTES } from "../base/bytes.ts";

const libc = koffi.load("libc.so.6");
/** With a length of 0 it only returns the address that it was given. */
const addressOf_ = libc.func("int64_t memset(void*, int, size_t)");

/** Where pages begin in a buffer that {@link pageMemory} made. Buffers of this size do not move. */
const pagesAt = new WeakMap<ArrayBufferLike, number>();

/** `length` bytes that hold anything and begin at a page's start. */
export function pageMemory(length: number): Uint8Array<ArrayBuffer> {
  const memory = Buffer.allocUnsafeSlow(length + PAGE_BYTES);
  const behind = Number(addressOf_(memory, 0, 0)) % PAGE_BYTES;
  const start = behind === 0 ? 0 : PAGE_BYTES - behind;
  const buffer = memory.buffer;
  pagesAt.set(buffer, start);
  return new Uint8Array(buffer, start, length);
}

/** True for whole pages of what {@link pageMemory} made. */
export function isWholePages({ buffer, byteOffset, length }: Uint8Array): boolean {
  const start = pagesAt.get(buffer);
  if (start === undefined || length % PAGE_BYTES !== 0) return false;
  return (byteOffset - start) % PAGE_BYTES === 0;
}

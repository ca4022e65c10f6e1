/** Whether a file system names its files by handles (`name_to_handle_at(2)`). */
import koffi from "koffi";

const libc = koffi.load("libc.so.6");
const nameToHandleAt = libc.func("int name_to_handle_at(int, const char*, void*, void*, int)");

const AT_FDCWD = -100;
const HANDLE_BYTES_MAX = 128;

export function supportsFileHandles(path: string): boolean {
  const handle = Buffer.alloc(8 + HANDLE_BYTES_MAX);
  handle.writeUInt32LE(HANDLE_BYTES_MAX, 0);
  return nameToHandleAt(AT_FDCWD, path, handle, Buffer.alloc(4), 0) === 0;
}

/**
 * `umount2(2)` off the main thread. Unmounting writes back what the applications mapped, and that
 * needs a server for the file system: a keeper that waited for it in the call could not restart an
 * engine that dies meanwhile.
 */
import koffi from "koffi";

const libc = koffi.load("libc.so.6");
const umount2 = libc.func("int umount2(const char*, int)");

const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

/**
 * False when the kernel refused: the mount is in use, or there is none. (Which of them can be read
 * in mountinfo; errno stays in the thread that made the call.)
 */
export function unmount(path: string, options: { readonly lazy: boolean }): Promise<boolean> {
  const flags = UMOUNT_NOFOLLOW | (options.lazy ? MNT_DETACH : 0);
  return new Promise((resolve, reject) => {
    umount2.async(path, flags, (error: Error | null, result: number) => {
      if (error === null) resolve(result === 0);
      else reject(error);
    });
  });
}

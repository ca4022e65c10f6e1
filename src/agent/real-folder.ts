import { StandinError } from "../base/errors.ts";
import { fileIdentity, realPath } from "../platform/files.ts";

/** `what` names the folder in messages. @throws {StandinError} `NO_SOURCE`, `NOT_A_DIRECTORY` */
export function realFolder(
  path: string,
  what: string,
): { readonly path: string; readonly inode: number } {
  try {
    const real = realPath(path);
    const { inode, isDirectory } = fileIdentity(real);
    if (isDirectory) return { path: real, inode };
  } catch (cause) {
    throw new StandinError("NO_SOURCE", `${what} cannot be read: ${(cause as Error).message}`, {
      hint: "Name an existing directory.",
      cause,
    });
  }
  throw new StandinError("NOT_A_DIRECTORY", `${what} is not a directory: ${path}`, {
    hint: "Name the directory that holds the files; single files cannot be protected.",
  });
}

/** Files at the longest path that the kernel takes in one call. */
import { mkdirSync, writeFileSync } from "node:fs";

/** PATH_MAX without the NUL. */
const PATH_BYTES_MAX = 4095;
const NAME_BYTES_MAX = 200;

/** A path of exactly 4,095 bytes below `root`; `name` makes it differ from others. */
export function deepFile(root: string, name: string): string {
  let path = `${root}/${name}`;
  while (PATH_BYTES_MAX - path.length > NAME_BYTES_MAX + 2) {
    path += `/${"d".repeat(NAME_BYTES_MAX)}`;
  }
  return `${path}/${"f".repeat(PATH_BYTES_MAX - path.length - 1)}`;
}

export function makeDeepFile(root: string, name: string, content: string): void {
  const path = deepFile(root, name);
  mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  writeFileSync(path, content);
}

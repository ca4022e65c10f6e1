/** `mount --bind`: one folder under a second path. */
import { StandinError } from "../base/errors.ts";
import { mount } from "./libc.ts";

const MS_BIND = 4096;

/** @throws {StandinError} `BIND_FAILED` */
export function bindMount(folder: string, path: string): void {
  const result = mount(folder, path, "none", MS_BIND, "");
  if (result === 0) return;
  throw new StandinError("BIND_FAILED", `${folder} cannot be shown at ${path}: errno ${-result}`, {
    hint: `Try it by hand, which may say why: mount --bind ${folder} ${path}`,
  });
}

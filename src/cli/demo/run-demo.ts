import { StandinError } from "../../base/errors.ts";

export function runDemo(_options: object): Promise<number> {
  throw new StandinError("NO_DEMO", "the demo is not part of this version");
}

/** What the receiving end of a job says when it cannot do what it is asked for. */
import { StandinError } from "../../base/errors.ts";
import type { TargetRecord } from "./target-record.ts";

/** Of what a source meets while it connects. */
export const ITSELF = "Nothing is to be done: it is tried again by itself.";

export function stopped(): StandinError {
  return new StandinError("JOB_STOPPED", "the job is being stopped", { hint: ITSELF });
}

export function notComplete(name: string, due: string): StandinError {
  const what = due === "mirror" ? "its first full copy was never complete" : "a resync is due";
  return new StandinError("NOT_COMPLETE", `the replica of ${name} is not complete: ${what}`, {
    hint: "Let it become complete, or take it as it is with --force: files may be missing or torn.",
  });
}

/** Somebody else speaks for the job; `hint`: what he is to do. */
export function notTheSource({ name, source }: TargetRecord, hint: string): StandinError {
  return new StandinError("NOT_THE_SOURCE", `job ${name} is sent by ${source.name} alone`, {
    hint,
  });
}

/** When a certificate is renewed: early enough that weeks of trouble cost nothing. */
import type { Validity } from "./certificate.ts";

/** The instant at which two thirds of the lifetime are over, in milliseconds since 1970. */
export function renewalDueMs({ startMs, endMs }: Validity): number {
  return startMs + ((endMs - startMs) * 2) / 3;
}

export function isRenewalDue(validity: Validity, nowMs: number): boolean {
  return nowMs >= renewalDueMs(validity);
}

/** What a kernel's FUSE can do, by its release. Pure. */

/** The first kernel that repeats unanswered requests to a new engine (FUSE_NOTIFY_RESEND). */
export const RESEND_SINCE = { major: 6, minor: 9 } as const;

/** `release` as uname(2) gives it, such as `6.18.0-1-amd64`. */
export function canResend(release: string): boolean {
  const [major = 0, minor = 0] = release.split(/[.-]/).map(Number);
  return (
    major > RESEND_SINCE.major || (major === RESEND_SINCE.major && minor >= RESEND_SINCE.minor)
  );
}

/** The time of the week where this machine is, as its time zone has it at each instant. */

const DAYS = 7;
const DAY_MINUTES = 24 * 60;

/** Minutes since Monday, 00:00. `wallMs`: milliseconds since 1970. */
export function localWeekMinute(wallMs: number): number {
  const date = new Date(wallMs);
  const daysSinceMonday = (date.getDay() + DAYS - 1) % DAYS;
  return daysSinceMonday * DAY_MINUTES + date.getHours() * 60 + date.getMinutes();
}

/**
 * Gives the event loop a turn: what came in meanwhile (commands on stdin) is handled before the
 * promise settles.
 */
import { setImmediate as immediate } from "node:timers/promises";

export async function nextTurn(): Promise<void> {
  await immediate();
}

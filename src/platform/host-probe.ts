/** Whether another machine shows any sign of life. */
import { connect } from "node:net";

/** What the network stack of a living machine answers when nobody listens. */
const ANSWERS: ReadonlySet<string | undefined> = new Set(["ECONNREFUSED", "ECONNRESET"]);

/**
 * True when the host answers at the address within `timeoutMs`, be it with a refusal: then the
 * machine lives, whatever became of the process that listened there.
 */
export function hostAnswers(
  host: string,
  port: number,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, ...(signal === undefined ? {} : { signal }) });
    const end = (answers: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answers);
    };
    const timer = setTimeout(() => end(false), timeoutMs);
    socket.once("connect", () => end(true));
    socket.once("error", (error: NodeJS.ErrnoException) => end(ANSWERS.has(error.code)));
  });
}

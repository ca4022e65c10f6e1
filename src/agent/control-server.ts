/** Answers commands of other shells at the instance's control socket. */
import { StandinError } from "../base/errors.ts";
import { JsonLineParser } from "../platform/json-lines.ts";
import { listenAt, type Socket, type SocketServer } from "../platform/unix-socket.ts";
import {
  type ControlAnswer,
  type ControlErrorBody,
  type ControlRequest,
  checkRequest,
} from "./control-protocol.ts";

/**
 * Does one request; `progress` may be called while it runs, `signal` is aborted when the asker is
 * gone.
 */
export type ControlHandler = (
  request: ControlRequest,
  progress: (value: unknown) => void,
  signal: AbortSignal,
) => Promise<unknown>;

export class ControlServer {
  readonly #server: SocketServer;

  private constructor(server: SocketServer) {
    this.#server = server;
  }

  static async listen(path: string, handler: ControlHandler): Promise<ControlServer> {
    return new ControlServer(await listenAt(path, (socket) => serve(socket, handler)));
  }

  close(): Promise<void> {
    return this.#server.close();
  }
}

function serve(socket: Socket, handler: ControlHandler): void {
  const gone = new AbortController();
  socket.once("close", () => gone.abort());
  const send = (answer: ControlAnswer): void => {
    if (socket.writable) socket.write(`${JSON.stringify(answer)}\n`);
  };
  const parser = new JsonLineParser(
    (value) => void answer(value, handler, send, gone.signal),
    () => socket.destroy(),
  );
  socket.on("data", (chunk: Buffer) => parser.push(chunk));
}

async function answer(
  value: Record<string, unknown>,
  handler: ControlHandler,
  send: (answer: ControlAnswer) => void,
  signal: AbortSignal,
): Promise<void> {
  const id = typeof value["id"] === "number" ? value["id"] : 0;
  const wrong = checkRequest(value);
  if (wrong !== undefined) return send({ id, error: { code: "BAD_REQUEST", message: wrong } });
  try {
    const request = value as unknown as ControlRequest;
    const result = await handler(request, (progress) => send({ id, progress }), signal);
    send({ id, result });
  } catch (error) {
    send({ id, error: errorBody(error) });
  }
}

function errorBody(error: unknown): ControlErrorBody {
  if (!(error instanceof StandinError)) return { code: "INTERNAL", message: String(error) };
  const { code, message, hint } = error;
  return { code, message, ...(hint === undefined ? {} : { hint }) };
}

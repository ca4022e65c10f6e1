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
export type ControlHandler<Request = ControlRequest> = (
  request: Request,
  progress: (value: unknown) => void,
  signal: AbortSignal,
) => Promise<unknown>;

export class ControlServer {
  readonly #server: SocketServer;

  private constructor(server: SocketServer) {
    this.#server = server;
  }

  static listen(path: string, handler: ControlHandler): Promise<ControlServer> {
    return ControlServer.listenFor(path, handler, checkRequest);
  }

  /** For requests of another kind; `check` says what is wrong with one, or nothing. */
  static async listenFor<Request>(
    path: string,
    handler: ControlHandler<Request>,
    check: (value: Record<string, unknown>) => string | undefined,
  ): Promise<ControlServer> {
    return new ControlServer(await listenAt(path, (socket) => serve(socket, handler, check)));
  }

  close(): Promise<void> {
    return this.#server.close();
  }
}

function serve<Request>(
  socket: Socket,
  handler: ControlHandler<Request>,
  check: (value: Record<string, unknown>) => string | undefined,
): void {
  const gone = new AbortController();
  socket.once("close", () => gone.abort());
  const send = (answer: ControlAnswer): void => {
    if (socket.writable) socket.write(`${JSON.stringify(answer)}\n`);
  };
  const parser = new JsonLineParser(
    (value) => {
      const wrong = check(value);
      if (wrong === undefined) void answer(value, handler, send, gone.signal);
      else send({ id: idOf(value), error: { code: "BAD_REQUEST", message: wrong } });
    },
    () => socket.destroy(),
  );
  socket.on("data", (chunk: Buffer) => parser.push(chunk));
}

function idOf(value: Record<string, unknown>): number {
  return typeof value.id === "number" ? value.id : 0;
}

async function answer<Request>(
  value: Record<string, unknown>,
  handler: ControlHandler<Request>,
  send: (answer: ControlAnswer) => void,
  signal: AbortSignal,
): Promise<void> {
  const id = idOf(value);
  try {
    const request = value as unknown as Request;
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

/** The asking side of the control socket. */
import { StandinError } from "../base/errors.ts";
import { JsonLineParser } from "../platform/json-lines.ts";
import { connectTo, type Socket } from "../platform/unix-socket.ts";
import type { ControlErrorBody, ControlRequest } from "./control-protocol.ts";

type WithoutId<T> = T extends unknown ? Omit<T, "id"> : never;

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly onProgress: (value: unknown) => void;
}

/** What to tell the operator when nobody answers. */
export interface ControlHints {
  readonly notRunning: string;
  readonly gone: string;
}

const LOCAL_HINTS: ControlHints = {
  notRunning: "Start it with standin local SOURCE REPLICA; it goes on where the last one stopped.",
  gone: "Start standin local again with the same folders; it goes on where it stopped.",
};

/** `Request` is what the server takes, without the id, which is ours. */
export class ControlClient<Request extends object = WithoutId<ControlRequest>> {
  readonly #socket: Socket;
  readonly #hints: ControlHints;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;

  private constructor(socket: Socket, hints: ControlHints) {
    this.#socket = socket;
    this.#hints = hints;
    const parser = new JsonLineParser((value) => this.#onAnswer(value));
    socket.on("data", (chunk: Buffer) => parser.push(chunk));
    socket.on("error", () => {}); // "close" follows
    socket.once("close", () => this.#onClose());
  }

  /** @throws {StandinError} `NOT_RUNNING` when nobody listens. */
  static async connect<Request extends object = WithoutId<ControlRequest>>(
    socketPath: string,
    hints: ControlHints = LOCAL_HINTS,
  ): Promise<ControlClient<Request>> {
    try {
      return new ControlClient<Request>(await connectTo(socketPath), hints);
    } catch (cause) {
      throw new StandinError("NOT_RUNNING", `no agent listens at ${socketPath}`, {
        hint: hints.notRunning,
        cause,
      });
    }
  }

  /** @throws {StandinError} what the agent answered. */
  request(request: Request, onProgress: (value: unknown) => void = () => {}): Promise<unknown> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, onProgress });
      this.#socket.write(`${JSON.stringify({ ...request, id })}\n`);
    });
  }

  close(): void {
    this.#socket.end();
  }

  #onAnswer(value: Record<string, unknown>): void {
    const id = Number(value.id);
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    if ("progress" in value) {
      waiting.onProgress(value.progress);
      return;
    }
    this.#waiting.delete(id);
    if (value.error === undefined) waiting.resolve(value.result);
    else waiting.reject(answeredError(value.error as ControlErrorBody));
  }

  #onClose(): void {
    for (const { reject } of this.#waiting.values()) {
      reject(
        new StandinError("AGENT_GONE", "the agent ended before it answered", {
          hint: this.#hints.gone,
        }),
      );
    }
    this.#waiting.clear();
  }
}

function answeredError({ code, message, hint }: ControlErrorBody): StandinError {
  return new StandinError(code, message, hint === undefined ? {} : { hint });
}

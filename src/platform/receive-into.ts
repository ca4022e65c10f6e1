/**
 * Has what comes from a socket written straight to memory of ours: no buffer for each piece, whose
 * making and collecting costs as much as TLS itself, and no copy from there.
 *
 * Node has this for connections that it opens, as the documented option `onread` of `net.connect`
 * and `tls.connect`, and not for those that it accepts, although all that the option does is to set
 * three fields and to call one method. They are set here. Where this Node has them no more nothing
 * is done, and the caller takes "data" as of any stream.
 */
import type { Duplex } from "node:stream";

export interface Receiving {
  /** Memory for what comes next. Undefined: nobody wants it, and it is thrown away. */
  readonly room: () => Uint8Array | undefined;
  /** So many bytes have come to the beginning of what `room` returned last. Must not throw. */
  readonly onFilled: (count: number) => void;
}

/** With an empty piece of memory Node would ask for ever, also behind the end of a connection. */
const unwanted = new Uint8Array(1 << 14);

type Fields = Record<symbol, unknown>;

interface Handle {
  readonly useUserBuffer?: (memory: Uint8Array) => void;
}

/**
 * From now on `socket` emits no "data"; what it had read before must have been taken by `read`.
 * False: that cannot be done with this socket, and nothing was changed.
 */
export function receiveInto(socket: Duplex, { room, onFilled }: Receiving): boolean {
  const handle = (socket as { _handle?: Handle | null })._handle;
  const [memoryAt, roomAt, filledAt] = FIELD_NAMES.map((name) => fieldOf(socket, name));
  if (memoryAt === undefined || roomAt === undefined || filledAt === undefined) return false;
  if (typeof handle?.useUserBuffer !== "function") return false;
  const fields = socket as unknown as Fields;
  const nextRoom = (): Uint8Array => {
    const wanted = room();
    return wanted === undefined || wanted.length === 0 ? unwanted : wanted;
  };
  const memory = nextRoom();
  fields[memoryAt] = memory;
  fields[roomAt] = nextRoom;
  fields[filledAt] = (count: number): boolean => {
    if (fields[memoryAt] !== unwanted) onFilled(count);
    return true;
  };
  handle.useUserBuffer(memory);
  return true;
}

const FIELD_NAMES = ["kBuffer", "kBufferGen", "kBufferCb"] as const;

/** Each socket has them from its making on. */
function fieldOf(socket: Duplex, name: string): symbol | undefined {
  return Object.getOwnPropertySymbols(socket).find(({ description }) => description === name);
}

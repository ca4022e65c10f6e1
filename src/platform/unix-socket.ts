/** Local stream sockets, for commands to a running instance. */
import { chmodSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";

export type { Socket } from "node:net";

export interface SocketServer {
  close(): Promise<void>;
}

/** Listens at `path`, for its owner only. A file that a killed server left there is replaced. */
export function listenAt(
  path: string,
  onConnection: (socket: Socket) => void,
): Promise<SocketServer> {
  rmSync(path, { force: true });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy()); // a client that is gone is no event
    onConnection(socket);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      chmodSync(path, 0o600);
      resolve({ close: () => closeServer(server, sockets) });
    });
  });
}

function closeServer(server: ReturnType<typeof createServer>, sockets: Set<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    for (const socket of sockets) socket.end();
  });
}

export function connectTo(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.removeListener("error", reject);
      resolve(socket);
    });
  });
}

import { createServer } from "node:net";

/** A TCP port of the address that nobody listened on a moment ago. */
export function freePort(address = "127.0.0.1"): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, address, () => {
      const bound = server.address();
      const port = typeof bound === "object" && bound !== null ? bound.port : 0;
      server.close(() => resolve(port));
    });
  });
}

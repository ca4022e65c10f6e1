/** ADDRESS:PORT as operators write it: `10.0.0.1:7400`, `[fd00::1]:7400`, `host.example:7400`. */
import { StandinError } from "../base/errors.ts";

export interface NetworkAddress {
  /** A host name, or an IP address without brackets. */
  readonly host: string;
  readonly port: number;
}

const PATTERN = /^(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/;

/** Port 0 is "any free one", for listening. @throws {StandinError} `INVALID_ADDRESS` */
export function parseAddress(text: string): NetworkAddress {
  const match = PATTERN.exec(text.trim());
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port <= 65_535) return { host, port };
  throw new StandinError("INVALID_ADDRESS", `not an address and a port: "${text}"`, {
    hint: "Write ADDRESS:PORT, such as 10.0.0.1:7400, [fd00::1]:7400 or mail1.example.com:7400.",
  });
}

export function formatAddress({ host, port }: NetworkAddress): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Listens on every address of the machine. */
export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

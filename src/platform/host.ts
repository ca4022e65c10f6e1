/** What this machine is called, and under which addresses it is reached. */
import { createServer, isIP, SocketAddress } from "node:net";
import { hostname, networkInterfaces } from "node:os";

import { StandinError } from "../base/errors.ts";

/** Without the domain. */
export function hostName(): string {
  return hostname().split(".")[0] ?? "localhost";
}

/** Addresses that other machines may reach: neither loopback nor link-local; IPv4 first. */
export function reachableAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const outer = all.filter(
    ({ internal, address }) => !internal && !/^(?:169\.254|fe80)/.test(address),
  );
  const byFamily = [
    ...outer.filter((a) => a.family === "IPv4"),
    ...outer.filter((a) => a.family !== "IPv4"),
  ];
  return byFamily.map(({ address }) => address);
}

/** All that the interfaces have, loopback too. */
function localAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.map(({ address }) => address);
}

/** An IP address as the system writes it; undefined for what is none. */
export function normalAddress(text: string): string | undefined {
  const family = isIP(text);
  if (family === 0) return undefined;
  return new SocketAddress({ address: text, family: family === 4 ? "ipv4" : "ipv6" }).address;
}

/**
 * Connections may be opened from this address: the system is asked, since not all that it takes is
 * in a list (127.0.0.2). @throws {StandinError} `NO_LOCAL_ADDRESS`
 */
export function requireLocalAddress(address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", () => reject(noLocalAddress(address)));
    server.listen({ host: address, port: 0, exclusive: true }, () => {
      server.close(() => resolve());
    });
  });
}

/** This machine does not have the address that is to be connected from, or not any more. */
export function noLocalAddress(address: string): StandinError {
  const has = localAddresses().join(", ");
  return new StandinError("NO_LOCAL_ADDRESS", `this server has no address ${address}`, {
    hint: `It has ${has}. Choose one of these, or give ${address} to an interface.`,
  });
}

/** What this machine is called, and under which addresses it is reached. */
import { hostname, networkInterfaces } from "node:os";

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

/**
 * Installs the Debian packages that the tests need and that are missing. Silent when there is
 * nothing to do; where it cannot install, it says what to run, and the tests that need a package
 * skip (or fail where CI is set).
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const LIST = join(import.meta.dirname, "debian-packages.txt");

function listedPackages(): string[] {
  return readFileSync(LIST, "utf8")
    .split("\n")
    .map((line) => line.replace(/#.*/, "").trim())
    .filter((name) => name !== "");
}

function isInstalled(name: string): boolean {
  const { stdout } = spawnSync("dpkg-query", ["--status", name], { encoding: "utf8" });
  return /^Status: .* installed$/m.test(stdout);
}

function aptGet(...args: string[]): boolean {
  const { status } = spawnSync("apt-get", args, {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  });
  return status === 0;
}

function main(): void {
  const isDebian = spawnSync("dpkg-query", ["--version"]).status === 0;
  if (!isDebian) {
    console.error("Not a Debian system: install by hand what scripts/debian-packages.txt lists.");
    return;
  }
  const missing = listedPackages().filter((name) => !isInstalled(name));
  if (missing.length === 0) return;
  const install = ["install", "--yes", "--no-install-recommends", ...missing];
  if (process.getuid?.() !== 0) {
    console.error(`For all tests, run as root: apt-get ${install.join(" ")}`);
    return;
  }
  console.error(`Installing Debian packages for the tests: ${missing.join(" ")}`);
  aptGet("update"); // a failure here is harmless when the lists are there already
  if (!aptGet(...install)) {
    console.error("apt-get could not install them (see above): install them by hand, then retry.");
    process.exitCode = 1;
  }
}

main();

import { existsSync } from "node:fs";
import { GantryError } from "#base/errors.ts";
import { hasAppArmor } from "#host/apparmor.ts";
import { run } from "#host/run.ts";
import { findExecutable } from "#host/spawn.ts";

interface Need {
  /** Any one of these will do. */
  programs: string[];
  /** The Debian package to install when none is there. */
  package: string;
}

const needs: readonly Need[] = [
  { programs: ["crun", "runc"], package: "crun" },
  { programs: ["conmon"], package: "conmon" },
  { programs: ["nft"], package: "nftables" },
  { programs: ["ip"], package: "iproute2" },
  { programs: ["tini-static", "docker-init", "catatonit"], package: "tini" },
];

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

function hasProgram(name: string): boolean {
  try {
    findExecutable(name, searchPath);
    return true;
  } catch {
    return false;
  }
}

/** A dynamically linked busybox would not run in an image of its own: the package's list of files tells. */
function hasStaticBusybox(): boolean {
  return hasProgram("busybox") && existsSync("/var/lib/dpkg/info/busybox-static.list");
}

/** On a hybrid cgroup v1 host some crun versions refuse to run; runc is the way out. */
function cgroupsAreV1(): boolean {
  return !existsSync("/sys/fs/cgroup/cgroup.controllers");
}

/** Debian packages that this machine lacks. */
export function missingPackages(): string[] {
  const missing = needs.filter((need) => !need.programs.some(hasProgram)).map((need) => need.package);
  if (!hasStaticBusybox()) missing.push("busybox-static");
  if (hasAppArmor && !hasProgram("apparmor_parser")) missing.push("apparmor");
  if (cgroupsAreV1() && !hasProgram("runc")) missing.push("runc");
  return missing;
}

/** Installs packages with apt-get. Throws, with the one command to run, where that cannot be. */
export async function installPackages(packages: readonly string[]): Promise<void> {
  const command = `apt-get update && apt-get install -y ${packages.join(" ")}`;
  if (!hasProgram("apt-get")) {
    throw new GantryError(
      "unsupported",
      `These programs are missing, and there is no apt-get to install them: ${packages.join(", ")}. Install them with this machine's package manager and run \`gantry up\` again.`,
    );
  }
  if (process.getuid?.() !== 0) {
    throw new GantryError(
      "forbidden",
      `These packages are missing: ${packages.join(", ")}. Run this once as root, then \`gantry up\` again:\n  ${command}`,
    );
  }
  const env = { PATH: searchPath, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C", ...proxySettings() };
  const install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", ...packages];
  try {
    // The lists may be there and fresh enough: only when that fails is the long update worth it.
    await run(install, { env });
  } catch {
    await run(["apt-get", "update", "-q"], { env });
    await run(install, { env });
  }
}

function proxySettings(): Record<string, string> {
  const out: Record<string, string> = {};
  for (const name of ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"]) {
    const value = process.env[name];
    if (value !== undefined) out[name] = value;
  }
  return out;
}

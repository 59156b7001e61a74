import { readFileSync, statfsSync } from "node:fs";
import { arch, cpus, hostname, release } from "node:os";
import { randomUUID } from "node:crypto";

/** What the machine is: read once at start. */
export interface MachineFacts {
  hostname: string;
  cpus: number;
  memoryBytes: number;
  ephemeralStorageBytes: number;
  hugepages: Record<string, string>;
  machineId: string;
  systemUuid: string;
  bootId: string;
  kernelVersion: string;
  osImage: string;
  /** Kubernetes' (Go's) name: `amd64`, `arm64`. */
  architecture: string;
  swapBytes: number;
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}

const goArchitectures: Record<string, string> = { x64: "amd64", ia32: "386", arm64: "arm64", arm: "arm" };

/** A line of /proc/meminfo in bytes; 0 when there is none. */
export function memInfo(text: string, field: string): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(text);
  return match === null ? 0 : Number(match[1]) * 1024;
}

/** PRETTY_NAME of os-release(5). */
export function osPrettyName(text: string): string {
  const match = /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(text);
  return match?.[1] ?? "Linux";
}

/** Reads /proc, /sys and /etc. `storagePath` is where images and pods lie. */
export function machineFacts(storagePath: string): MachineFacts {
  const meminfo = read("/proc/meminfo");
  let ephemeralStorageBytes = 0;
  try {
    const stat = statfsSync(storagePath);
    ephemeralStorageBytes = stat.blocks * stat.bsize;
  } catch {
    // The folder is made later: a node without this figure still takes pods that ask for none.
  }
  return {
    hostname: hostname(),
    cpus: cpus().length,
    memoryBytes: memInfo(meminfo, "MemTotal"),
    ephemeralStorageBytes,
    hugepages: { "hugepages-1Gi": "0", "hugepages-2Mi": "0" },
    machineId: read("/etc/machine-id"),
    systemUuid: read("/sys/class/dmi/id/product_uuid").toLowerCase() || read("/etc/machine-id"),
    bootId: read("/proc/sys/kernel/random/boot_id") || randomUUID(),
    kernelVersion: release(),
    osImage: osPrettyName(read("/etc/os-release")),
    architecture: goArchitectures[arch()] ?? arch(),
    swapBytes: memInfo(meminfo, "SwapTotal"),
  };
}

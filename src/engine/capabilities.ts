import { readFileSync } from "node:fs";
import { GantryError } from "#base/errors.ts";

/** capability.h, in the kernel's order. */
export const allCapabilities = [
  "CHOWN",
  "DAC_OVERRIDE",
  "DAC_READ_SEARCH",
  "FOWNER",
  "FSETID",
  "KILL",
  "SETGID",
  "SETUID",
  "SETPCAP",
  "LINUX_IMMUTABLE",
  "NET_BIND_SERVICE",
  "NET_BROADCAST",
  "NET_ADMIN",
  "NET_RAW",
  "IPC_LOCK",
  "IPC_OWNER",
  "SYS_MODULE",
  "SYS_RAWIO",
  "SYS_CHROOT",
  "SYS_PTRACE",
  "SYS_PACCT",
  "SYS_ADMIN",
  "SYS_BOOT",
  "SYS_NICE",
  "SYS_RESOURCE",
  "SYS_TIME",
  "SYS_TTY_CONFIG",
  "MKNOD",
  "LEASE",
  "AUDIT_WRITE",
  "AUDIT_CONTROL",
  "SETFCAP",
  "MAC_OVERRIDE",
  "MAC_ADMIN",
  "SYSLOG",
  "WAKE_ALARM",
  "BLOCK_SUSPEND",
  "AUDIT_READ",
  "PERFMON",
  "BPF",
  "CHECKPOINT_RESTORE",
].map((name) => `CAP_${name}`);

/** docker's default set. */
export const defaultCapabilities = [
  "CHOWN",
  "DAC_OVERRIDE",
  "FSETID",
  "FOWNER",
  "MKNOD",
  "NET_RAW",
  "SETGID",
  "SETUID",
  "SETFCAP",
  "SETPCAP",
  "NET_BIND_SERVICE",
  "SYS_CHROOT",
  "KILL",
  "AUDIT_WRITE",
].map((name) => `CAP_${name}`);

function normal(name: string, option: "CapAdd" | "CapDrop"): string {
  const upper = name.toUpperCase();
  if (upper === "ALL" || upper === "CAP_ALL") return "ALL";
  const full = upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
  if (!allCapabilities.includes(full))
    throw new GantryError("invalid", `invalid ${option}: unknown capability: "${full}"`);
  return full;
}

let machine: string[] | undefined;

/** All that this machine lets us hand out: inside a virtual machine or a container that may be less than the kernel knows. */
export function availableCapabilities(): string[] {
  if (machine === undefined) {
    const bounding = /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1];
    const bits = BigInt(`0x${bounding ?? "0"}`);
    machine = allCapabilities.filter((_, bit) => ((bits >> BigInt(bit)) & 1n) === 1n);
  }
  return machine;
}

/** What is left of the default set after adding and dropping; `ALL` on either side counts first. Throws for unknown names. */
export function capabilitySet(options: {
  add: readonly string[];
  drop: readonly string[];
  privileged: boolean;
}): string[] {
  const add = options.add.map((name) => normal(name, "CapAdd"));
  const drop = options.drop.map((name) => normal(name, "CapDrop"));
  if (options.privileged) return availableCapabilities();
  const base = add.includes("ALL") ? availableCapabilities() : drop.includes("ALL") ? [] : defaultCapabilities;
  const out = new Set(base);
  for (const name of add) if (name !== "ALL") out.add(name);
  for (const name of drop) if (name !== "ALL") out.delete(name);
  return [...out];
}

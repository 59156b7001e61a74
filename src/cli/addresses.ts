import { networkInterfaces } from "node:os";

/** The machine's own IPv4 addresses, without loopback and without Gantry's bridges. */
export function machineAddresses(): string[] {
  return Object.entries(networkInterfaces())
    .filter(([name]) => !/^gt\d+-/.test(name))
    .flatMap(([, list]) => list ?? [])
    .filter((entry) => !entry.internal && entry.family === "IPv4")
    .map((entry) => entry.address);
}

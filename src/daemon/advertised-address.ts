import { networkInterfaces } from "node:os";

/** Links that are Gantry's or another container engine's: no address of the machine itself. */
const virtualLink = /^(gt\d+-|docker|br-|veth|cni|flannel|virbr|podman)/;

/**
 * The address that pods and other machines reach this machine at: its first IPv4 address that is on no
 * virtual link. A machine without a network has loopback only.
 */
export function advertisedAddress(): string {
  for (const [name, list] of Object.entries(networkInterfaces())) {
    if (virtualLink.test(name)) continue;
    const found = list?.find((entry) => entry.family === "IPv4" && !entry.internal);
    if (found !== undefined) return found.address;
  }
  return "127.0.0.1";
}

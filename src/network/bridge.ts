import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { addAddress, addBridge, apply, linkIndex, setLink } from "#host/links.ts";
import type { NetlinkSocket } from "#host/netlink-socket.ts";
import { addressBytes } from "./addresses.ts";

export interface BridgeSpec {
  name: string;
  mtu: number;
  /** `10.0.0.1` with its prefix length, of either family. */
  addresses: { ip: string; prefixLength: number }[];
}

/** Sets one kernel parameter of this thread's network namespace; what the kernel has not is left out. */
export function setSysctl(key: string, value: string): void {
  const path = `/proc/sys/${key}`;
  try {
    if (readFileSync(path, "utf8").trim() !== value) writeFileSync(path, value);
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOENT") throw error;
  }
}

/** Makes the machine pass packets on. */
export function enableForwarding(family: 4 | 6): void {
  if (family === 4) return setSysctl("net/ipv4/ip_forward", "1");
  if (!existsSync("/proc/sys/net/ipv6/conf/all/forwarding")) return;
  // A forwarding machine ignores router advertisements unless told otherwise, and would lose its own way out.
  for (const link of readdirSync("/proc/sys/net/ipv6/conf")) {
    const path = `net/ipv6/conf/${link}/accept_ra`;
    if (link !== "all" && link !== "default" && readFileSync(`/proc/sys/${path}`, "utf8").trim() === "1") {
      setSysctl(path, "2");
    }
  }
  setSysctl("net/ipv6/conf/all/forwarding", "1");
}

/** Makes the bridge, or brings the one of that name into the state wanted. Returns its index, and whether it is new. */
export async function ensureBridge(
  socket: NetlinkSocket,
  spec: BridgeSpec,
): Promise<{ index: number; created: boolean }> {
  let index = linkIndex(spec.name);
  const created = index === 0;
  if (created) {
    // A MAC of its own, or the bridge would change it with each port that comes and goes.
    const mac = `02:42:${randomBytes(4).toString("hex").match(/../g)?.join(":")}`;
    await apply(socket, [addBridge({ name: spec.name, mac, mtu: spec.mtu })]);
    index = linkIndex(spec.name);
  }
  const hasV6 = spec.addresses.some(({ ip }) => ip.includes(":"));
  // Connections from 127.0.0.1 to published ports come back here; the table's guard keeps all others away from it.
  setSysctl(`net/ipv4/conf/${spec.name}/route_localnet`, "1");
  setSysctl(`net/ipv6/conf/${spec.name}/accept_ra`, "0");
  setSysctl(`net/ipv6/conf/${spec.name}/disable_ipv6`, hasV6 ? "0" : "1");
  await apply(socket, [
    ...spec.addresses.map(({ ip, prefixLength }) => addAddress(index, addressBytes(ip), prefixLength)),
    setLink(index, { up: true, ...(created ? {} : { mtu: spec.mtu }) }),
  ]);
  return { index, created };
}

import {
  addBridge,
  addRoute,
  addVlan,
  addVxlan,
  apply,
  deleteRoute,
  forwardingEntry,
  linkIndex,
  listRoutes,
  setLink,
} from "#host/links.ts";
import { kernelWords, type NetlinkSocket } from "#host/netlink-socket.ts";
import { GantryError } from "#base/errors.ts";
import { addressBytes, type Cidr, formatAddress, parseAddress, requireCidr } from "./addresses.ts";
import { enableForwarding, ensureBridge } from "./bridge.ts";
import { mtuOf, type NetworkDefinition } from "./network-definition.ts";
import { hasParent, isTrue, optionNames, standsOnParent } from "./network-options.ts";

/** Makes the link that a network stands on, or finds it again. Returns its index, 0 where the driver has none. */
export async function ensureNetworkLink(
  socket: NetlinkSocket,
  network: NetworkDefinition,
): Promise<{ index: number; created: boolean }> {
  if (standsOnParent(network.Driver)) return ensureParent(socket, network);
  if (network.Driver !== "bridge" && network.Driver !== "overlay") return { index: 0, created: false };
  const isInhibited = isTrue(network.Options[optionNames.inhibitIPv4]);
  const bridge = await ensureBridge(socket, {
    name: network.link,
    mtu: mtuOf(network),
    addresses: network.IPAM.Config.flatMap(({ Subnet, Gateway }) => {
      if (!Subnet || !Gateway) return [];
      const { family, prefix } = requireCidr(Subnet);
      return family === 4 && isInhibited ? [] : [{ ip: Gateway, prefixLength: prefix }];
    }),
  });
  if (network.EnableIPv4) enableForwarding(4);
  if (network.EnableIPv6) enableForwarding(6);
  if (network.Driver === "overlay") await ensureVxlan(socket, network, bridge.index);
  return bridge;
}

async function ensureParent(
  socket: NetlinkSocket,
  network: NetworkDefinition,
): Promise<{ index: number; created: boolean }> {
  const known = linkIndex(network.link);
  if (known > 0) {
    await apply(socket, [setLink(known, { up: true })]);
    return { index: known, created: false };
  }
  if (hasParent(network.Options)) {
    const { parent, id } = vlanOf(network.link);
    try {
      await apply(socket, [addVlan({ name: network.link, up: true }, parent, id)]);
    } catch (cause) {
      throw new GantryError("internal", `failed to create ${network.link} vlan link: ${kernelWords(cause)}`, { cause });
    }
  } else {
    await apply(socket, [addBridge({ name: network.link, up: true })]);
  }
  network.ownsParent = true;
  return { index: linkIndex(network.link), created: true };
}

/** What `eth0.50` names. Throws in docker's words. */
function vlanOf(link: string): { parent: number; id: number } {
  const refuse = (message: string): never => {
    throw new GantryError("internal", message);
  };
  const [name = "", text = "", ...more] = link.split(".");
  if (!link.includes(".")) refuse(`invalid subinterface vlan name ${link}, example formatting is eth0.10`);
  if (more.length > 0)
    refuse(`required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received ${link}`);
  if (!/^\d+$/.test(text)) refuse(`unable to parse a valid vlan id from: ${text} (ex. eth0.10 for vlan 10)`);
  const parent = linkIndex(name);
  if (parent === 0) refuse(`-o parent interface was not found on the host: ${name}`);
  const id = Number(text);
  if (id < 1 || id > 4094) refuse(`vlan id must be between 1-4094, received: ${id}`);
  return { parent, id };
}

const vxlanPort = 4789;

function vxlanName(network: NetworkDefinition): string {
  return `${network.link.split("-")[0]}x${network.Id.slice(0, 9)}`;
}

/**
 * Joins the bridge to those of the other hosts. Frames for everybody, and for a MAC not heard of yet, go to
 * every peer; what comes back teaches the link where each MAC is.
 */
async function ensureVxlan(socket: NetlinkSocket, network: NetworkDefinition, bridge: number): Promise<void> {
  const name = vxlanName(network);
  if (linkIndex(name) > 0) return;
  const local = network.Options[optionNames.overlayLocal] ?? "";
  const peers = (network.Options[optionNames.overlayPeers] ?? "").split(",").map((peer) => peer.trim());
  for (const address of [local, ...peers]) {
    if (parseAddress(address) === undefined) throw new GantryError("invalid", `invalid overlay address: "${address}"`);
  }
  const id = Number(network.Options[optionNames.overlayId] ?? 4_096);
  await apply(socket, [
    addVxlan({
      name,
      id,
      port: vxlanPort,
      local: addressBytes(local),
      learning: true,
      mtu: mtuOf(network),
      master: bridge,
      up: true,
    }),
  ]);
  const index = linkIndex(name);
  await apply(
    socket,
    peers
      .filter((peer) => peer !== local)
      .map((peer) => forwardingEntry("add", index, "00:00:00:00:00:00", addressBytes(peer))),
  );
}

/** The links of a network that we made, and that go with it. */
export function linksOf(network: NetworkDefinition): string[] {
  if (network.link === "" || (standsOnParent(network.Driver) && !network.ownsParent)) return [];
  return network.Driver === "overlay" ? [vxlanName(network), network.link] : [network.link];
}

/** Lower routes are more important; this one is the last resort. */
const fallbackMetric = 0xff000000;

/** What an address range of ours has no better route for goes nowhere, instead of out of the machine. */
export async function ensureFallbackRoutes(socket: NetlinkSocket, ranges: readonly Cidr[]): Promise<void> {
  await apply(
    socket,
    ranges.map((range) => addRoute(fallbackRoute(range))),
  );
}

export async function removeFallbackRoutes(socket: NetlinkSocket, ranges: readonly Cidr[]): Promise<void> {
  await apply(
    socket,
    ranges.map((range) => deleteRoute(fallbackRoute(range))),
    () => true,
  );
}

function fallbackRoute(range: Cidr): Parameters<typeof addRoute>[0] {
  const address = addressBytes(formatAddress(range.family, range.base));
  return {
    family: range.family,
    destination: { address, prefixLength: range.prefix },
    kind: "unreachable",
    metric: fallbackMetric,
  };
}

/** Ranges that the machine has routes for: networks keep off them. Default and unreachable routes do not count. */
export async function routedRanges(socket: NetlinkSocket): Promise<Cidr[]> {
  const unicast = 1;
  const ranges: Cidr[] = [];
  for (const family of [4, 6] as const) {
    for (const route of await listRoutes(socket, family)) {
      if (route.prefixLength === 0 || route.kind !== unicast) continue;
      const base = BigInt(`0x${route.destination.toString("hex")}`);
      ranges.push({ family, base, prefix: route.prefixLength });
    }
  }
  return ranges;
}

import {
  addAddress,
  addRoute,
  addVeth,
  apply,
  deleteLink,
  deleteRoute,
  isGone,
  linkIndex,
  type LinkSpec,
  setBridgePort,
  setLink,
  withNamespaceFile,
} from "#host/links.ts";
import { type NetlinkMessage, NetlinkSocket } from "#host/netlink-socket.ts";
import { inNetworkNamespace } from "#host/network-namespace.ts";
import { addressBytes } from "./addresses.ts";
import { setSysctl } from "./bridge.ts";

export interface InterfaceAddress {
  ip: string;
  prefixLength: number;
}

/** An interface in a network namespace, as it should be. */
export interface InterfaceSpec {
  netnsPath: string;
  /** In the namespace: `eth0`. */
  name: string;
  mac: string;
  mtu: number;
  addresses: InterfaceAddress[];
  /** Default routes; none when empty. `onLink`: the gateway is outside of the interface's own subnet. */
  gateways: { ip: string; onLink?: boolean }[];
  /** Families whose default route is the interface itself. */
  deviceRoutes?: readonly (4 | 6)[];
  /** Parameters under net/ of the namespace, `%` standing for the interface: `ipv4/conf/%/rp_filter`. */
  sysctls?: Record<string, string>;
}

/** A port of a bridge, whose other end is the interface. */
export interface BridgePort {
  /** On the machine. */
  name: string;
  bridgeIndex: number;
  hairpin: boolean;
  isolated: boolean;
}

/** Connects a namespace to a bridge. Nothing is left when it fails. */
export async function attachToBridge(socket: NetlinkSocket, spec: InterfaceSpec, port: BridgePort): Promise<void> {
  await withNamespaceFile(spec.netnsPath, async (fd) => {
    const { name, mac, mtu } = spec;
    const pair = addVeth({ name: port.name, mtu, master: port.bridgeIndex, up: true }, { name, mac, mtu }, fd);
    await apply(socket, [pair, setBridgePort(port.name, { hairpin: port.hairpin, isolated: port.isolated })]);
    try {
      setSysctl(`net/ipv6/conf/${port.name}/disable_ipv6`, "1");
      await configure(spec);
    } catch (error) {
      await detach(socket, port.name);
      throw error;
    }
  });
}

/** Puts a link that `add` makes, such as a macvlan's, into a namespace. */
export async function attachOwnLink(
  socket: NetlinkSocket,
  spec: InterfaceSpec,
  add: (link: LinkSpec, netnsFd: number) => NetlinkMessage,
  temporaryName: string,
): Promise<void> {
  await withNamespaceFile(spec.netnsPath, async (fd) => {
    // The kernel makes the link here before it moves it, so its name must be free here too.
    await apply(socket, [add({ name: temporaryName, mac: spec.mac, mtu: spec.mtu }, fd)]);
    const index = inNetworkNamespace(spec.netnsPath, () => linkIndex(temporaryName));
    await inNamespace(spec.netnsPath, (inside) => apply(inside, [renameLink(index, spec.name)]));
    await configure(spec);
  });
}

function renameLink(index: number, name: string): NetlinkMessage {
  return setLink(index, { name });
}

/** A netlink socket of the namespace, closed after `work`. */
async function inNamespace<T>(netnsPath: string, work: (socket: NetlinkSocket) => Promise<T>): Promise<T> {
  const socket = inNetworkNamespace(netnsPath, () => NetlinkSocket.open());
  try {
    return await work(socket);
  } finally {
    socket.close();
  }
}

async function configure(spec: InterfaceSpec): Promise<void> {
  const hasV6 = spec.addresses.some(({ ip }) => ip.includes(":"));
  const { socket, index } = inNetworkNamespace(spec.netnsPath, () => {
    setSysctl(`net/ipv6/conf/${spec.name}/disable_ipv6`, hasV6 ? "0" : "1");
    setSysctl(`net/ipv6/conf/${spec.name}/accept_ra`, "0");
    for (const [key, value] of Object.entries(spec.sysctls ?? {}))
      setSysctl(`net/${key.replace("%", spec.name)}`, value);
    return { socket: NetlinkSocket.open(), index: linkIndex(spec.name) };
  });
  try {
    await apply(socket, [
      setLink(1, { up: true }),
      ...spec.addresses.map(({ ip, prefixLength }) => addAddress(index, addressBytes(ip), prefixLength)),
      setLink(index, { up: true }),
      ...spec.gateways.map((gateway) => defaultRoute(index, gateway)),
      ...(spec.deviceRoutes ?? []).map((family) => addRoute({ family, link: index })),
    ]);
  } finally {
    socket.close();
  }
}

function defaultRoute(link: number, gateway: { ip: string; onLink?: boolean }): NetlinkMessage {
  return addRoute({
    family: gateway.ip.includes(":") ? 6 : 4,
    gateway: addressBytes(gateway.ip),
    link,
    ...(gateway.onLink ? { onLink: true } : {}),
  });
}

/** Sends what has no other way through `gateways` of the interface, or nowhere when there are none. */
export async function setDefaultRoutes(
  netnsPath: string,
  interfaceName: string,
  gateways: readonly { ip: string; onLink?: boolean }[],
): Promise<void> {
  const index = inNetworkNamespace(netnsPath, () => linkIndex(interfaceName));
  await inNamespace(netnsPath, async (socket) => {
    const families = [4, 6] as const;
    const missing = families.filter((family) => !gateways.some(({ ip }) => ip.includes(":") === (family === 6)));
    await apply(
      socket,
      missing.map((family) => deleteRoute({ family })),
      () => true,
    );
    await apply(
      socket,
      gateways.map((gateway) => defaultRoute(index, gateway)),
    );
  });
}

/** Takes the machine's end of a pair away, and with it the container's. Quiet when it is gone. */
export async function detach(socket: NetlinkSocket, hostName: string): Promise<void> {
  await apply(socket, [deleteLink(hostName)], isGone);
}

/** Takes an interface out of a namespace; quiet when either is gone. */
export async function detachInside(netnsPath: string, name: string): Promise<void> {
  try {
    await inNamespace(netnsPath, (socket) => apply(socket, [deleteLink(name)], isGone));
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/** True when the interface is there. False too when its namespace is gone. */
export function hasInterface(netnsPath: string, name: string): boolean {
  try {
    return inNetworkNamespace(netnsPath, () => linkIndex(name)) > 0;
  } catch {
    return false;
  }
}

import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { errorMessage, GantryError } from "#base/errors.ts";
import {
  addIpvlan,
  addMacvlan,
  type IpvlanFlag,
  type IpvlanMode,
  type LinkSpec,
  type MacvlanMode,
} from "#host/links.ts";
import { kernelWords, type NetlinkMessage, type NetlinkSocket } from "#host/netlink-socket.ts";
import { inNetworkNamespace } from "#host/network-namespace.ts";
import { macFromIPv4 } from "./addresses.ts";
import { attachOwnLink, attachToBridge } from "./interface.ts";
import type { LiveNetwork } from "./live-network.ts";
import { bridgeRuleOf, mtuOf } from "./network-definition.ts";
import { hasParent, optionNames } from "./network-options.ts";
import type { Endpoint, EndpointRequest } from "./network-types.ts";

/**
 * A new endpoint with its addresses taken, `others` being those that the container has already. Throws in docker's
 * words, and has taken nothing then.
 */
export function newEndpoint(
  live: LiveNetwork,
  others: readonly Endpoint[],
  request: EndpointRequest,
  linkPrefix: string,
): Endpoint {
  const { definition } = live;
  if (definition.ConfigOnly) {
    throw new GantryError("forbidden", "cannot create endpoint on configuration-only network");
  }
  if (live.endpoints.has(request.containerId)) {
    throw new GantryError(
      "forbidden",
      `endpoint with name ${request.containerName} already exists in network ${definition.Name}`,
    );
  }
  for (const setting of request.sysctls ?? []) sysctlFile(setting, "");
  const addresses = live.allocate(request.ipv4, request.ipv6);
  const used = new Set(others.map(({ interfaceName }) => interfaceName));
  const prefix = definition.Options[optionNames.interfacePrefix] ?? "eth";
  let number = 0;
  while (used.has(`${prefix}${number}`)) number++;
  const endpointId = randomBytes(32).toString("hex");
  const mac = request.mac ?? (addresses.ipv4 === "" ? randomMac() : macFromIPv4(addresses.ipv4));
  return {
    endpointId,
    networkId: definition.Id,
    networkName: definition.Name,
    driver: definition.Driver,
    containerId: request.containerId,
    containerName: request.containerName,
    hostname: request.hostname ?? "",
    netnsPath: request.netnsPath,
    interfaceName: live.hasInterfaces ? (request.interfaceName ?? `${prefix}${number}`) : "",
    hostInterface: live.hasBridge ? `${linkPrefix}v${endpointId.slice(0, 10)}` : "",
    // An ipvlan link has its parent's.
    mac: live.hasInterfaces && definition.Driver !== "ipvlan" ? mac : "",
    ...addresses,
    aliases: request.aliases ?? [],
    ...(request.dns === undefined ? {} : { dns: request.dns }),
    ...(request.links === undefined ? {} : { links: request.links }),
    ports: [],
    gatewayPriority: request.gatewayPriority ?? 0,
  };
}

/** Makes the endpoint's interface, by its network's driver. Nothing is left when it fails. */
export async function attachEndpoint(
  socket: NetlinkSocket,
  { definition, linkIndex }: LiveNetwork,
  endpoint: Endpoint,
  { isWayOut, linkLocal }: { isWayOut: boolean; linkLocal: readonly string[] },
): Promise<void> {
  const addresses = [
    { ip: endpoint.ipv4, prefixLength: endpoint.ipv4PrefixLength },
    { ip: endpoint.ipv6, prefixLength: endpoint.ipv6PrefixLength },
    ...linkLocal.map((ip) => ({ ip, prefixLength: ip.includes(":") ? 64 : 16 })),
  ].filter(({ ip }) => ip !== "");
  const spec = {
    netnsPath: endpoint.netnsPath,
    name: endpoint.interfaceName,
    mac: endpoint.mac,
    mtu: mtuOf(definition),
    addresses,
    gateways: isWayOut ? gatewaysOf(endpoint) : [],
  };
  // A name for the moment between making the link and moving it, when it is in the machine's namespace.
  const temporary = `gtm${endpoint.endpointId.slice(0, 10)}`;
  if (definition.Driver === "macvlan") {
    const mode = (definition.Options[optionNames.macvlanMode] || "bridge") as MacvlanMode;
    return attachOwnLink(socket, spec, (link, fd) => addMacvlan(link, linkIndex, mode, fd), temporary);
  }
  if (definition.Driver === "ipvlan") {
    const mode = (definition.Options[optionNames.ipvlanMode] || "l2") as IpvlanMode;
    const flag = (definition.Options[optionNames.ipvlanFlag] || "bridge") as IpvlanFlag;
    const routes = mode === "l2" || !isWayOut || definition.Internal || !hasParent(definition.Options) ? [] : addresses;
    const deviceRoutes = routes.map(({ ip }) => (ip.includes(":") ? 6 : 4));
    const make = (link: LinkSpec, fd: number): NetlinkMessage => addIpvlan(link, linkIndex, mode, flag, fd);
    try {
      return await attachOwnLink(socket, { ...spec, deviceRoutes }, make, temporary);
    } catch (cause) {
      throw new GantryError("internal", `failed to create the ipvlan port: ${kernelWords(cause)}`, { cause });
    }
  }
  await attachToBridge(socket, spec, {
    name: endpoint.hostInterface,
    bridgeIndex: linkIndex,
    hairpin: true,
    isolated: !bridgeRuleOf(definition).icc && !filtersBridgedFrames(),
  });
}

/** Where `net.ipv4.conf.IFNAME.log_martians=1` goes, and what. Throws docker's sentence for what is no such setting. */
function sysctlFile(setting: string, interfaceName: string): { path: string; value: string } {
  const [, family, kind, key, value] =
    /^net\.(ipv4|ipv6|mpls)\.([^./]+)\.(?:IFNAME|ifname)\.([^=/]+)=(.*)$/s.exec(setting) ?? [];
  if (family === undefined || kind === undefined || key === undefined) {
    throw new GantryError(
      "invalid",
      `invalid endpoint settings:\nunrecognised network interface sysctl '${setting}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'`,
    );
  }
  return { path: `/proc/sys/net/${family}/${kind}/${interfaceName}/${key.replaceAll(".", "/")}`, value: value ?? "" };
}

/** Settings of an endpoint's interface, in its namespace: the kernel shows a thread the files of its own. */
export function setInterfaceSysctls({ interfaceName, netnsPath }: Endpoint, settings: readonly string[]): void {
  if (settings.length === 0) return;
  inNetworkNamespace(netnsPath, () => {
    for (const setting of settings) {
      const { path, value } = sysctlFile(setting, interfaceName);
      try {
        writeFileSync(path, value);
      } catch (error) {
        throw new GantryError("invalid", `failed to set sysctl ${setting}: ${errorMessage(error)}`, { cause: error });
      }
    }
  });
}

export function gatewaysOf(endpoint: Endpoint): { ip: string }[] {
  return [endpoint.gateway, endpoint.ipv6Gateway].filter((ip) => ip !== "").map((ip) => ({ ip }));
}

function randomMac(): string {
  return `02:42:${randomBytes(4).toString("hex").match(/../g)?.join(":")}`;
}

/**
 * True when the kernel shows bridged frames to the table, which then keeps the containers of a bridge apart by
 * itself and still lets published ports through; else the bridge has to isolate its ports.
 */
function filtersBridgedFrames(): boolean {
  try {
    return readFileSync("/proc/sys/net/bridge/bridge-nf-call-iptables", "utf8").trim() === "1";
  } catch {
    return false;
  }
}

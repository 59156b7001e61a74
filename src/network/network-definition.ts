import { createHash, randomBytes } from "node:crypto";
import type { IpamConfig, NetworkCreateBody, NetworkResource } from "#api/docker/object-types.ts";
import { GantryError } from "#base/errors.ts";
import {
  type Cidr,
  canonicalAddress,
  cidrContains,
  cidrOverlaps,
  type Family,
  formatAddress,
  formatCidr,
  parseAddress,
  parseCidr,
  requireCidr,
} from "./addresses.ts";
import { pickSubnet, type SubnetPool } from "./ipam.ts";
import type { BridgeRule } from "./rules.ts";

/** A network as it is kept: docker's object without its endpoints, and what docker does not show. */
export interface NetworkDefinition extends Omit<NetworkResource, "Containers"> {
  /** The kernel's link: a bridge, or a macvlan's parent. "" for `host` and `none`. */
  link: string;
  /** Subnets that the user gave: fixed addresses are allowed in them alone. */
  userSubnets: string[];
  /** We made the parent link, and take it away with the network. */
  ownsParent?: boolean;
}

export const builtinNames = ["bridge", "host", "none"] as const;

export function isBuiltin(name: string): boolean {
  return (builtinNames as readonly string[]).includes(name);
}

/** Driver options that are in force. What else begins with `com.docker.network.` is refused. */
export const optionNames = {
  bridgeName: "com.docker.network.bridge.name",
  icc: "com.docker.network.bridge.enable_icc",
  masquerade: "com.docker.network.bridge.enable_ip_masquerade",
  hostBinding: "com.docker.network.bridge.host_binding_ipv4",
  defaultBridge: "com.docker.network.bridge.default_bridge",
  gatewayMode4: "com.docker.network.bridge.gateway_mode_ipv4",
  gatewayMode6: "com.docker.network.bridge.gateway_mode_ipv6",
  mtu: "com.docker.network.driver.mtu",
  interfacePrefix: "com.docker.network.container_iface_prefix",
  enableIPv4: "com.docker.network.enable_ipv4",
  enableIPv6: "com.docker.network.enable_ipv6",
  parent: "parent",
  macvlanMode: "macvlan_mode",
  overlayPeers: "gantry.overlay.peers",
  overlayLocal: "gantry.overlay.local",
  overlayId: "gantry.overlay.vni",
} as const;

export interface DefinitionContext {
  existing: readonly NetworkDefinition[];
  pools: readonly SubnetPool[];
  /** Ranges that the machine uses otherwise: its routes. */
  taken: readonly Cidr[];
  linkPrefix: string;
  now: Date;
}

export function newNetworkId(): string {
  return randomBytes(32).toString("hex");
}

function invalid(message: string): GantryError {
  return new GantryError("invalid", message);
}

/** Checks a request and fills in all that it leaves open. Pure but for the random id. Throws in docker's words. */
export function defineNetwork(body: NetworkCreateBody, context: DefinitionContext): NetworkDefinition {
  const name = body.Name;
  if (isBuiltin(name)) {
    throw new GantryError("forbidden", `operation is not permitted on predefined ${name} network `);
  }
  if (name.trim() === "") throw invalid(`invalid name: ${name}`);
  if (context.existing.some((network) => network.Name === name)) {
    throw new GantryError("already-exists", `network with name ${name} already exists`);
  }
  const driver = body.Driver === undefined || body.Driver === "" ? "bridge" : body.Driver;
  const options = { ...body.Options };
  refuseUnsupported(body, driver, options);
  const enableIPv4 = body.EnableIPv4 ?? options[optionNames.enableIPv4] !== "false";
  const enableIPv6 = body.EnableIPv6 ?? options[optionNames.enableIPv6] === "true";
  const given = (body.IPAM?.Config ?? []).filter((config) => Object.keys(config).length > 0);
  validateIpam(given, enableIPv6);
  const id = newNetworkId();
  const config = chooseSubnets(given, driver, { 4: enableIPv4, 6: enableIPv6 }, context);
  return {
    Name: name,
    Id: id,
    Created: context.now.toISOString(),
    Scope: "local",
    Driver: driver,
    EnableIPv4: enableIPv4,
    EnableIPv6: enableIPv6,
    IPAM: { Driver: "default", Options: body.IPAM?.Options ?? null, Config: config },
    Internal: body.Internal ?? false,
    Attachable: body.Attachable ?? false,
    Ingress: false,
    ConfigFrom: { Network: "" },
    ConfigOnly: false,
    Options: options,
    Labels: body.Labels ?? {},
    link: linkName(driver, options, id, context),
    userSubnets: given.flatMap((one) => (one.Subnet === undefined ? [] : [one.Subnet])),
  };
}

function refuseUnsupported(body: NetworkCreateBody, driver: string, options: Record<string, string>): void {
  if (driver === "host" || driver === "null") {
    throw new GantryError("forbidden", `only one instance of "${driver}" network is allowed`);
  }
  if (driver === "overlay" && options[optionNames.overlayPeers] === undefined) {
    throw new GantryError(
      "forbidden",
      'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
    );
  }
  if (!["bridge", "macvlan", "overlay"].includes(driver)) {
    throw new GantryError("not-found", `could not find plugin ${driver} in v1 plugin registry: plugin not found`);
  }
  const ipam = body.IPAM?.Driver ?? "default";
  if (ipam !== "default" && ipam !== "") {
    throw new GantryError("not-found", `could not find plugin ${ipam} in v1 plugin registry: plugin not found`);
  }
  if (body.ConfigOnly || body.ConfigFrom?.Network) {
    throw new GantryError("unsupported", "config-only networks are not supported");
  }
  if (body.Ingress || body.Scope === "swarm") {
    throw new GantryError("unavailable", "This node is not a swarm manager.");
  }
  const known: string[] = Object.values(optionNames);
  for (const key of Object.keys(options)) {
    if (key.startsWith("com.docker.network.") && !known.includes(key)) {
      throw new GantryError("unsupported", `the network option ${key} is not supported`);
    }
  }
  checkOptionValues(options);
}

function checkOptionValues(options: Record<string, string>): void {
  for (const key of [optionNames.icc, optionNames.masquerade, optionNames.enableIPv4, optionNames.enableIPv6]) {
    const value = options[key];
    if (value !== undefined && !["true", "false", "1", "0"].includes(value)) {
      throw invalid(`driver-opt "${key}" is not a valid bool`);
    }
  }
  const mtu = options[optionNames.mtu];
  if (mtu !== undefined && !(Number(mtu) >= 68 && Number(mtu) <= 65_535)) throw invalid(`invalid MTU number: ${mtu}`);
  const mode = options[optionNames.macvlanMode];
  if (mode !== undefined && !["private", "vepa", "bridge", "passthru"].includes(mode)) {
    throw invalid(`requested macvlan mode '${mode}' is not valid, 'bridge' mode is the macvlan driver default`);
  }
  const name = options[optionNames.bridgeName];
  if (name !== undefined && !/^[^\s/:]{1,15}$/.test(name)) throw invalid(`invalid bridge name: ${name}`);
  for (const key of [optionNames.gatewayMode4, optionNames.gatewayMode6]) {
    const mode = options[key];
    if (mode !== undefined && !["nat", "routed"].includes(mode)) {
      throw new GantryError("unsupported", `gateway mode ${mode} is not supported; use nat or routed`);
    }
  }
}

function linkName(driver: string, options: Record<string, string>, id: string, context: DefinitionContext): string {
  if (driver === "macvlan") return options[optionNames.parent] ?? `${context.linkPrefix}m${id.slice(0, 9)}`;
  const link = options[optionNames.bridgeName] ?? `${context.linkPrefix}-${id.slice(0, 10)}`;
  if (context.existing.some((network) => network.link === link)) {
    const other = context.existing.find((network) => network.link === link);
    throw new GantryError(
      "forbidden",
      `cannot create network ${id} (${link}): conflicts with network ${other?.Id} (${link}): networks have same bridge name`,
    );
  }
  return link;
}

/** docker's checks of subnets, ranges, gateways and auxiliary addresses; all complaints in one error. */
export function validateIpam(configs: readonly IpamConfig[], enableIPv6: boolean): void {
  const complaints: string[] = [];
  for (const config of configs) {
    const subnet = parseCidr(config.Subnet ?? "");
    if (subnet === undefined) {
      complaints.push(`invalid subnet ${config.Subnet ?? ""}: invalid CIDR block notation`);
      continue;
    }
    if (subnet.hasHostBits) complaints.push(`invalid subnet ${config.Subnet}: it should be ${formatCidr(subnet)}`);
    if (subnet.family === 6 && !enableIPv6) continue;
    complaints.push(...rangeComplaints(config, subnet));
    const inside = (what: string, address: string): void => {
      const parsed = parseAddress(address);
      if (parsed === undefined) complaints.push(`invalid ${what} ${address}: invalid address`);
      else if (parsed.family !== subnet.family) {
        complaints.push(`invalid ${what} ${address}: parent subnet is an IPv${subnet.family} block`);
      } else if (!cidrContains(subnet, parsed.family, parsed.value)) {
        complaints.push(`invalid ${what} ${address}: parent subnet ${config.Subnet} doesn't contain this address`);
      }
    };
    if (config.Gateway) inside("gateway", config.Gateway);
    for (const address of Object.values(config.AuxiliaryAddresses ?? {})) inside("auxiliary address", address);
  }
  if (complaints.length > 0) throw invalid(`invalid network config:\n${complaints.join("\n")}`);
}

function rangeComplaints(config: IpamConfig, subnet: Cidr): string[] {
  if (!config.IPRange) return [];
  const range = parseCidr(config.IPRange);
  if (range === undefined) return [`invalid ip-range ${config.IPRange}: invalid CIDR block notation`];
  if (range.family !== subnet.family) {
    return [`invalid ip-range ${config.IPRange}: parent subnet is an IPv${subnet.family} block`];
  }
  if (range.prefix < subnet.prefix) {
    return [`invalid ip-range ${config.IPRange}: CIDR block is bigger than its parent subnet ${config.Subnet}`];
  }
  if (range.hasHostBits) return [`invalid ip-range ${config.IPRange}: it should be ${formatCidr(range)}`];
  if (!cidrContains(subnet, range.family, range.base)) {
    return [`invalid ip-range ${config.IPRange}: parent subnet ${config.Subnet} doesn't contain ip-range`];
  }
  return [];
}

function chooseSubnets(
  given: readonly IpamConfig[],
  driver: string,
  families: Record<Family, boolean>,
  context: DefinitionContext,
): IpamConfig[] {
  const used = context.existing.flatMap(subnetsOf);
  const chosen: IpamConfig[] = [];
  const cidrs: Cidr[] = [];
  for (const config of given) {
    const cidr = requireCidr(config.Subnet ?? "");
    if (!families[cidr.family]) continue;
    // Two macvlan networks, or a macvlan's and the machine's, share a subnet by design; bridges must not.
    if (driver !== "macvlan" && [...used, ...cidrs].some((other) => cidrOverlaps(other, cidr))) {
      throw new GantryError("forbidden", "invalid pool request: Pool overlaps with other one on this address space");
    }
    cidrs.push(cidr);
    chosen.push({ ...config, Gateway: config.Gateway || firstAddress(config, cidr) });
  }
  for (const family of [4, 6] as const) {
    if (!families[family] || cidrs.some((cidr) => cidr.family === family)) continue;
    const pools = family === 6 ? [...context.pools, uniqueLocalPool(context.linkPrefix)] : context.pools;
    const cidr = pickSubnet(pools, family, [...used, ...context.taken]);
    chosen.push({ Subnet: formatCidr(cidr), Gateway: firstAddress({}, cidr) });
  }
  return chosen;
}

/** docker's gateway where none is given: the first address of the range that is not an auxiliary one. */
function firstAddress(config: IpamConfig, subnet: Cidr): string {
  const aux = new Set(Object.values(config.AuxiliaryAddresses ?? {}).map(canonicalAddress));
  const start = config.IPRange ? requireCidr(config.IPRange).base : subnet.base;
  for (let value = start === subnet.base ? start + 1n : start; ; value++) {
    const address = formatAddress(subnet.family, value);
    if (!aux.has(address)) return address;
  }
}

/** A /48 of the unique local range (RFC 4193) that belongs to the instance. */
function uniqueLocalPool(linkPrefix: string): SubnetPool {
  const hex = createHash("sha256").update(`gantry ${linkPrefix}`).digest("hex");
  return { base: `fd${hex.slice(0, 2)}:${hex.slice(2, 6)}:${hex.slice(6, 10)}::/48`, size: 64 };
}

/** A network of the default bridge's own, out of the unique local range. */
function bridgeSubnet6({ name }: DefaultBridge): string {
  return uniqueLocalPool(`${name} bridge`).base.replace("/48", "/64");
}

export function subnetsOf(network: NetworkDefinition): Cidr[] {
  return network.IPAM.Config.flatMap((config) => (config.Subnet === undefined ? [] : [requireCidr(config.Subnet)]));
}

const isFalse = (value: string | undefined): boolean => value === "false" || value === "0";

/** What the rules must know of a network with a bridge. */
export function bridgeRuleOf(network: NetworkDefinition): BridgeRule {
  const subnets = subnetsOf(network);
  const routed = (option: string): boolean => network.Options[option] === "routed";
  return {
    name: network.link,
    subnets4: subnets.filter(({ family }) => family === 4).map(formatCidr),
    subnets6: subnets.filter(({ family }) => family === 6).map(formatCidr),
    internal: network.Internal,
    icc: !isFalse(network.Options[optionNames.icc]),
    masquerade: !isFalse(network.Options[optionNames.masquerade]) && !routed(optionNames.gatewayMode4),
    routed: routed(optionNames.gatewayMode4) || routed(optionNames.gatewayMode6),
  };
}

export function mtuOf(network: NetworkDefinition): number {
  const mtu = network.Options[optionNames.mtu];
  if (mtu !== undefined) return Number(mtu);
  return network.Driver === "overlay" ? 1_450 : 1_500;
}

export interface DefaultBridge {
  name: string;
  subnet: string;
  gateway?: string;
  /** Containers' addresses come only from here. */
  range?: string;
  /** The bridge has IPv6 too, in this network, or in one of the instance's own range. */
  ipv6?: { subnet: string | undefined };
  mtu?: number;
  icc?: boolean;
  masquerade?: boolean;
  hostBinding?: string;
}

/** The networks that are always there. */
export function builtinNetworks(bridge: DefaultBridge, created: Date): NetworkDefinition[] {
  const cidr = requireCidr(bridge.subnet);
  const cidr6 = bridge.ipv6 === undefined ? undefined : requireCidr(bridge.ipv6.subnet ?? bridgeSubnet6(bridge));
  const base = {
    Created: created.toISOString(),
    Scope: "local",
    EnableIPv4: true,
    EnableIPv6: false,
    Internal: false,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: "" },
    ConfigOnly: false,
    Labels: {},
    userSubnets: [],
  };
  const plain = (Name: string, Driver: string): NetworkDefinition => ({
    ...base,
    Name,
    Driver,
    Id: newNetworkId(),
    IPAM: { Driver: "default", Options: null, Config: [] },
    Options: {},
    link: "",
  });
  return [
    {
      ...base,
      Name: "bridge",
      Driver: "bridge",
      Id: newNetworkId(),
      IPAM: {
        Driver: "default",
        Options: null,
        Config: [
          {
            Subnet: formatCidr(cidr),
            ...(bridge.range === undefined ? {} : { IPRange: bridge.range }),
            Gateway: bridge.gateway ?? firstAddress({}, cidr),
          },
          ...(cidr6 === undefined ? [] : [{ Subnet: formatCidr(cidr6), Gateway: firstAddress({}, cidr6) }]),
        ],
      },
      EnableIPv6: cidr6 !== undefined,
      Options: {
        [optionNames.defaultBridge]: "true",
        [optionNames.icc]: String(bridge.icc ?? true),
        [optionNames.masquerade]: String(bridge.masquerade ?? true),
        [optionNames.hostBinding]: bridge.hostBinding ?? "0.0.0.0",
        [optionNames.bridgeName]: bridge.name,
        [optionNames.mtu]: String(bridge.mtu ?? 1_500),
      },
      link: bridge.name,
    },
    plain("host", "host"),
    plain("none", "null"),
  ];
}

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
import { checkOptions, hasParent, isFalse, isTrue, optionNames, standsOnParent } from "./network-options.ts";
import type { BridgeRule } from "./rules.ts";

/** A network as it is kept: docker's object without its endpoints, and what docker does not show. */
export interface NetworkDefinition extends Omit<NetworkResource, "Containers" | "IPAM"> {
  IPAM: NetworkResource["IPAM"] & { Config: IpamConfig[] };
  /** The kernel's link: a bridge, or a macvlan's parent. "" for `host` and `none`. */
  link: string;
  /** Subnets that the user gave: fixed addresses are allowed in them alone. */
  userSubnets: string[];
  /** Those of them whose gateway the user left to us: docker does not show it. */
  chosenGateways?: string[];
  /** We made the parent link, and take it away with the network. */
  ownsParent?: boolean;
}

export const builtinNames = ["bridge", "host", "none"] as const;

export function isBuiltin(name: string): boolean {
  return (builtinNames as readonly string[]).includes(name);
}

export interface DefinitionContext {
  existing: readonly NetworkDefinition[];
  pools: readonly SubnetPool[];
  /** Ranges that the machine uses otherwise: its routes. Needed where `needsSubnet` says so. */
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

/** Which families a network has, and for which of them a subnet must be picked from the pools. */
export function familiesOf(body: NetworkCreateBody): { enabled: Record<Family, boolean>; isPicked: boolean } {
  const options = body.Options ?? {};
  const enabled = {
    4: body.EnableIPv4 ?? !isFalse(options[optionNames.enableIPv4]),
    6: body.EnableIPv6 ?? isTrue(options[optionNames.enableIPv6]),
  };
  const given = new Set((body.IPAM?.Config ?? []).map(({ Subnet }) => parseCidr(Subnet ?? "")?.family));
  return { enabled, isPicked: ([4, 6] as const).some((family) => enabled[family] && !given.has(family)) };
}

/** The request with what its configuration network says. Throws in docker's words. */
export function withConfiguration(body: NetworkCreateBody, existing: readonly NetworkDefinition[]): NetworkCreateBody {
  const from = body.ConfigFrom?.Network ?? "";
  if (from === "") return body;
  const forbid = (message: string): never => {
    throw new GantryError("forbidden", message);
  };
  if (body.ConfigOnly) forbid("a configuration network cannot depend on another configuration network");
  const { enabled } = familiesOf(body);
  if (
    !enabled[4] ||
    enabled[6] ||
    Object.keys(body.Labels ?? {}).length > 0 ||
    Object.keys(body.IPAM?.Options ?? {}).length > 0 ||
    (body.IPAM?.Config ?? []).length > 0
  ) {
    forbid("user specified configurations are not supported if the network depends on a configuration network");
  }
  if (Object.keys(body.Options ?? {}).length > 0)
    forbid("network driver options are not supported if the network depends on a configuration network");
  const found = existing.find((network) => network.ConfigOnly && network.Name === from);
  if (found === undefined) throw new GantryError("not-found", `configuration network "${from}" does not exist`);
  const { EnableIPv4, EnableIPv6, Labels, IPAM, Options } = found;
  return { ...body, EnableIPv4, EnableIPv6, Labels, IPAM, Options };
}

/** Checks a request and fills in all that it leaves open. Pure but for the random id. Throws in docker's words. */
export function defineNetwork(request: NetworkCreateBody, context: DefinitionContext): NetworkDefinition {
  const name = request.Name ?? "";
  if (isBuiltin(name)) {
    throw new GantryError("forbidden", `operation is not permitted on predefined ${name} network `);
  }
  if (name.trim() === "") throw invalid("invalid name: name is empty");
  if (context.existing.some((network) => network.Name === name)) {
    throw new GantryError("already-exists", `network with name ${name} already exists`);
  }
  const body = withConfiguration(request, context.existing);
  const driver = body.Driver === undefined || body.Driver === "" ? "bridge" : body.Driver;
  const options = { ...body.Options };
  checkDriver(body, driver, options);
  checkOptions(driver, options, body.Internal === true);
  const { enabled } = familiesOf(body);
  const given = (body.IPAM?.Config ?? []).filter((config) => Object.keys(config).length > 0);
  validateIpam(given, enabled[6]);
  if (driver === "bridge" && body.ConfigOnly !== true) {
    if (!enabled[4] && !enabled[6]) throw invalid("IPv4 or IPv6 must be enabled");
    for (const family of [4, 6]) {
      if (given.filter(({ Subnet }) => parseCidr(Subnet ?? "")?.family === family).length > 1) {
        throw new GantryError("forbidden", "bridge driver doesn't support multiple subnets");
      }
    }
  }
  const id = newNetworkId();
  const isConfig = body.ConfigOnly === true;
  const config = isConfig
    ? given
    : chooseSubnets(given, { driver, options, internal: body.Internal === true }, enabled, context);
  if (!isConfig && standsOnParent(driver)) checkParent(driver, options, id, context);
  return {
    Name: name,
    Id: id,
    Created: context.now.toISOString(),
    Scope: "local",
    Driver: isConfig ? "null" : driver,
    EnableIPv4: enabled[4],
    EnableIPv6: enabled[6],
    IPAM: { Driver: "default", Options: body.IPAM?.Options ?? null, Config: config },
    Internal: body.Internal ?? false,
    Attachable: body.Attachable ?? false,
    Ingress: false,
    ConfigFrom: { Network: body.ConfigFrom?.Network ?? "" },
    ConfigOnly: isConfig,
    Options: options,
    Labels: body.Labels ?? {},
    link: isConfig ? "" : linkName(driver, options, id, context),
    userSubnets: given.flatMap((one) => (one.Subnet === undefined ? [] : [one.Subnet])),
    chosenGateways: given.flatMap((one) => (one.Subnet === undefined || one.Gateway ? [] : [one.Subnet])),
  };
}

function checkDriver(body: NetworkCreateBody, driver: string, options: Record<string, string>): void {
  const ipam = body.IPAM?.Driver ?? "default";
  if (ipam !== "default" && ipam !== "") {
    throw new GantryError("not-found", `plugin ${JSON.stringify(ipam)} not found`);
  }
  if (body.ConfigOnly) {
    if (body.Ingress || body.Internal || body.Attachable || (body.Scope ?? "") !== "") {
      throw new GantryError(
        "forbidden",
        "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.",
      );
    }
    return;
  }
  if (driver === "host" || driver === "null") {
    throw new GantryError("forbidden", `only one instance of "${driver}" network is allowed`);
  }
  if (driver === "overlay" && options[optionNames.overlayPeers] === undefined) {
    throw new GantryError(
      "forbidden",
      'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
    );
  }
  if (!["bridge", "macvlan", "ipvlan", "overlay"].includes(driver)) {
    throw new GantryError("not-found", `plugin ${JSON.stringify(driver)} not found`);
  }
  if (body.Ingress) throw new GantryError("forbidden", "Ingress network can only be global scope network");
  if (body.Scope === "swarm")
    throw new GantryError("forbidden", "cannot create a swarm scoped network when swarm is not active");
}

/** A parent link carries one ipvlan network, or one macvlan network in mode passthru, or several others. */
function checkParent(driver: string, options: Record<string, string>, id: string, context: DefinitionContext): void {
  const parent = options[optionNames.parent];
  if (parent === undefined || parent === "") return;
  const others = context.existing.filter((network) => network.Driver === driver && network.link === parent);
  const other = others[0];
  if (other === undefined) return;
  const refuse = (message: string): never => {
    throw new GantryError("internal", message);
  };
  if (driver === "ipvlan") refuse(`network di-${other.Id.slice(0, 12)} is already using parent interface ${parent}`);
  if (options[optionNames.macvlanMode] === "passthru")
    refuse(`cannot use mode passthru, macvlan network ${other.Id} is already using parent interface ${parent}`);
  const passing = others.find(({ Options }) => Options[optionNames.macvlanMode] === "passthru");
  if (passing !== undefined)
    refuse(`macvlan network ${passing.Id} is already using parent interface ${parent} in mode passthru`);
}

function linkName(driver: string, options: Record<string, string>, id: string, context: DefinitionContext): string {
  if (standsOnParent(driver)) return options[optionNames.parent] || `${context.linkPrefix}m${id.slice(0, 9)}`;
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
  if (complaints.length > 0) throw invalid(`invalid network config:\n${joined(complaints)}`);
}

/** Several errors in one, as Go's docker words them (moby, internal/multierror). */
export function joined(complaints: readonly string[]): string {
  return complaints.length === 1 ? (complaints[0] as string) : complaints.map((text) => `* ${text}`).join("\n");
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
  network: { driver: string; options: Record<string, string>; internal: boolean },
  families: Record<Family, boolean>,
  context: DefinitionContext,
): IpamConfig[] {
  const used = context.existing.flatMap((other) => (other.ConfigOnly ? [] : subnetsOf(other)));
  const chosen: IpamConfig[] = [];
  const cidrs: Cidr[] = [];
  for (const config of given) {
    const cidr = requireCidr(config.Subnet ?? "");
    if (!families[cidr.family]) continue;
    if ([...used, ...cidrs].some((other) => cidrOverlaps(other, cidr))) {
      throw new GantryError("forbidden", "invalid pool request: Pool overlaps with other one on this address space");
    }
    cidrs.push(cidr);
    const gateway = config.Gateway || (needsGateway(network, cidr.family) ? firstAddress(config, cidr) : undefined);
    const { Gateway: _given, ...rest } = config;
    chosen.push(gateway === undefined ? rest : { ...rest, Gateway: gateway });
  }
  for (const family of [4, 6] as const) {
    if (!families[family] || cidrs.some((cidr) => cidr.family === family)) continue;
    const pools = family === 6 ? [...context.pools, uniqueLocalPool(context.linkPrefix)] : context.pools;
    const cidr = pickSubnet(pools, family, [...used, ...context.taken]);
    chosen.push({
      Subnet: formatCidr(cidr),
      ...(needsGateway(network, family) ? { Gateway: firstAddress({}, cidr) } : {}),
    });
  }
  return chosen;
}

/** Some networks have no address that leads out of them (moby, GetSkipGwAlloc of the drivers). */
function needsGateway(
  { driver, options, internal }: { driver: string; options: Record<string, string>; internal: boolean },
  family: Family,
): boolean {
  if (driver === "ipvlan" && (options[optionNames.ipvlanMode] ?? "l2") !== "l2") return false;
  if (standsOnParent(driver)) return !internal && hasParent(options);
  if (options[family === 4 ? optionNames.gatewayMode4 : optionNames.gatewayMode6] === "isolated") return false;
  return !(family === 4 && internal && isTrue(options[optionNames.inhibitIPv4]));
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

/** What the rules must know of a network with a bridge. */
export function bridgeRuleOf(network: NetworkDefinition): BridgeRule {
  const subnets = subnetsOf(network);
  const has = (...modes: string[]): boolean =>
    [optionNames.gatewayMode4, optionNames.gatewayMode6].some((option) =>
      modes.includes(network.Options[option] ?? ""),
    );
  return {
    name: network.link,
    subnets4: subnets.filter(({ family }) => family === 4).map(formatCidr),
    subnets6: subnets.filter(({ family }) => family === 6).map(formatCidr),
    internal: network.Internal,
    icc: !isFalse(network.Options[optionNames.icc]),
    masquerade:
      !isFalse(network.Options[optionNames.masquerade]) && network.Options[optionNames.gatewayMode4] !== "routed",
    routed: has("routed", "nat-unprotected"),
    hairpin: !has("routed"),
    trusted: (network.Options[optionNames.trustedInterfaces] ?? "").split(":").filter((name) => name !== ""),
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

import { GantryError } from "#base/errors.ts";
import { type Cidr, cidrContains, cidrOverlaps, formatCidr, parseAddress, parseCidr } from "#network/addresses.ts";
import type { DaemonJsonValues } from "./daemon-json-keys.ts";

/** The network part of daemon.json; what is undefined stays as the instance has it. */
export interface NetworkSettings {
  bip: { address: string; subnet: string } | undefined;
  fixedCidr: string | undefined;
  fixedCidr6: string | undefined;
  ipv6: boolean;
  icc: boolean;
  masquerade: boolean;
  /** Address of the machine that ports are published on by default. */
  hostBinding: string | undefined;
  mtu: number | undefined;
  pools: { base: string; size: number }[] | undefined;
}

function invalid(message: string): GantryError {
  return new GantryError("invalid", message);
}

function block(text: string, family: 4 | 6): Cidr {
  const cidr = parseCidr(text);
  if (cidr === undefined || cidr.family !== family) throw invalid(`invalid CIDR address: ${text}`);
  return { family, base: cidr.base, prefix: cidr.prefix };
}

function parseBip(text: string): NetworkSettings["bip"] {
  const cidr = block(text, 4);
  const address = text.slice(0, text.indexOf("/"));
  const value = parseAddress(address)?.value as bigint;
  const last = cidr.base + (1n << BigInt(32 - cidr.prefix)) - 1n;
  if (cidr.prefix > 30 || value === cidr.base || value === last)
    throw invalid(`bip: ${text} is not the address of a bridge with its network's length, such as 192.168.5.1/24`);
  return { address, subnet: formatCidr(cidr) };
}

function parsePools(list: unknown): NetworkSettings["pools"] {
  const pools: { base: string; size: number }[] = [];
  for (const entry of list as Record<string, unknown>[]) {
    const unknown = Object.keys(entry).find((key) => key !== "base" && key !== "size");
    if (unknown !== undefined) throw invalid(`default-address-pools: unknown field ${JSON.stringify(unknown)}`);
    const { base, size } = entry;
    const cidr = typeof base === "string" ? parseCidr(base) : undefined;
    if (cidr === undefined) throw invalid(`invalid base pool ${JSON.stringify(base ?? "")}: invalid CIDR address`);
    const bits = cidr.family === 4 ? 32 : 128;
    if (!Number.isInteger(size) || (size as number) < cidr.prefix || (size as number) > bits)
      throw invalid(
        `the size of pool ${base as string} must be between ${cidr.prefix} and ${bits}, not ${String(size)}`,
      );
    if (
      pools.some(
        (pool) =>
          cidrOverlaps(block(pool.base, cidr.family), cidr) &&
          pool.base.includes(":") === (base as string).includes(":"),
      )
    )
      throw invalid(`default-address-pools: ${base as string} overlaps another pool`);
    pools.push({ base: formatCidr(cidr), size: size as number });
  }
  return pools.length === 0 ? undefined : pools;
}

/** Reads the network keys. Throws `invalid` for values that no network can have. */
export function networkSettings(values: DaemonJsonValues): NetworkSettings {
  const text = (key: "bip" | "fixed-cidr" | "fixed-cidr-v6" | "ip"): string | undefined =>
    (values[key] as string | undefined) || undefined;
  const bip = text("bip") === undefined ? undefined : parseBip(text("bip") as string);
  const fixed = text("fixed-cidr");
  const fixedCidr = fixed === undefined ? undefined : formatCidr(block(fixed, 4));
  if (fixedCidr !== undefined && bip !== undefined) {
    const [inner, outer] = [block(fixedCidr, 4), block(bip.subnet, 4)];
    if (inner.prefix < outer.prefix || !cidrContains(outer, 4, inner.base))
      throw invalid(
        `bridge IP ${bip.address}/${outer.prefix} and fixed-cidr ${fixedCidr}: the range is not inside the network`,
      );
  }
  const fixed6 = text("fixed-cidr-v6");
  const ipv6 = values.ipv6 === true;
  if (fixed6 !== undefined && !ipv6) throw invalid('fixed-cidr-v6 needs "ipv6": true');
  const hostBinding = text("ip");
  if (hostBinding !== undefined && parseAddress(hostBinding)?.family !== 4)
    throw invalid(`invalid IP address: ${hostBinding}`);
  const mtu = values.mtu as number | undefined;
  if (mtu !== undefined && mtu !== 0 && (mtu < 68 || mtu > 65_535)) throw invalid(`invalid default MTU: ${mtu}`);
  return {
    bip,
    fixedCidr,
    fixedCidr6: fixed6 === undefined ? undefined : formatCidr(block(fixed6, 6)),
    ipv6,
    icc: values.icc !== false,
    masquerade: values["ip-masq"] !== false,
    hostBinding,
    mtu: mtu === 0 ? undefined : mtu,
    pools: parsePools(values["default-address-pools"] ?? []),
  };
}

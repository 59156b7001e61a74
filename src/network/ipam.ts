import { GantryError } from "#base/errors.ts";
import {
  addressBits,
  type Cidr,
  cidrContains,
  cidrOverlaps,
  cidrSize,
  type Family,
  formatAddress,
  formatCidr,
  parseAddress,
  requireCidr,
} from "./addresses.ts";

export interface AddressPoolOptions {
  subnet: Cidr;
  /** Dynamic addresses come only from here. */
  range?: Cidr;
  /**
   * `lowest`: the lowest free address, as docker does. `next`: the one after the last given out, so that an
   * address rests before it is used again, as pods want.
   */
  order?: "lowest" | "next";
}

/**
 * The addresses of one subnet. Network and broadcast address (IPv4) are never given out. What is allocated is
 * not stored: it follows from the endpoints that live, which `reserve` puts back after a restart.
 */
export class AddressPool {
  readonly subnet: Cidr;
  readonly #range: Cidr;
  readonly #order: "lowest" | "next";
  readonly #used = new Set<bigint>();
  #next: bigint;

  constructor(options: AddressPoolOptions) {
    this.subnet = options.subnet;
    this.#range = options.range ?? options.subnet;
    this.#order = options.order ?? "lowest";
    this.#next = this.#range.base;
  }

  get family(): Family {
    return this.subnet.family;
  }

  get usedCount(): number {
    return this.#used.size;
  }

  #usable(value: bigint): boolean {
    const hostBits = addressBits(this.family) - this.subnet.prefix;
    if (hostBits <= 1) return true;
    if (value === this.subnet.base) return false;
    return this.family === 6 || value !== this.subnet.base + cidrSize(this.subnet) - 1n;
  }

  /** A free address. Throws docker's "no available IPv4 addresses on this network's address pools". */
  allocate(): string {
    const { base } = this.#range;
    const size = cidrSize(this.#range);
    const start = this.#order === "next" ? this.#next - base : 0n;
    // A free one is found within as many steps as addresses are used, so this ends early in huge blocks.
    const steps = size < BigInt(this.#used.size) + 4n ? size : BigInt(this.#used.size) + 4n;
    for (let step = 0n; step < steps; step++) {
      const value = base + ((start + step) % size);
      if (!this.#usable(value) || this.#used.has(value)) continue;
      this.#used.add(value);
      this.#next = value + 1n >= base + size ? base : value + 1n;
      return formatAddress(this.family, value);
    }
    throw new GantryError(
      "exhausted",
      `no available IPv${this.family} addresses on this network's address pools: (${formatCidr(this.subnet)})`,
    );
  }

  /** True when the address is in the subnet. */
  contains(address: string): boolean {
    const parsed = parseAddress(address);
    return parsed !== undefined && cidrContains(this.subnet, parsed.family, parsed.value);
  }

  isUsed(address: string): boolean {
    const parsed = parseAddress(address);
    return parsed !== undefined && this.#used.has(parsed.value);
  }

  /** Takes this very address. Throws `forbidden` with docker's "Address already in use". */
  reserve(address: string): void {
    const parsed = parseAddress(address);
    if (parsed === undefined) throw new GantryError("invalid", `invalid IP address: ${address}`);
    if (!cidrContains(this.subnet, parsed.family, parsed.value)) {
      throw new GantryError("forbidden", "Requested address is out of range");
    }
    if (this.#used.has(parsed.value)) throw new GantryError("forbidden", "Address already in use");
    this.#used.add(parsed.value);
  }

  release(address: string): void {
    const parsed = parseAddress(address);
    if (parsed !== undefined) this.#used.delete(parsed.value);
  }
}

export interface SubnetPool {
  base: string;
  /** Prefix length of each subnet. */
  size: number;
}

/**
 * Picks subnets for networks: the first of the default pools that overlaps nothing. Throws docker's sentence
 * when there is none. `taken` is every subnet of a network, and every route of the machine.
 */
export function pickSubnet(pools: readonly SubnetPool[], family: Family, taken: readonly Cidr[]): Cidr {
  for (const pool of pools) {
    const base = requireCidr(pool.base);
    if (base.family !== family) continue;
    const inside = taken.filter((cidr) => cidrOverlaps(cidr, base)).sort((a, b) => (a.base < b.base ? -1 : 1));
    const step = 1n << BigInt(addressBits(family) - pool.size);
    const end = base.base + cidrSize(base);
    let at = base.base;
    for (const cidr of inside) {
      // What is taken lies in order: the first gap is wide enough, or what follows it tells where to go on.
      if (cidr.base >= at + step) break;
      const after = cidr.base + cidrSize(cidr);
      if (after > at) at = base.base + ((after - base.base + step - 1n) / step) * step;
    }
    if (at + step <= end) return { family, base: at, prefix: pool.size };
  }
  throw new GantryError("invalid", "all predefined address pools have been fully subnetted");
}

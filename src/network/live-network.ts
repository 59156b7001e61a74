import type { NetworkResource } from "#api/docker/object-types.ts";
import { GantryError } from "#base/errors.ts";
import { type Cidr, type Family, parseAddress, requireCidr } from "./addresses.ts";
import { AddressPool } from "./ipam.ts";
import { isBuiltin, joined, type NetworkDefinition } from "./network-definition.ts";
import { standsOnParent } from "./network-options.ts";
import { NetworkNames } from "./network-names.ts";
import type { Endpoint } from "./network-types.ts";

interface Subnet {
  pool: AddressPool;
  cidr: Cidr;
  gateway: string;
}

export interface AllocatedAddresses {
  ipv4: string;
  ipv4PrefixLength: number;
  gateway: string;
  ipv6: string;
  ipv6PrefixLength: number;
  ipv6Gateway: string;
}

/** A network with what happens on it: addresses in use, endpoints, names. */
export class LiveNetwork {
  readonly definition: NetworkDefinition;
  /** By container id. */
  readonly endpoints = new Map<string, Endpoint>();
  readonly names = new NetworkNames();
  /** Of the bridge, or of the parent of macvlan and ipvlan links. */
  linkIndex = 0;
  readonly #subnets: Subnet[];

  constructor(definition: NetworkDefinition) {
    this.definition = definition;
    this.#subnets = definition.IPAM.Config.flatMap((config) => {
      if (config.Subnet === undefined) return [];
      const cidr = requireCidr(config.Subnet);
      const pool = new AddressPool({ subnet: cidr, ...(config.IPRange ? { range: requireCidr(config.IPRange) } : {}) });
      const gateway = config.Gateway ?? "";
      if (gateway !== "") pool.reserve(gateway);
      for (const address of Object.values(config.AuxiliaryAddresses ?? {}))
        if (!pool.isUsed(address)) pool.reserve(address);
      return [{ pool, cidr, gateway }];
    });
  }

  get hasBridge(): boolean {
    return this.definition.Driver === "bridge" || this.definition.Driver === "overlay";
  }

  get hasInterfaces(): boolean {
    return this.hasBridge || standsOnParent(this.definition.Driver);
  }

  get isUserDefined(): boolean {
    return !isBuiltin(this.definition.Name);
  }

  /** Addresses for a new endpoint, the given ones or free ones. Throws in docker's words, and takes nothing then. */
  allocate(ipv4: string | undefined, ipv6: string | undefined): AllocatedAddresses {
    this.checkFixed(ipv4, ipv6);
    const taken: AllocatedAddresses = {
      ipv4: "",
      ipv4PrefixLength: 0,
      gateway: "",
      ipv6: "",
      ipv6PrefixLength: 0,
      ipv6Gateway: "",
    };
    if (!this.hasInterfaces) return taken;
    const first = this.#take(4, ipv4);
    if (first !== undefined) {
      taken.ipv4 = first.address;
      taken.ipv4PrefixLength = first.subnet.cidr.prefix;
      taken.gateway = this.definition.Internal ? "" : first.subnet.gateway;
    }
    try {
      const second = this.#take(6, ipv6);
      if (second !== undefined) {
        taken.ipv6 = second.address;
        taken.ipv6PrefixLength = second.subnet.cidr.prefix;
        taken.ipv6Gateway = this.definition.Internal ? "" : second.subnet.gateway;
      }
    } catch (error) {
      this.release(taken);
      throw error;
    }
    return taken;
  }

  /** Throws, in docker's words, when an endpoint cannot have these addresses; all complaints in one error. */
  checkFixed(ipv4 = "", ipv6 = "", linkLocal: readonly string[] = []): void {
    const complaints: string[] = [];
    if (!this.isUserDefined && (ipv4 !== "" || ipv6 !== "")) {
      complaints.push("user specified IP address is supported on user defined networks only");
    }
    const isOf = (family: Family, address: string): boolean => parseAddress(address)?.family === family;
    if (ipv4 !== "" && !isOf(4, ipv4)) complaints.push(`invalid IPv4 address: ${ipv4}`);
    if (ipv6 !== "" && !isOf(6, ipv6)) complaints.push(`invalid IPv6 address: ${ipv6}`);
    for (const address of linkLocal) {
      if (parseAddress(address) === undefined) complaints.push(`invalid link-local IP address: ${address}`);
    }
    for (const [family, address] of [
      [4, ipv4],
      [6, ipv6],
    ] as const) {
      const subnets = this.#subnets.filter(({ cidr }) => cidr.family === family && this.#isStatic(cidr));
      if (address === "" || subnets.some(({ pool }) => isOf(family, address) && pool.contains(address))) continue;
      complaints.push(
        subnets.length > 0
          ? `no configured subnet or ip-range contain the IP address ${address}`
          : "user specified IP address is supported only when connecting to networks with user configured subnets",
      );
    }
    if (complaints.length > 0) throw new GantryError("invalid", `invalid endpoint settings:\n${joined(complaints)}`);
  }

  /** Somebody chose this subnet: it will be the same for ever. The default bridge's is the instance's. */
  #isStatic(cidr: Cidr): boolean {
    if (!this.isUserDefined) return true;
    return this.definition.userSubnets.some((text) => {
      const { base, family, prefix } = requireCidr(text);
      return base === cidr.base && family === cidr.family && prefix === cidr.prefix;
    });
  }

  #take(family: Family, fixed: string | undefined): { address: string; subnet: Subnet } | undefined {
    const subnets = this.#subnets.filter(({ cidr }) => cidr.family === family);
    if (fixed !== undefined && fixed !== "") {
      const subnet = subnets.find(({ pool }) => pool.contains(fixed));
      if (subnet === undefined) throw new GantryError("invalid", `no configured subnet contains IP address ${fixed}`);
      subnet.pool.reserve(fixed);
      return { address: fixed, subnet };
    }
    let failure: unknown;
    for (const subnet of subnets) {
      try {
        return { address: subnet.pool.allocate(), subnet };
      } catch (error) {
        failure = error;
      }
    }
    if (failure !== undefined) throw failure;
    return undefined;
  }

  /** Takes the addresses of an endpoint that lives already. */
  reserve(endpoint: Pick<Endpoint, "ipv4" | "ipv6">): void {
    for (const address of [endpoint.ipv4, endpoint.ipv6]) {
      const pool = this.#subnets.find((subnet) => subnet.pool.contains(address))?.pool;
      if (pool !== undefined && !pool.isUsed(address)) pool.reserve(address);
    }
  }

  release(endpoint: Pick<Endpoint, "ipv4" | "ipv6">): void {
    for (const { pool } of this.#subnets) {
      if (endpoint.ipv4 !== "") pool.release(endpoint.ipv4);
      if (endpoint.ipv6 !== "") pool.release(endpoint.ipv6);
    }
  }

  /** docker's object, endpoints included. */
  resource(): NetworkResource {
    const { link: _link, userSubnets: _subnets, ownsParent: _owns, chosenGateways = [], ...shown } = this.definition;
    const { Config: configs, ...ipam } = shown.IPAM;
    // IPv4 first, whatever the order in which they were given.
    const isV6 = ({ Subnet = "" }): number => Number(Subnet.includes(":"));
    const Config = [...configs]
      .sort((a, b) => isV6(a) - isV6(b))
      .map(({ Gateway, ...config }) =>
        Gateway === undefined || chosenGateways.includes(config.Subnet ?? "") ? config : { ...config, Gateway },
      );
    const Containers: NetworkResource["Containers"] = {};
    for (const endpoint of this.endpoints.values()) {
      Containers[endpoint.containerId] = {
        Name: endpoint.containerName,
        EndpointID: endpoint.endpointId,
        MacAddress: endpoint.mac,
        IPv4Address: endpoint.ipv4 === "" ? "" : `${endpoint.ipv4}/${endpoint.ipv4PrefixLength}`,
        IPv6Address: endpoint.ipv6 === "" ? "" : `${endpoint.ipv6}/${endpoint.ipv6PrefixLength}`,
      };
    }
    return {
      ...shown,
      IPAM: { ...ipam, Config: this.hasInterfaces || this.definition.ConfigOnly ? Config : null },
      Containers,
    };
  }
}

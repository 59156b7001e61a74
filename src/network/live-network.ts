import type { NetworkResource } from "#api/docker/object-types.ts";
import { GantryError } from "#base/errors.ts";
import { type Cidr, type Family, parseAddress, requireCidr } from "./addresses.ts";
import { AddressPool } from "./ipam.ts";
import { isBuiltin, type NetworkDefinition } from "./network-definition.ts";
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
    this.#checkFixed(ipv4, ipv6);
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

  #checkFixed(ipv4: string | undefined, ipv6: string | undefined): void {
    const fixed = [ipv4, ipv6].filter((address) => address !== undefined && address !== "") as string[];
    if (fixed.length === 0) return;
    const refuse = (reason: string): never => {
      throw new GantryError(
        "invalid",
        `invalid config for network ${this.definition.Name}: invalid endpoint settings:\n${reason}`,
      );
    };
    if (!this.isUserDefined) refuse("user specified IP address is supported on user defined networks only");
    for (const address of fixed) {
      if (parseAddress(address) === undefined) refuse(`invalid IPv4 address: ${address}`);
      if (this.definition.userSubnets.length === 0) {
        refuse("user specified IP address is supported only when connecting to networks with user configured subnets");
      }
      if (!this.#subnets.some(({ pool }) => pool.contains(address))) {
        refuse(`no configured subnet contains IP address ${address}`);
      }
    }
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
    const { link: _link, userSubnets: _subnets, ownsParent: _owns, ...shown } = this.definition;
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
    return { ...shown, Containers };
  }
}

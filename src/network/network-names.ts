import type { Endpoint } from "./network-types.ts";

export interface NameAnswer {
  ipv4: string[];
  ipv6: string[];
}

/**
 * The names on one network: each container's name, the short form of its id, its hostname and its aliases. A
 * name may belong to several containers, which then answer in turn.
 */
export class NetworkNames {
  readonly #byName = new Map<string, Set<Endpoint>>();
  readonly #byAddress = new Map<string, Endpoint>();

  add(endpoint: Endpoint): void {
    for (const name of namesOf(endpoint)) {
      const known = this.#byName.get(name);
      if (known === undefined) this.#byName.set(name, new Set([endpoint]));
      else known.add(endpoint);
    }
    for (const address of [endpoint.ipv4, endpoint.ipv6]) if (address !== "") this.#byAddress.set(address, endpoint);
  }

  /** Must be the same object that was added, unchanged since. */
  remove(endpoint: Endpoint): void {
    for (const name of namesOf(endpoint)) {
      const known = this.#byName.get(name);
      if (known?.delete(endpoint) && known.size === 0) this.#byName.delete(name);
    }
    for (const address of [endpoint.ipv4, endpoint.ipv6]) {
      if (this.#byAddress.get(address) === endpoint) this.#byAddress.delete(address);
    }
  }

  lookup(name: string): NameAnswer | undefined {
    const endpoints = this.#byName.get(name.toLowerCase());
    if (endpoints === undefined) return undefined;
    return {
      ipv4: [...endpoints].flatMap(({ ipv4 }) => (ipv4 === "" ? [] : [ipv4])),
      ipv6: [...endpoints].flatMap(({ ipv6 }) => (ipv6 === "" ? [] : [ipv6])),
    };
  }

  /** The container's name at an address. */
  nameOf(address: string): string | undefined {
    return this.#byAddress.get(address)?.containerName;
  }
}

function namesOf(endpoint: Endpoint): Set<string> {
  const names = [endpoint.containerName, endpoint.containerId.slice(0, 12), endpoint.hostname, ...endpoint.aliases];
  return new Set(names.filter((name) => name !== "").map((name) => name.toLowerCase()));
}

import type { NetworkCreateBody, NetworkResource } from "#api/docker/object-types.ts";
import type { Logger } from "#base/log.ts";
import type { Endpoint, EndpointRequest, PublishRequest, RecoveryReport } from "./network-types.ts";

export interface NetworksOptions {
  /** Link names begin with it: `gt0`. At most four characters. */
  linkPrefix: string;
  /** The `bridge` network. */
  defaultBridge: { name: string; subnet: string; gateway?: string; mtu?: number; icc?: boolean };
  /** Where networks without a subnet take theirs from. */
  pools: { base: string; size: number }[];
  /** nftables table, family inet. */
  nftTable: string;
  /** Folder for `networks.json`. */
  stateDir: string;
  /** docker's `--dns`, `dns-search`: upstream of the embedded DNS; the machine's resolv.conf when empty. */
  dns?: string[];
}

/** Parts that the composition root gives. */
export interface NetworksParts {
  log: Logger;
}

export type NetworkEvent = {
  action: "create" | "connect" | "disconnect" | "destroy";
  networkId: string;
  networkName: string;
  driver: string;
  containerId?: string;
};

/**
 * docker's networks on this machine: definitions, bridges, endpoints, published ports and names. Every method
 * throws GantryErrors with docker's sentences (`not-found`, `already-exists`, `forbidden`, `invalid`).
 */
export interface NetworksPort {
  create(body: NetworkCreateBody): Promise<{ id: string; warning: string }>;
  /** Every network with its endpoints, built-in ones included. */
  list(): NetworkResource[];
  /** By name, id or prefix of an id. */
  inspect(ref: string): NetworkResource;
  remove(ref: string): Promise<void>;
  /** Removes user-defined networks without endpoints that `filter` takes; returns their names. */
  prune(filter: (network: NetworkResource) => boolean): Promise<string[]>;
  /** Gives a namespace its interface, address, routes, names and published ports. Undone wholly when it fails. */
  connect(request: EndpointRequest): Promise<Endpoint>;
  /** Takes a container off one network. Its other endpoints may get its default route and ports: returned. */
  disconnect(networkRef: string, containerId: string): Promise<Endpoint[]>;
  /** Takes a container off all networks: it stopped. Quiet when there is nothing. */
  release(containerId: string): Promise<void>;
  /** The endpoints that a container has now. */
  endpoints(containerId: string): Endpoint[];
  rename(containerId: string, newName: string): void;
  /** Replaces the published ports of a running container (`docker update`). */
  publish(containerId: string, ports: PublishRequest[]): Promise<Endpoint[]>;
  /** Called once at start, before anything else, with what is still alive. */
  recover(live: Endpoint[]): Promise<RecoveryReport>;
  /** Takes everything away that bears this instance's names: links, table, routes. */
  removeAll(): Promise<void>;
  onEvent(listener: (event: NetworkEvent) => void): () => void;
}

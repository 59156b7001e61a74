import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { NetworkCreateBody, NetworkResource } from "#api/docker/object-types.ts";
import { Emitter } from "#base/emitter.ts";
import { GantryError } from "#base/errors.ts";
import { KeyedLock } from "#base/keyed-lock.ts";
import type { Logger } from "#base/log.ts";
import { apply, deleteLinks, linkIndex, listLinks, setLink } from "#host/links.ts";
import type { NetlinkSocket } from "#host/netlink-socket.ts";
import { attachEndpoint, gatewaysOf, newEndpoint, setInterfaceSysctls } from "./attach-endpoint.ts";
import { ContainerNetworking } from "./container-networking.ts";
import { EmbeddedDns } from "./embedded-dns.ts";
import type { Firewall } from "./firewall.ts";
import { detach, detachInside, hasInterface } from "./interface.ts";
import type { LinkReaper } from "./link-reaper.ts";
import { LiveNetwork } from "./live-network.ts";
import {
  bridgeRuleOf,
  builtinNetworks,
  type DefaultBridge,
  defineNetwork,
  familiesOf,
  isBuiltin,
  type NetworkDefinition,
  withConfiguration,
} from "./network-definition.ts";
import { optionNames, standsOnParent, unknownOptions } from "./network-options.ts";
import { readNetworks, writeNetworks } from "./network-file.ts";
import { ensureNetworkLink, linksOf, routedRanges } from "./network-link.ts";
import type { Endpoint, EndpointRequest, PublishRequest, RecoveryReport } from "./network-types.ts";
import type { PortReservations } from "./ports.ts";
import { parseResolvConf } from "./resolv-conf.ts";

export interface NetworksOptions {
  /** Link names begin with it: `gt0`. At most four characters. */
  linkPrefix: string;
  /** The `bridge` network. */
  defaultBridge: DefaultBridge;
  /** Where networks without a subnet take theirs from. */
  pools: { base: string; size: number }[];
  /** Folder for `networks.json`. */
  stateDir: string;
  /** docker's `--dns`: upstream of the embedded DNS; the machine's resolv.conf when absent or empty. */
  dns?: string[];
}

export interface NetworksParts {
  log: Logger;
  firewall: Firewall;
  ports: PortReservations;
  socket: NetlinkSocket;
  reaper: LinkReaper;
}

export interface NetworkEvent {
  action: "create" | "connect" | "disconnect" | "destroy";
  networkId: string;
  networkName: string;
  driver: string;
  containerId?: string;
}

/**
 * docker's networks on this machine: definitions, bridges, endpoints, published ports and names. Every method
 * throws GantryErrors with docker's sentences (`not-found`, `already-exists`, `forbidden`, `invalid`); when a
 * container is being started, docker puts `failed to set up container networking: ` before them.
 */
export class Networks {
  readonly #options: NetworksOptions;
  readonly #parts: NetworksParts;
  readonly #file: string;
  readonly #networks = new Map<string, LiveNetwork>();
  readonly #containers = new Map<string, ContainerNetworking>();
  readonly #lock = new KeyedLock();
  readonly #events = new Emitter<NetworkEvent>();

  constructor(options: NetworksOptions, parts: NetworksParts) {
    this.#options = options;
    this.#parts = parts;
    this.#file = join(options.stateDir, "networks.json");
    const kept = readNetworks(this.#file);
    for (const builtin of builtinNetworks(options.defaultBridge, new Date())) {
      // The built-in networks follow the configuration, and keep their ids.
      const before = kept.find(({ Name }) => Name === builtin.Name);
      const network = before === undefined ? builtin : { ...builtin, Id: before.Id, Created: before.Created };
      this.#networks.set(network.Id, new LiveNetwork(network));
    }
    for (const network of kept) if (!isBuiltin(network.Name)) this.#networks.set(network.Id, new LiveNetwork(network));
  }

  /** Told of every change; the engine makes events of them. Returns the function that ends it. */
  onEvent(listener: (event: NetworkEvent) => void): () => void {
    return this.#events.on(listener);
  }

  /** Makes a network with its link and rules. Undone wholly when it fails. */
  async create(body: NetworkCreateBody): Promise<{ id: string; warning: string }> {
    const existing = this.#definitions();
    const { isPicked } = familiesOf(withConfiguration(body, existing));
    const taken = isPicked ? await routedRanges(this.#parts.socket) : [];
    const network = defineNetwork(body, {
      existing,
      pools: this.#options.pools,
      taken,
      linkPrefix: this.#options.linkPrefix,
      now: new Date(),
    });
    if (network.link !== "" && !standsOnParent(network.Driver) && linkIndex(network.link) > 0) {
      throw new GantryError("conflict", `a link named ${network.link} is there already and is not Gantry's`);
    }
    const live = new LiveNetwork(network);
    this.#networks.set(network.Id, live);
    try {
      this.#write();
      await this.#bringUp(live);
      if (network.ownsParent) this.#write();
    } catch (error) {
      this.#networks.delete(network.Id);
      this.#write();
      await this.#takeDown([network]);
      throw error;
    }
    this.#emit("create", network);
    const unknown = unknownOptions(network.Options);
    const warning = unknown.length === 0 ? "" : `Options without effect: ${unknown.join(", ")}.`;
    if (warning !== "")
      this.#parts.log.warn("A network has options without effect.", { network: network.Name, unknown });
    return { id: network.Id, warning };
  }

  async #bringUp(live: LiveNetwork): Promise<boolean> {
    const { index, created } = await ensureNetworkLink(this.#parts.socket, live.definition);
    live.linkIndex = index;
    if (live.hasBridge) await this.#parts.firewall.addBridge(bridgeRuleOf(live.definition));
    return created;
  }

  async #takeDown(networks: readonly NetworkDefinition[]): Promise<void> {
    await this.#parts.firewall.removeBridges(networks.map(({ link }) => link));
    const now: string[] = [];
    for (const network of networks) {
      const heir = standsOnParent(network.Driver)
        ? this.#definitions().find(({ Driver, link }) => standsOnParent(Driver) && link === network.link)
        : undefined;
      if (heir !== undefined) {
        if (network.ownsParent) heir.ownsParent = true;
      } else if (network.link === `${this.#options.linkPrefix}-${network.Id.slice(0, 10)}`) {
        // Never wanted again under this name: it is silent now and goes in the background, which is slow.
        for (const link of linksOf(network)) await this.#parts.reaper.reap(link);
      } else now.push(...linksOf(network));
    }
    await deleteLinks(this.#parts.socket, now);
  }

  /** Every network with its endpoints, built-in ones included. */
  list(): NetworkResource[] {
    return [...this.#networks.values()].map((live) => live.resource());
  }

  /** By name, id or unambiguous prefix of an id. */
  inspect(ref: string): NetworkResource {
    return this.#find(ref).resource();
  }

  /** Throws when an endpoint of a network cannot have the addresses that are asked for. */
  checkEndpoint(ref: string, asked: { ipv4?: string; ipv6?: string; linkLocal?: readonly string[] }): void {
    this.#find(ref).checkFixed(asked.ipv4, asked.ipv6, asked.linkLocal);
  }

  /** True for networks with an embedded DNS: all but the built-in ones. */
  isUserDefined(ref: string): boolean {
    return !isBuiltin(this.#find(ref).definition.Name);
  }

  async remove(ref: string): Promise<void> {
    const { definition, endpoints } = this.#find(ref);
    if (isBuiltin(definition.Name)) {
      throw new GantryError("forbidden", `${definition.Name} is a pre-defined network and cannot be removed`);
    }
    if (endpoints.size > 0) {
      const names = [...endpoints.values()].map(
        (one) => `name:"${one.containerName}" id:"${one.containerId.slice(0, 12)}"`,
      );
      throw new GantryError(
        "forbidden",
        `error while removing network: network ${definition.Name} has active endpoints (${names.join(", ")})`,
      );
    }
    if (definition.ConfigOnly && this.#definitions().some((other) => other.ConfigFrom.Network === definition.Name)) {
      throw new GantryError("forbidden", `configuration network "${definition.Name}" is in use`);
    }
    this.#networks.delete(definition.Id);
    await this.#takeDown([definition]);
    this.#write();
    this.#emit("destroy", definition);
  }

  /** Removes user-defined networks without endpoints that `filter` takes; returns their names. */
  async prune(filter: (network: NetworkResource) => boolean): Promise<string[]> {
    const doomed = [...this.#networks.values()].filter(
      (live) =>
        live.isUserDefined && !live.definition.ConfigOnly && live.endpoints.size === 0 && filter(live.resource()),
    );
    for (const { definition } of doomed) this.#networks.delete(definition.Id);
    await this.#takeDown(doomed.map(({ definition }) => definition));
    this.#write();
    for (const { definition } of doomed) this.#emit("destroy", definition);
    return doomed.map(({ definition }) => definition.Name);
  }

  /** Gives a namespace its interface, address, routes, names and published ports. Undone wholly when it fails. */
  connect(request: EndpointRequest): Promise<Endpoint> {
    return this.#lock.run(request.containerId, async () => {
      const live = this.#find(request.network);
      if (live.definition.ConfigOnly)
        throw new GantryError("forbidden", "cannot create endpoint on configuration-only network");
      const container = this.#container(request.containerId);
      const endpoint = newEndpoint(live, container.endpoints, request, this.#options.linkPrefix);
      live.endpoints.set(request.containerId, endpoint);
      container.endpoints.push(endpoint);
      if (request.ports !== undefined) container.requests = [...request.ports];
      try {
        await this.#plumb(live, container, endpoint, request);
      } catch (error) {
        await this.#undo(live, container, endpoint);
        throw error;
      }
      if (live.isUserDefined) live.names.add(endpoint);
      this.#emit("connect", live.definition, request.containerId);
      return endpoint;
    });
  }

  async #plumb(
    live: LiveNetwork,
    container: ContainerNetworking,
    endpoint: Endpoint,
    request: EndpointRequest,
  ): Promise<void> {
    if (!live.hasInterfaces) return;
    const before = container.gatewayEndpoint;
    container.chooseGateway((id) => this.#networks.get(id)?.definition.Internal ?? true);
    const isGateway = container.gatewayEndpoint === endpoint;
    // The old way out keeps its ports until the new interface stands.
    const isWayOut = isGateway || container.gatewayEndpoint === undefined;
    await attachEndpoint(this.#parts.socket, live, endpoint, { isWayOut, linkLocal: request.linkLocal ?? [] });
    setInterfaceSysctls(endpoint, request.sysctls ?? []);
    if (isGateway || before !== container.gatewayEndpoint) {
      if (before !== undefined && before !== endpoint) await container.unpublish(this.#parts);
      await container.publish(this.#parts, this.#hostBinding(live));
    }
    if (live.isUserDefined) await this.#startDns(container, endpoint.netnsPath);
  }

  #hostBinding(live: LiveNetwork): string {
    const address = live.definition.Options[optionNames.hostBinding] ?? "";
    return address === "0.0.0.0" ? "" : address;
  }

  async #undo(live: LiveNetwork, container: ContainerNetworking, endpoint: Endpoint): Promise<void> {
    live.endpoints.delete(endpoint.containerId);
    container.endpoints.splice(container.endpoints.indexOf(endpoint), 1);
    live.release(endpoint);
    if (container.gatewayEndpoint === endpoint) await container.unpublish(this.#parts);
    if (endpoint.hostInterface !== "") await detach(this.#parts.socket, endpoint.hostInterface);
    else if (endpoint.interfaceName !== "") await detachInside(endpoint.netnsPath, endpoint.interfaceName);
    await this.#settle(container);
  }

  /** After an endpoint went: way out, ports and DNS of what is left. */
  async #settle(container: ContainerNetworking): Promise<void> {
    if (!container.endpoints.some(({ networkId }) => this.#networks.get(networkId)?.isUserDefined)) container.stopDns();
    if (container.endpoints.length === 0) {
      this.#containers.delete(container.id);
      return;
    }
    const before = container.gatewayEndpoint;
    container.chooseGateway((id) => this.#networks.get(id)?.definition.Internal ?? true);
    const gateway = container.gatewayEndpoint;
    if (gateway === before || gateway === undefined) return;
    await container.routeThrough(gateway, gatewaysOf(gateway));
    const live = this.#networks.get(gateway.networkId);
    if (live !== undefined) await container.publish(this.#parts, this.#hostBinding(live));
  }

  /** Takes a container off one network. Returns its other endpoints, which may have its way out and ports now. */
  disconnect(networkRef: string, containerId: string): Promise<Endpoint[]> {
    return this.#lock.run(containerId, async () => {
      const live = this.#find(networkRef);
      const endpoint = live.endpoints.get(containerId);
      const container = this.#containers.get(containerId);
      if (endpoint === undefined || container === undefined) {
        throw new GantryError(
          "forbidden",
          `container ${containerId} is not connected to network ${live.definition.Name}`,
        );
      }
      live.names.remove(endpoint);
      await this.#undo(live, container, endpoint);
      this.#emit("disconnect", live.definition, containerId);
      return container.endpoints;
    });
  }

  /**
   * Takes a container off all networks: it stopped. Quiet when there is nothing. Its links are silent before
   * anything else is connected, and taken away in the background.
   */
  release(containerId: string): Promise<void> {
    return this.#lock.run(containerId, async () => {
      const container = this.#containers.get(containerId);
      if (container === undefined) return;
      this.#containers.delete(containerId);
      container.stopDns();
      for (const endpoint of container.endpoints) {
        const live = this.#networks.get(endpoint.networkId);
        live?.names.remove(endpoint);
        live?.endpoints.delete(containerId);
        live?.release(endpoint);
        if (endpoint.hostInterface !== "") this.#parts.reaper.reapSoon(endpoint.hostInterface);
        if (live !== undefined) this.#emit("disconnect", live.definition, containerId);
      }
      await container.unpublish(this.#parts);
    });
  }

  /** The endpoints that a container has now. */
  endpoints(containerId: string): Endpoint[] {
    return [...(this.#containers.get(containerId)?.endpoints ?? [])];
  }

  /** The container's new name in DNS and `docker network inspect`. */
  rename(containerId: string, newName: string): void {
    for (const endpoint of this.#containers.get(containerId)?.endpoints ?? []) {
      const live = this.#networks.get(endpoint.networkId);
      live?.names.remove(endpoint);
      endpoint.containerName = newName;
      if (live?.isUserDefined) live.names.add(endpoint);
    }
  }

  /** Replaces the published ports of a running container (`docker update`). */
  publish(containerId: string, ports: PublishRequest[]): Promise<Endpoint[]> {
    return this.#lock.run(containerId, async () => {
      const container = this.#containers.get(containerId);
      if (container === undefined) throw new GantryError("not-found", `No such container: ${containerId}`);
      const before = container.requests;
      await container.unpublish(this.#parts);
      const live = this.#networks.get(container.gatewayEndpoint?.networkId ?? "");
      try {
        container.requests = ports;
        if (live !== undefined) await container.publish(this.#parts, this.#hostBinding(live));
      } catch (error) {
        container.requests = before;
        if (live !== undefined) await container.publish(this.#parts, this.#hostBinding(live));
        throw error;
      }
      return [...container.endpoints];
    });
  }

  /**
   * Brings kernel and memory together at the start, before the firewall's `start`: links of networks, addresses,
   * names and ports of the endpoints that live. `report` gets what was lost or made again.
   */
  async recover(live: readonly Endpoint[], report: RecoveryReport): Promise<void> {
    const { socket, log } = this.#parts;
    for (const network of this.#networks.values()) {
      try {
        if ((await this.#bringUp(network)) && !isBuiltin(network.definition.Name)) {
          report.recreatedBridges.push(network.definition.link);
        }
      } catch (error) {
        log.error("A network could not be brought up.", { network: network.definition.Name, error });
      }
    }
    this.#write();
    const links = new Map((await listLinks(socket)).map((link) => [link.name, link]));
    for (const endpoint of live) {
      const network = this.#networks.get(endpoint.networkId);
      const link = links.get(endpoint.hostInterface);
      const isThere =
        endpoint.hostInterface !== ""
          ? link !== undefined
          : endpoint.interfaceName === "" || hasInterface(endpoint.netnsPath, endpoint.interfaceName);
      if (network === undefined || !isThere) {
        report.lostEndpoints.push(endpoint.endpointId);
        continue;
      }
      if (link !== undefined && link.master !== network.linkIndex) {
        await apply(socket, [setLink(link.index, { master: network.linkIndex })]);
      }
      await this.#readopt(network, endpoint, report);
    }
    this.#reportStrays(live, links, report);
  }

  async #readopt(network: LiveNetwork, endpoint: Endpoint, report: RecoveryReport): Promise<void> {
    const container = this.#container(endpoint.containerId);
    network.reserve(endpoint);
    network.endpoints.set(endpoint.containerId, endpoint);
    container.endpoints.push(endpoint);
    container.chooseGateway((id) => this.#networks.get(id)?.definition.Internal ?? true);
    if (endpoint.ports.length > 0) report.lostPorts.push(...(await container.republish(this.#parts, endpoint)));
    if (!network.isUserDefined) return;
    network.names.add(endpoint);
    try {
      await this.#startDns(container, endpoint.netnsPath);
    } catch (error) {
      this.#parts.log.error("A container's DNS could not be started again.", { container: container.id, error });
    }
  }

  #reportStrays(live: readonly Endpoint[], links: Map<string, { kind: string }>, report: RecoveryReport): void {
    const known = new Set([
      ...live.map(({ hostInterface }) => hostInterface),
      ...this.#definitions().map(({ link }) => link),
    ]);
    const { linkPrefix } = this.#options;
    for (const [name, { kind }] of links) {
      const isBridge = kind === "bridge" && new RegExp(`^${linkPrefix}-[0-9a-f]{10}$`).test(name);
      const isPort = kind === "veth" && new RegExp(`^${linkPrefix}v[0-9a-f]{10}$`).test(name);
      if ((isBridge || isPort) && !known.has(name)) report.removedLinks.push(name);
    }
  }

  /** Forgets all containers without touching kernel state: the process ends, they live on. */
  close(): void {
    for (const container of this.#containers.values()) container.stopDns();
  }

  /** Takes all links away that bear our names. */
  async removeAll(): Promise<void> {
    await deleteLinks(this.#parts.socket, this.#definitions().flatMap(linksOf));
  }

  async #startDns(container: ContainerNetworking, netnsPath: string): Promise<void> {
    if (container.dns !== undefined) return;
    container.dns = await EmbeddedDns.start({
      netnsPath,
      networks: () =>
        container.endpoints.flatMap(({ networkId, links = {} }) => {
          const live = this.#networks.get(networkId);
          if (live === undefined || !live.isUserDefined) return [];
          return [{ name: live.definition.Name, names: live.names, links, internal: live.definition.Internal }];
        }),
      upstream: () => container.endpoints.find(({ dns }) => dns !== undefined)?.dns ?? this.#upstream(),
      log: this.#parts.log,
    });
  }

  #upstream(): readonly string[] {
    const { dns } = this.#options;
    if (dns !== undefined && dns.length > 0) return dns;
    try {
      return parseResolvConf(readFileSync("/etc/resolv.conf", "utf8")).servers;
    } catch {
      return [];
    }
  }

  #container(id: string): ContainerNetworking {
    let container = this.#containers.get(id);
    if (container === undefined) this.#containers.set(id, (container = new ContainerNetworking(id)));
    return container;
  }

  #definitions(): NetworkDefinition[] {
    return [...this.#networks.values()].map(({ definition }) => definition);
  }

  #write(): void {
    writeNetworks(this.#file, this.#definitions());
  }

  #find(ref: string): LiveNetwork {
    const name = ref === "default" || ref === "" ? "bridge" : ref;
    const byId = this.#networks.get(name);
    if (byId !== undefined) return byId;
    const all = [...this.#networks.values()];
    const byName = all.find(({ definition }) => definition.Name === name);
    if (byName !== undefined) return byName;
    const byPrefix = all.filter(({ definition }) => definition.Id.startsWith(name));
    if (byPrefix.length > 1) {
      throw new GantryError(
        "invalid",
        `network ${ref} is ambiguous (${byPrefix.length} matches found based on ID prefix)`,
      );
    }
    if (byPrefix[0] === undefined) throw new GantryError("not-found", `network ${ref} not found`);
    return byPrefix[0];
  }

  #emit(action: NetworkEvent["action"], network: NetworkDefinition, containerId?: string): void {
    const { Id: networkId, Name: networkName, Driver: driver } = network;
    this.#events.emit({
      action,
      networkId,
      networkName,
      driver,
      ...(containerId === undefined ? {} : { containerId }),
    });
  }
}

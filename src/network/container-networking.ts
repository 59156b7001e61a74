import { GantryError } from "#base/errors.ts";
import type { EmbeddedDns } from "./embedded-dns.ts";
import type { Firewall } from "./firewall.ts";
import { setDefaultRoutes } from "./interface.ts";
import type { Endpoint, PublishedPort, PublishRequest } from "./network-types.ts";
import { standsOnParent } from "./network-options.ts";
import { portRules, type PortReservations, requestsOf } from "./ports.ts";
import type { PortRule } from "./rules.ts";

export interface PublishParts {
  firewall: Firewall;
  ports: PortReservations;
}

/** One container's place in its networks: its endpoints, which of them is its way out, its ports and its DNS. */
export class ContainerNetworking {
  readonly id: string;
  /** In the order of connection. */
  readonly endpoints: Endpoint[] = [];
  /** What is to be published on whichever endpoint is the way out. */
  requests: PublishRequest[] = [];
  gatewayEndpoint: Endpoint | undefined;
  dns: EmbeddedDns | undefined;
  #published: { ports: PublishedPort[]; rules: PortRule[]; endpoint: Endpoint } | undefined;

  constructor(id: string) {
    this.id = id;
  }

  /** docker's choice: the highest priority, then the network's name; an internal network is never the way out. */
  chooseGateway(isInternal: (networkId: string) => boolean): void {
    const candidates = this.endpoints
      .filter(({ networkId, gateway, ipv6Gateway }) => !isInternal(networkId) && (gateway !== "" || ipv6Gateway !== ""))
      .sort((a, b) => b.gatewayPriority - a.gatewayPriority || (a.networkName < b.networkName ? -1 : 1));
    this.gatewayEndpoint = candidates[0];
  }

  /** Routes what has no other way through the endpoint's gateways. */
  async routeThrough(endpoint: Endpoint, gateways: readonly { ip: string }[]): Promise<void> {
    await setDefaultRoutes(endpoint.netnsPath, endpoint.interfaceName, gateways);
  }

  /** Publishes what was asked for on the endpoint that is the way out. `hostIp` is for requests that name none. */
  async publish(parts: PublishParts, hostIp: string): Promise<void> {
    const endpoint = this.gatewayEndpoint;
    if (endpoint === undefined || this.requests.length === 0 || standsOnParent(endpoint.driver)) return;
    const target = { ipv4: endpoint.ipv4, ipv6: endpoint.ipv6 };
    const requests = this.requests.map((request) => (request.hostIp === "" ? { ...request, hostIp } : request));
    try {
      const { ports, rules } = await parts.ports.reserve(requests, target);
      this.#published = { ports, rules, endpoint };
      await parts.firewall.addPorts(rules);
      endpoint.ports = ports;
    } catch (error) {
      if (this.#published !== undefined) parts.ports.release(this.#published.ports);
      this.#published = undefined;
      throw new GantryError(
        error instanceof GantryError ? error.code : "internal",
        `driver failed programming external connectivity on endpoint ${endpoint.containerName} (${endpoint.endpointId}): ${(error as Error).message}`,
        { cause: error },
      );
    }
  }

  async unpublish(parts: PublishParts): Promise<void> {
    const published = this.#published;
    if (published === undefined) return;
    this.#published = undefined;
    published.endpoint.ports = [];
    await parts.firewall.removePorts(published.rules);
    parts.ports.release(published.ports);
  }

  /**
   * Takes the ports of an endpoint that lives already. One that another program holds by now still works, as
   * the rules stand before sockets, but is not held by us: it is returned.
   */
  async republish(parts: PublishParts, endpoint: Endpoint): Promise<PublishedPort[]> {
    const target = { ipv4: endpoint.ipv4, ipv6: endpoint.ipv6 };
    const lost: PublishedPort[] = [];
    for (const port of endpoint.ports) {
      try {
        await parts.ports.reserve(requestsOf([port]), target);
      } catch {
        lost.push(port);
      }
    }
    const rules = portRules(endpoint.ports, target);
    this.requests = requestsOf(endpoint.ports);
    this.#published = { ports: endpoint.ports, rules, endpoint };
    await parts.firewall.addPorts(rules);
    return lost;
  }

  stopDns(): void {
    this.dns?.close();
    this.dns = undefined;
  }
}

import type { Logger } from "#base/log.ts";
import { addAddress, addBridge, addRoute, apply, deleteLinks, linkIndex, listLinks, setLink } from "#host/links.ts";
import { NetlinkSocket } from "#host/netlink-socket.ts";
import { addressBits, addressBytes, formatAddress, requireCidr } from "./addresses.ts";
import { Firewall } from "./firewall.ts";
import { LinkReaper } from "./link-reaper.ts";
import { ensureFallbackRoutes, removeFallbackRoutes } from "./network-link.ts";
import type { Endpoint, PodEndpoint, RecoveryReport } from "./network-types.ts";
import { Networks, type NetworksOptions } from "./networks.ts";
import { PodNetwork, type PodNetworkOptions } from "./pod-network.ts";
import { PortReservations } from "./ports.ts";

export interface NetworkingOptions extends NetworksOptions {
  /** nftables table, family inet. */
  nftTable: string;
  /** Absent where there is no cluster. */
  pods?: Omit<PodNetworkOptions, "linkPrefix">;
  /** Service addresses, and the one of them that the cluster's DNS answers on; see `ensureServiceLink`. */
  services?: { cidr: string; dnsIp: string };
}

/**
 * All networking of one node: docker's networks and the pod network in one table, with one set of published
 * ports. Call `recover` before anything else.
 */
export class Networking {
  readonly networks: Networks;
  readonly pods: PodNetwork | undefined;
  readonly #options: NetworkingOptions;
  readonly #socket = NetlinkSocket.open();
  readonly #ports = new PortReservations();
  readonly #firewall: Firewall;
  readonly #reaper: LinkReaper;

  constructor(options: NetworkingOptions, parts: { log: Logger }) {
    this.#options = options;
    this.#firewall = new Firewall(options.nftTable, parts.log);
    this.#reaper = new LinkReaper(this.#socket, parts.log);
    const shared = {
      log: parts.log,
      firewall: this.#firewall,
      ports: this.#ports,
      socket: this.#socket,
      reaper: this.#reaper,
    };
    this.networks = new Networks(options, shared);
    if (options.pods !== undefined) {
      this.pods = new PodNetwork({ ...options.pods, linkPrefix: options.linkPrefix }, shared);
    }
  }

  /**
   * At the start, with what is alive by the engine's own records: finds bridges, addresses, ports and names
   * again, writes the table anew in one step (flows that are under way go on), and removes what has no owner.
   */
  async recover(live: { endpoints: readonly Endpoint[]; pods: readonly PodEndpoint[] }): Promise<RecoveryReport> {
    const report: RecoveryReport = { removedLinks: [], recreatedBridges: [], lostEndpoints: [], lostPorts: [] };
    await ensureFallbackRoutes(this.#socket, this.#ranges());
    await this.networks.recover(live.endpoints, report);
    await this.pods?.recover(live.pods, report);
    if (this.#options.services !== undefined) {
      await ensureServiceLink(this.#socket, `${this.#options.linkPrefix}-svc`, this.#options.services);
    }
    await this.#firewall.start();
    await deleteLinks(this.#socket, report.removedLinks);
    return report;
  }

  #ranges(): ReturnType<typeof requireCidr>[] {
    const { pools, defaultBridge, pods } = this.#options;
    const ranges = [...pools.map(({ base }) => base), defaultBridge.subnet];
    if (pods !== undefined) ranges.push(pods.clusterCidr ?? pods.cidr);
    return ranges.map(requireCidr);
  }

  /** The process ends; links, rules and containers stay as they are. */
  close(): void {
    this.networks.close();
    this.#reaper.close();
    this.#ports.releaseAll();
    this.#firewall.close();
    this.#socket.close();
  }

  /** Takes away everything that bears this instance's names: links, routes, table. Containers must have ended. */
  async removeAll(): Promise<void> {
    await this.networks.removeAll();
    await this.pods?.removeAll();
    const { linkPrefix } = this.#options;
    const ours = new RegExp(`^${linkPrefix}([vpxm][0-9a-f]{9,10}|-[0-9a-f]{10}|-svc)$`);
    const names = (await listLinks(this.#socket)).map(({ name }) => name).filter((name) => ours.test(name));
    await deleteLinks(this.#socket, names);
    await removeFallbackRoutes(this.#socket, this.#ranges());
    await this.#firewall.remove();
    this.#ports.releaseAll();
  }
}

/**
 * A bridge without ports, a link that leads nowhere (kernels without the dummy driver have it too), which carries the service addresses' route and the cluster DNS's own address. The
 * route lets the machine's own programs ask for a service at all: the kernel looks for a way before nftables
 * rewrites the destination, and what no service takes ends here. The DNS address is local to each node, so that
 * the server there simply binds it.
 */
export async function ensureServiceLink(
  socket: NetlinkSocket,
  name: string,
  services: { cidr: string; dnsIp: string },
): Promise<void> {
  if (linkIndex(name) === 0) await apply(socket, [addBridge({ name })]);
  const index = linkIndex(name);
  const cidr = requireCidr(services.cidr);
  const destination = { address: addressBytes(formatAddress(cidr.family, cidr.base)), prefixLength: cidr.prefix };
  await apply(socket, [
    addAddress(index, addressBytes(services.dnsIp), addressBits(cidr.family)),
    setLink(index, { up: true }),
    addRoute({ family: cidr.family, destination, link: index }),
  ]);
}

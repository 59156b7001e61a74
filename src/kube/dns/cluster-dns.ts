import { readFileSync, statSync } from "node:fs";
import { ref } from "#api/kube/object.ts";
import { type EndpointSlice, type Service, serviceOfSlice } from "#api/kube/service-types.ts";
import { GantryError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { TaskGroup } from "#base/task-group.ts";
import type { InformerFactory } from "#control/informer-factory.ts";
import { bindSocket, datagramOn, serverOn } from "#host/bound-sockets.ts";
import { addressBytes, canonicalAddress, requireCidr } from "#network/addresses.ts";
import { DnsForwarder } from "#network/dns-forwarder.ts";
import { decodeAddresses, type DnsQuestion, encodeQuery } from "#network/dns-message.ts";
import { DnsServer, type DnsVerdict } from "#network/dns-server.ts";
import { parseResolvConf } from "#network/resolv-conf.ts";
import { ClusterZone, type ExternalAlias } from "./cluster-zone.ts";

export interface ClusterDnsOptions {
  /** `cluster.local`. */
  domain: string;
  /** Where it answers, port 53. The address must be this node's: `Networking` puts it on the service link. */
  dnsIp: string;
  /** Service and pod ranges: their reverse names are ours. */
  ranges: readonly string[];
  /** Names the servers for all other domains. Default /etc/resolv.conf. */
  resolvConf?: string;
  /** Default 53. */
  port?: number;
}

export interface ClusterDnsParts {
  informers: InformerFactory;
  log: Logger;
}

const byClusterIp = "dns/cluster-ip";
const byService = "dns/service";
const byAddress = "dns/address";

/**
 * The cluster's DNS server. Each node has one, on the same address, which is local to every node (see
 * `ensureServiceLink`): pods ask their own node and no packet leaves it. Names of the cluster are answered from
 * informers, others asked of the machine's own servers.
 */
export class ClusterDns {
  readonly #options: ClusterDnsOptions;
  readonly #zone: ClusterZone;
  readonly #forwarder: DnsForwarder;
  readonly #server: DnsServer;
  readonly #namespaces = new Map<string, number>();
  #upstream: { modified: number; servers: string[] } = { modified: -1, servers: [] };

  constructor(options: ClusterDnsOptions, parts: ClusterDnsParts) {
    this.#options = options;
    const services = parts.informers.informer<Service>(ref("services"));
    const slices = parts.informers.informer<EndpointSlice>(ref("discovery.k8s.io/v1", "endpointslices"));
    services.addIndex(byClusterIp, ({ spec }) =>
      (spec?.clusterIPs ?? [spec?.clusterIP ?? ""]).flatMap((ip) => canonicalAddress(ip) ?? []),
    );
    slices.addIndex(byService, (slice) => [serviceOfSlice(slice) ?? ""]);
    slices.addIndex(byAddress, (slice) => (slice.endpoints ?? []).flatMap(({ addresses }) => addresses));
    services.addHandlers({
      add: (service) => this.#count(service, 1),
      delete: (service) => this.#count(service, -1),
    });
    this.#zone = new ClusterZone(
      { domain: options.domain, ranges: options.ranges.map(requireCidr), serverIp: options.dnsIp },
      {
        service: (key) => services.get(key),
        slices: (key) => slices.byIndex(byService, key),
        servicesByClusterIp: (ip) => services.byIndex(byClusterIp, ip),
        slicesByAddress: (ip) => slices.byIndex(byAddress, ip),
        hasNamespace: (namespace) => this.#namespaces.has(namespace),
      },
    );
    this.#forwarder = new DnsForwarder({ servers: () => this.#servers(), timeoutMs: 2_000 });
    this.#server = new DnsServer({
      resolve: (question) => this.#resolve(question),
      forwarder: this.#forwarder,
      log: parts.log,
    });
  }

  /** Listens; ends with the group. Throws `conflict` when another server holds the address's port 53. */
  async start(tasks: TaskGroup): Promise<void> {
    const { dnsIp, port = 53 } = this.#options;
    const family = dnsIp.includes(":") ? 6 : 4;
    const address = addressBytes(dnsIp);
    let udp: ReturnType<typeof bindSocket>;
    let tcp: ReturnType<typeof bindSocket>;
    try {
      udp = bindSocket({ type: "udp", family, address, port });
      tcp = bindSocket({ type: "tcp", family, address, port });
    } catch (cause) {
      throw new GantryError("conflict", `The cluster DNS cannot listen on ${dnsIp}:${port}.`, { cause });
    }
    this.#server.addUdp(await datagramOn(udp, family));
    this.#server.addTcp(await serverOn(tcp));
    tasks.signal.addEventListener("abort", () => this.#server.close(), { once: true });
  }

  #count(service: Service, change: number): void {
    const namespace = service.metadata?.namespace ?? "";
    const count = (this.#namespaces.get(namespace) ?? 0) + change;
    if (count > 0) this.#namespaces.set(namespace, count);
    else this.#namespaces.delete(namespace);
  }

  #resolve(question: DnsQuestion): DnsVerdict | Promise<DnsVerdict> {
    const answer = this.#zone.resolve(question);
    return answer !== "forward" && "alias" in answer ? this.#follow(question, answer) : answer;
  }

  /** An external name's alias, with the addresses that the servers outside know for it. */
  async #follow(question: DnsQuestion, { alias, records }: ExternalAlias): Promise<DnsVerdict> {
    const answers = [...records];
    const query = encodeQuery(0, { ...question, name: alias });
    const bytes = await this.#forwarder.forward(query, "udp");
    if (bytes !== undefined) answers.push(...decodeAddresses(bytes));
    return { rcode: "NOERROR", authoritative: true, answers };
  }

  /** The machine's servers as resolv.conf names them now, without ourselves: questions must not go in circles. */
  #servers(): readonly string[] {
    const path = this.#options.resolvConf ?? "/etc/resolv.conf";
    try {
      const modified = statSync(path).mtimeMs;
      if (modified !== this.#upstream.modified) {
        const servers = parseResolvConf(readFileSync(path, "utf8")).servers;
        this.#upstream = { modified, servers: servers.filter((server) => server !== this.#options.dnsIp) };
      }
    } catch {
      this.#upstream = { modified: -1, servers: [] };
    }
    return this.#upstream.servers;
  }
}

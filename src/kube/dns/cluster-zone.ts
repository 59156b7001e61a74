import {
  type EndpointSlice,
  type EndpointSliceEndpoint,
  type Service,
  type ServicePort,
  serviceOfSlice,
} from "#api/kube/service-types.ts";
import { addressOfReverseName, canonicalAddress, type Cidr, cidrContains, parseAddress } from "#network/addresses.ts";
import { type DnsQuestion, type DnsRecord, type DnsResponse, dnsType } from "#network/dns-message.ts";

/** What the zone reads of the cluster: informers with indexes, or plain maps in a test. */
export interface ZoneSource {
  service(key: string): Service | undefined;
  /** The EndpointSlices of a service, by its key. */
  slices(serviceKey: string): readonly EndpointSlice[];
  servicesByClusterIp(ip: string): readonly Service[];
  /** The EndpointSlices that have an endpoint with this address. */
  slicesByAddress(ip: string): readonly EndpointSlice[];
  /** A namespace that has services: its name is an empty non-terminal and no error. */
  hasNamespace(namespace: string): boolean;
}

export interface ClusterZoneOptions {
  /** `cluster.local`. */
  domain: string;
  /** Reverse names of these ranges are ours alone. */
  ranges: readonly Cidr[];
  /** The address of this server, for the NS record's glue. */
  serverIp: string;
  ttl?: number;
  /** 0 to 1: where the rotation of several addresses begins. */
  random?: () => number;
}

/** The name is a CNAME to a name that is not ours: the server adds what upstream says of it. */
export interface ExternalAlias {
  alias: string;
  records: DnsRecord[];
}

export type ZoneAnswer = DnsResponse | ExternalAlias | "forward";

interface Target {
  /** The label before the service's name; "" for the service itself. */
  host: string;
  addresses: string[];
  ports: { name: string; protocol: string; port: number }[];
}

/**
 * The names of a cluster (Kubernetes DNS-Based Service Discovery, version 1.1). Answers are computed from the
 * informers' state when asked; nothing is kept beside it.
 */
export class ClusterZone {
  readonly #options: ClusterZoneOptions;
  readonly #source: ZoneSource;
  readonly #ttl: number;
  readonly #random: () => number;

  constructor(options: ClusterZoneOptions, source: ZoneSource) {
    this.#options = options;
    this.#source = source;
    this.#ttl = options.ttl ?? 5;
    this.#random = options.random ?? Math.random;
  }

  resolve(question: DnsQuestion): ZoneAnswer {
    const name = question.name.toLowerCase();
    const { domain } = this.#options;
    if (name === domain) return this.#apex(question);
    if (name.endsWith(`.${domain}`)) {
      return this.#inside(question, name.slice(0, -domain.length - 1).split("."));
    }
    if (name.endsWith(".in-addr.arpa") || name.endsWith(".ip6.arpa")) return this.#reverse(question, name);
    return "forward";
  }

  #inside(question: DnsQuestion, labels: string[]): ZoneAnswer {
    const kind = labels.at(-1);
    const namespace = labels.at(-2);
    if (labels.length === 1 && kind === "dns-version") {
      return this.#answer(question, [{ type: "TXT", name: question.name, ttl: this.#ttl, texts: ["1.1.0"] }]);
    }
    if (labels.join(".") === "ns.dns") return this.#answer(question, this.#serverAddress(question.name));
    if (labels.length === 1 && (kind === "svc" || kind === "pod" || kind === "dns")) return this.#answer(question, []);
    if (kind === "pod" && namespace !== undefined) return this.#pod(question, labels);
    if (kind !== "svc" || namespace === undefined) return this.#nameError();
    if (labels.length === 2)
      return this.#source.hasNamespace(namespace) ? this.#answer(question, []) : this.#nameError();
    const service = this.#source.service(`${namespace}/${labels.at(-3)}`);
    if (service === undefined) return this.#nameError();
    return this.#service(question, service, labels.slice(0, -3));
  }

  #service(question: DnsQuestion, service: Service, before: string[]): ZoneAnswer {
    if (service.spec?.type === "ExternalName") {
      return before.length === 0 ? this.#external(question, service) : this.#nameError();
    }
    const headless = service.spec?.clusterIP === "None";
    let port: { name: string; protocol: string } | undefined;
    if (before.length === 2 && before[0]?.startsWith("_") && before[1]?.startsWith("_")) {
      port = { name: before[0].slice(1), protocol: before[1].slice(1) };
    } else if (before.length > 1) {
      return this.#nameError();
    }
    const host = before.length === 1 ? before[0] : undefined;
    let targets = headless || host !== undefined ? this.#endpoints(service) : [this.#cluster(service)];
    if (host !== undefined) targets = targets.filter((target) => target.host === host);
    if (port !== undefined) {
      const { name, protocol } = port;
      const isAsked = (known: Target["ports"][number]): boolean => known.name === name && known.protocol === protocol;
      targets = targets
        .map((target) => ({ ...target, ports: target.ports.filter(isAsked) }))
        .filter((target) => target.ports.length > 0);
    }
    if (targets.length === 0 || (host === undefined && targets.every((target) => target.addresses.length === 0))) {
      return this.#nameError();
    }
    if (question.type === dnsType.SRV) return this.#srv(question, service, targets);
    return this.#answer(question, port === undefined ? this.#addresses(question.name, targets) : []);
  }

  #cluster(service: Service): Target {
    const { clusterIP, clusterIPs } = service.spec ?? {};
    const addresses = clusterIPs !== undefined && clusterIPs.length > 0 ? clusterIPs : [clusterIP ?? ""];
    return {
      host: "",
      addresses: addresses.filter((address) => address !== ""),
      ports: (service.spec?.ports ?? []).map((port: ServicePort) => ({
        name: (port.name ?? "").toLowerCase(),
        protocol: (port.protocol ?? "TCP").toLowerCase(),
        port: port.port,
      })),
    };
  }

  #endpoints(service: Service): Target[] {
    const key = `${service.metadata?.namespace ?? ""}/${service.metadata?.name ?? ""}`;
    const targets: Target[] = [];
    for (const slice of this.#source.slices(key)) {
      if (slice.addressType === "FQDN") continue;
      const ports = (slice.ports ?? []).map((port) => ({
        name: (port.name ?? "").toLowerCase(),
        protocol: (port.protocol ?? "TCP").toLowerCase(),
        port: port.port ?? 0,
      }));
      for (const endpoint of slice.endpoints ?? []) {
        if (endpoint.conditions?.ready === false && !service.spec?.publishNotReadyAddresses) continue;
        for (const address of endpoint.addresses) {
          targets.push({ host: endpointHost(endpoint, address), addresses: [address], ports });
        }
      }
    }
    return targets;
  }

  #external(question: DnsQuestion, service: Service): ZoneAnswer {
    const target = (service.spec?.externalName ?? "").replace(/\.$/, "").toLowerCase();
    if (target === "" || parseAddress(target) !== undefined) return this.#answer(question, []);
    const records: DnsRecord[] = [{ type: "CNAME", name: question.name, ttl: this.#ttl, target }];
    if (question.type === dnsType.CNAME) return this.#answer(question, records);
    if (target.endsWith(`.${this.#options.domain}`)) {
      const inner = target === question.name.toLowerCase() ? "forward" : this.resolve({ ...question, name: target });
      if (inner !== "forward" && "answers" in inner) records.push(...inner.answers);
      return { rcode: "NOERROR", authoritative: true, answers: records };
    }
    return { alias: target, records };
  }

  #srv(question: DnsQuestion, service: Service, targets: Target[]): DnsResponse {
    const suffix = `${service.metadata?.name}.${service.metadata?.namespace}.svc.${this.#options.domain}`;
    const answers: DnsRecord[] = [];
    const additional: DnsRecord[] = [];
    const count = targets.reduce((sum, target) => sum + target.ports.length, 0);
    for (const target of this.#rotate(targets)) {
      const name = target.host === "" ? suffix : `${target.host}.${suffix}`;
      for (const { port } of target.ports) {
        const weight = Math.max(1, Math.floor(100 / count));
        answers.push({ type: "SRV", name: question.name, ttl: this.#ttl, priority: 0, weight, port, target: name });
      }
      additional.push(...this.#addresses(name, [target]));
    }
    return { ...this.#answer(question, answers), additional };
  }

  #addresses(name: string, targets: Target[]): DnsRecord[] {
    const addresses = new Set(targets.flatMap((target) => target.addresses));
    return this.#rotate([...addresses]).map((address) => ({
      type: address.includes(":") ? "AAAA" : "A",
      name,
      ttl: this.#ttl,
      address,
    }));
  }

  #rotate<T>(items: T[]): T[] {
    const start = Math.floor(this.#random() * items.length);
    return [...items.slice(start), ...items.slice(0, start)];
  }

  /** `10-0-0-7.namespace.pod`: the address that the name itself says. */
  #pod(question: DnsQuestion, labels: string[]): DnsResponse {
    if (labels.length === 2) return this.#answer(question, []);
    if (labels.length !== 3) return this.#nameError();
    const dashed = labels[0] as string;
    const address = canonicalAddress(dashed.replaceAll("-", ".")) ?? canonicalAddress(dashed.replaceAll("-", ":"));
    if (address === undefined) return this.#nameError();
    return this.#answer(question, this.#addresses(question.name, [{ host: "", addresses: [address], ports: [] }]));
  }

  #reverse(question: DnsQuestion, name: string): ZoneAnswer {
    const address = addressOfReverseName(name);
    const parsed = address === undefined ? undefined : parseAddress(address);
    if (address === undefined || parsed === undefined) return "forward";
    const names: string[] = [];
    for (const service of this.#source.servicesByClusterIp(address)) {
      names.push(`${service.metadata?.name}.${service.metadata?.namespace}.svc.${this.#options.domain}`);
    }
    for (const slice of names.length > 0 ? [] : this.#source.slicesByAddress(address)) {
      const service = this.#source.service(serviceOfSlice(slice) ?? "");
      if (service?.spec?.clusterIP !== "None") continue;
      const endpoint = slice.endpoints?.find((candidate) => candidate.addresses.includes(address));
      if (endpoint === undefined) continue;
      const { name: serviceName, namespace } = service.metadata ?? {};
      names.push(`${endpointHost(endpoint, address)}.${serviceName}.${namespace}.svc.${this.#options.domain}`);
    }
    if (names.length === 0) {
      const ours = this.#options.ranges.some((range) => cidrContains(range, parsed.family, parsed.value));
      return ours ? this.#nameError() : "forward";
    }
    const records = [...new Set(names)].map((target): DnsRecord => ({
      type: "PTR",
      name: question.name,
      ttl: this.#ttl,
      target,
    }));
    return this.#answer(question, records);
  }

  #apex(question: DnsQuestion): DnsResponse {
    const { domain } = this.#options;
    if (question.type === dnsType.SOA) return this.#answer(question, [this.#soa()]);
    if (question.type !== dnsType.NS) return this.#answer(question, []);
    const target = `ns.dns.${domain}`;
    return {
      ...this.#answer(question, [{ type: "NS", name: question.name, ttl: this.#ttl, target }]),
      additional: this.#serverAddress(target),
    };
  }

  #serverAddress(name: string): DnsRecord[] {
    return this.#addresses(name, [{ host: "", addresses: [this.#options.serverIp], ports: [] }]);
  }

  /** Keeps what was asked for; when that is nothing, the name exists all the same (NODATA). */
  #answer(question: DnsQuestion, records: DnsRecord[]): DnsResponse {
    const answers = records.filter(
      (record) => question.type === dnsType.ANY || dnsType[record.type] === question.type || record.type === "CNAME",
    );
    return {
      rcode: "NOERROR",
      authoritative: true,
      answers,
      ...(answers.length === 0 ? { authority: [this.#soa()] } : {}),
    };
  }

  #nameError(): DnsResponse {
    return { rcode: "NXDOMAIN", authoritative: true, answers: [], authority: [this.#soa()] };
  }

  #soa(): DnsRecord {
    const { domain } = this.#options;
    return {
      type: "SOA",
      name: domain,
      ttl: this.#ttl,
      primary: `ns.dns.${domain}`,
      mailbox: `hostmaster.${domain}`,
      serial: 1,
      refresh: 7_200,
      retry: 1_800,
      expire: 86_400,
      minimum: this.#ttl,
    };
  }
}

/** An endpoint's own label: its hostname, else its address with dashes. */
function endpointHost(endpoint: EndpointSliceEndpoint, address: string): string {
  return endpoint.hostname ? endpoint.hostname.toLowerCase() : address.replaceAll(/[.:]/g, "-");
}

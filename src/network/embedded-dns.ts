import type { Logger } from "#base/log.ts";
import { bindSocket, datagramOn, serverOn } from "#host/bound-sockets.ts";
import { inNetworkNamespace } from "#host/network-namespace.ts";
import { Nftables } from "#host/nftables.ts";
import { addressBytes, addressOfReverseName } from "./addresses.ts";
import { DnsForwarder } from "./dns-forwarder.ts";
import { type DnsQuestion, type DnsRecord, type DnsResponse, dnsType } from "./dns-message.ts";
import { DnsServer, type DnsVerdict } from "./dns-server.ts";
import type { NameAnswer, NetworkNames } from "./network-names.ts";
import { embeddedDnsAddress } from "./resolv-conf.ts";

export interface DnsNetwork {
  name: string;
  names: NetworkNames;
  /** The container's own names for others (`docker network connect --link`), which stand before everybody's. */
  links: Readonly<Record<string, string>>;
  internal: boolean;
}

export interface EmbeddedDnsOptions {
  netnsPath: string;
  /** The user-defined networks that the container is on now, in the order of connection. */
  networks: () => readonly DnsNetwork[];
  upstream: () => readonly string[];
  log: Logger;
  random?: () => number;
}

const ttl = 600;

/**
 * docker's embedded DNS of one container: sockets in the container's own network namespace, on any port of
 * 127.0.0.11, to which a small table in that namespace sends port 53. So port 53 stays free for the container's
 * own servers on 0.0.0.0. Questions about names of its networks are answered, others asked of the machine's
 * servers from here, so that a resolver on the machine's loopback serves containers too.
 */
export class EmbeddedDns {
  readonly #options: EmbeddedDnsOptions;
  readonly #server: DnsServer;

  private constructor(options: EmbeddedDnsOptions) {
    this.#options = options;
    this.#server = new DnsServer({
      resolve: (question) => this.#resolve(question),
      forwarder: new DnsForwarder({ servers: options.upstream, timeoutMs: 4_000 }),
      log: options.log,
    });
  }

  static async start(options: EmbeddedDnsOptions): Promise<EmbeddedDns> {
    const dns = new EmbeddedDns(options);
    const address = addressBytes(embeddedDnsAddress);
    const { udp, tcp } = inNetworkNamespace(options.netnsPath, () => ({
      udp: bindSocket({ type: "udp", family: 4, address, port: 0 }),
      tcp: bindSocket({ type: "tcp", family: 4, address, port: 0 }),
    }));
    dns.#server.addUdp(await datagramOn(udp, 4));
    dns.#server.addTcp(await serverOn(tcp));
    const nft = new Nftables(options.netnsPath);
    try {
      await nft.apply(`table ip gantry-dns
delete table ip gantry-dns
table ip gantry-dns {
  chain output {
    type nat hook output priority -100; policy accept;
    ip daddr ${embeddedDnsAddress} udp dport 53 dnat to ${embeddedDnsAddress}:${udp.port}
    ip daddr ${embeddedDnsAddress} tcp dport 53 dnat to ${embeddedDnsAddress}:${tcp.port}
  }
}
`);
    } catch (error) {
      dns.close();
      throw error;
    } finally {
      nft.close();
    }
    return dns;
  }

  close(): void {
    this.#server.close();
  }

  #resolve(question: DnsQuestion): DnsVerdict {
    const networks = this.#options.networks();
    const name = question.name.toLowerCase();
    if (question.type === dnsType.PTR) {
      const address = addressOfReverseName(name);
      for (const network of address === undefined ? [] : networks) {
        const target = network.names.nameOf(address as string);
        if (target !== undefined) {
          return answer([{ type: "PTR", name: question.name, ttl, target: `${target}.${network.name}` }]);
        }
      }
    } else {
      const found = linked(name, networks) ?? known(name, networks);
      if (found !== undefined) {
        if (question.type === dnsType.A) return answer(this.#addresses(question, "A", found.ipv4));
        if (question.type === dnsType.AAAA) return answer(this.#addresses(question, "AAAA", found.ipv6));
        return answer([]);
      }
    }
    // A container on internal networks only gets nothing from outside.
    if (networks.length > 0 && networks.every(({ internal }) => internal)) {
      return { rcode: "SERVFAIL", authoritative: false, answers: [] };
    }
    return "forward";
  }

  #addresses(question: DnsQuestion, type: "A" | "AAAA", addresses: readonly string[]): DnsRecord[] {
    const start = Math.floor((this.#options.random ?? Math.random)() * addresses.length);
    return [...addresses.slice(start), ...addresses.slice(0, start)].map((address) => ({
      type,
      name: question.name,
      ttl,
      address,
    }));
  }
}

/** What a name can mean on a network: itself, and what stands before the network's own name. */
function readings(name: string, network: DnsNetwork): string[] {
  const suffix = `.${network.name.toLowerCase()}`;
  return name.endsWith(suffix) ? [name, name.slice(0, -suffix.length)] : [name];
}

function linked(name: string, networks: readonly DnsNetwork[]): NameAnswer | undefined {
  for (const network of networks) {
    for (const reading of readings(name, network)) {
      const target = Object.entries(network.links).find(([alias]) => alias.toLowerCase() === reading)?.[1];
      const found = target === undefined ? undefined : network.names.lookup(target);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/** A name that the container has given to another is nobody's else on that network, also while that one is away. */
function known(name: string, networks: readonly DnsNetwork[]): NameAnswer | undefined {
  for (const network of networks) {
    const aliases = new Set(Object.keys(network.links).map((alias) => alias.toLowerCase()));
    for (const reading of readings(name, network)) {
      const found = aliases.has(reading) ? undefined : network.names.lookup(reading);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

function answer(answers: DnsRecord[]): DnsResponse {
  return { rcode: "NOERROR", authoritative: false, answers };
}

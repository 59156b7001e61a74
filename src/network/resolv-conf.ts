import { parseAddress } from "./addresses.ts";

export interface ResolvConf {
  servers: string[];
  searches: string[];
  options: string[];
}

/** Reads a resolv.conf (resolv.conf(5)): the last `search` or `domain` line counts, options add up. */
export function parseResolvConf(text: string): ResolvConf {
  const conf: ResolvConf = { servers: [], searches: [], options: [] };
  for (const line of text.split("\n")) {
    if (/^\s*[#;]/.test(line)) continue;
    const [word, ...values] = line.trim().split(/\s+/);
    if (word === "nameserver" && values[0] !== undefined) conf.servers.push(values[0]);
    else if (word === "search" || word === "domain") conf.searches = values.filter((value) => value !== ".");
    else if (word === "options") conf.options.push(...values);
  }
  return conf;
}

export function formatResolvConf(conf: ResolvConf): string {
  const lines = conf.servers.map((server) => `nameserver ${server}`);
  if (conf.searches.length > 0) lines.push(`search ${conf.searches.join(" ")}`);
  if (conf.options.length > 0) lines.push(`options ${conf.options.join(" ")}`);
  return `${lines.join("\n")}\n`;
}

/** True for addresses of the machine's own loopback, which mean nothing in another network namespace. */
export function isLoopback(address: string): boolean {
  const parsed = parseAddress(address.replace(/%.*$/, ""));
  if (parsed === undefined) return false;
  return parsed.family === 4 ? parsed.value >> 24n === 127n : parsed.value === 1n;
}

export interface ContainerDns {
  /** The machine's resolv.conf; where it only names systemd-resolved, the one that stands behind it. */
  host: ResolvConf;
  /** docker's `--dns`, `--dns-search`, `--dns-opt`; an empty list takes the machine's. */
  servers: readonly string[];
  searches: readonly string[];
  options: readonly string[];
  /** The container is on a user-defined network: the embedded server at 127.0.0.11 answers. */
  embedded: boolean;
}

/** The address where docker's embedded DNS answers in each container on a user-defined network. */
export const embeddedDnsAddress = "127.0.0.11";

/**
 * A container's resolv.conf by docker's rules: what the user gave replaces the machine's; loopback servers of
 * the machine are left out; on user-defined networks the embedded server stands alone, with `ndots:0`.
 * A search of `.` alone empties the list.
 */
export function containerResolvConf(dns: ContainerDns): ResolvConf {
  const searches = dns.searches.length > 0 ? dns.searches.filter((search) => search !== ".") : dns.host.searches;
  const options = dns.options.length > 0 ? [...dns.options] : [...dns.host.options];
  if (dns.embedded) {
    if (!options.some((option) => option.startsWith("ndots:"))) options.push("ndots:0");
    return { servers: [embeddedDnsAddress], searches: [...searches], options };
  }
  return { servers: upstreamServers(dns), searches: [...searches], options };
}

/** The servers that the embedded DNS asks, or that stand in the file without it. */
export function upstreamServers(dns: Pick<ContainerDns, "host" | "servers">): string[] {
  if (dns.servers.length > 0) return [...dns.servers];
  return dns.host.servers.filter((server) => !isLoopback(server));
}

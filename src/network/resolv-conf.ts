import { parseAddress } from "./addresses.ts";

export interface ResolvConf {
  servers: string[];
  searches: string[];
  options: string[];
  /** Lines of other kinds, such as `sortlist`. */
  others?: string[];
}

/** Reads a resolv.conf (resolv.conf(5)): the last `search` or `domain` line counts, options add up. */
export function parseResolvConf(text: string): ResolvConf {
  const conf: ResolvConf = { servers: [], searches: [], options: [] };
  for (const line of text.split("\n")) {
    if (/^\s*([#;]|$)/.test(line)) continue;
    const [word, ...values] = line.trim().split(/\s+/);
    if (word === "nameserver" && values[0] !== undefined) conf.servers.push(values[0]);
    else if (word === "search" || word === "domain") conf.searches = values.filter((value) => value !== ".");
    else if (word === "options") conf.options.push(...values);
    else if (word !== "nameserver") (conf.others ??= []).push(line);
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
}

/** The address where docker's embedded DNS answers in each container on a user-defined network. */
export const embeddedDnsAddress = "127.0.0.11";

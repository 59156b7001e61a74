export interface HostsEntry {
  ip: string;
  names: readonly string[];
}

const standard: readonly HostsEntry[] = [
  { ip: "127.0.0.1", names: ["localhost"] },
  { ip: "::1", names: ["localhost", "ip6-localhost", "ip6-loopback"] },
  { ip: "fe00::", names: ["ip6-localnet"] },
  { ip: "ff00::", names: ["ip6-mcastprefix"] },
  { ip: "ff02::1", names: ["ip6-allnodes"] },
  { ip: "ff02::2", names: ["ip6-allrouters"] },
];

/** A container's /etc/hosts: the standard names as docker writes them, then `entries` (extra hosts, links, own name). */
export function formatHosts(entries: readonly HostsEntry[]): string {
  return [...standard, ...entries].map(({ ip, names }) => `${ip}\t${names.join(" ")}\n`).join("");
}

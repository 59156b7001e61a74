/**
 * The nftables table of one instance, as data and then as text. Bridges and published ports are elements of
 * sets and maps, so that a new one costs one small transaction whatever the number of the others.
 *
 * The machine's own firewall stays in force. nftables asks every table; an `accept` here ends only this table's
 * chain, while a `drop` of any other table is final. So, for whoever writes a firewall beside Gantry:
 * traffic to a published port is forwarded, not delivered locally, and has its destination rewritten before
 * the forward hook. A rule in one's own `forward` chain decides about it, and finds the port that the client
 * asked for with `meta l4proto tcp ct original proto-dst 8080`. A forward policy of `drop` therefore closes published ports
 * until they are allowed there. Nothing of Gantry's ever stands in another table.
 */
import type { Protocol } from "./network-types.ts";

/** What the rules must know of a bridge. Subnets as `10.0.0.0/24`. */
export interface BridgeRule {
  name: string;
  subnets4: string[];
  subnets6: string[];
  /** No way out or in, but the machine itself. */
  internal: boolean;
  /** Containers of this bridge may talk to each other (docker's `icc`). */
  icc: boolean;
  masquerade: boolean;
  /** Everybody may come in at the containers' own addresses, as pods need; else only to published ports. */
  routed: boolean;
  /** Published ports answer the bridge's own containers, too. */
  hairpin: boolean;
  /** Links of the machine from which everybody may come in. */
  trusted: string[];
}

/** A published port. `hostIp` "" means every address of the family that `targetIp` has. */
export interface PortRule {
  protocol: Protocol;
  hostIp: string;
  hostPort: number;
  targetIp: string;
  targetPort: number;
  /** The target may ask for itself through the port: its own packets get another source then. */
  selfHairpin?: boolean;
}

export interface TableState {
  bridges: readonly BridgeRule[];
  ports: readonly PortRule[];
  /** Destinations that keep their senders' addresses although they are off the bridge: other nodes' pods. */
  noMasquerade4: readonly string[];
}

/** One set or map element: `key` and, in a map, `value` in nft's notation. */
export interface Element {
  set: string;
  key: string;
  value?: string;
}

const isV6 = (address: string): boolean => address.includes(":");

/** The elements that stand for a bridge. */
export function bridgeElements(bridge: BridgeRule): Element[] {
  const name = `"${bridge.name}"`;
  const elements: Element[] = [
    { set: "bridges", key: name },
    { set: "within", key: `${name} . ${name}`, value: bridge.icc ? "accept" : "drop" },
  ];
  if (bridge.internal) elements.push({ set: "internal", key: name });
  if (bridge.routed) elements.push({ set: "routed", key: name });
  if (bridge.masquerade && !bridge.internal) {
    for (const subnet of bridge.subnets4) elements.push({ set: "masquerade4", key: subnet });
    for (const subnet of bridge.subnets6) elements.push({ set: "masquerade6", key: subnet });
  }
  for (const link of bridge.trusted) elements.push({ set: "within", key: `"${link}" . ${name}`, value: "accept" });
  if (bridge.hairpin) {
    for (const subnet of bridge.subnets4) elements.push({ set: "hairpin4", key: `${name} . ${subnet}` });
    for (const subnet of bridge.subnets6) elements.push({ set: "hairpin6", key: `${name} . ${subnet}` });
  }
  return elements;
}

/** The elements that stand for a published port. */
export function portElements(port: PortRule): Element[] {
  const family = isV6(port.targetIp) ? "6" : "4";
  const any = port.hostIp === "" || port.hostIp === "0.0.0.0" || port.hostIp === "::";
  const value = `${port.targetIp} . ${port.targetPort}`;
  const elements: Element[] = [
    any
      ? { set: `any_ports${family}`, key: `${port.protocol} . ${port.hostPort}`, value }
      : { set: `ports${family}`, key: `${port.protocol} . ${port.hostIp} . ${port.hostPort}`, value },
  ];
  if (port.selfHairpin) elements.push({ set: `self${family}`, key: `${port.targetIp} . ${port.targetIp}` });
  return elements;
}

/** nft's text for adding or deleting elements in one transaction. Keys that stand there twice are written once. */
export function elementCommands(table: string, verb: "add" | "delete", elements: readonly Element[]): string {
  const bySet = new Map<string, Map<string, string>>();
  for (const { set, key, value } of elements) {
    let keys = bySet.get(set);
    if (keys === undefined) bySet.set(set, (keys = new Map()));
    keys.set(key, verb === "delete" || value === undefined ? key : `${key} : ${value}`);
  }
  return [...bySet]
    .map(([set, keys]) => `${verb} element inet ${table} ${set} { ${[...keys.values()].join(", ")} }\n`)
    .join("");
}

/** The whole table, replacing what was there: for the start, and nothing else. */
export function tableText(table: string, state: TableState): string {
  const elements = [
    ...state.bridges.flatMap(bridgeElements),
    ...state.ports.flatMap(portElements),
    ...state.noMasquerade4.map((key) => ({ set: "no_masquerade4", key })),
  ];
  return `table inet ${table}\ndelete table inet ${table}\n${skeleton(table)}${elementCommands(table, "add", elements)}`;
}

/** In rules that every packet meets, the comparison that nearly all fail stands before the look into a set. */
function skeleton(table: string): string {
  return `table inet ${table} {
  set bridges { type ifname; }
  set internal { type ifname; }
  set routed { type ifname; }
  set masquerade4 { type ipv4_addr; flags interval; }
  set masquerade6 { type ipv6_addr; flags interval; }
  set no_masquerade4 { type ipv4_addr; flags interval; }
  set hairpin4 { type ifname . ipv4_addr; flags interval; }
  set hairpin6 { type ifname . ipv6_addr; flags interval; }
  set self4 { type ipv4_addr . ipv4_addr; }
  set self6 { type ipv6_addr . ipv6_addr; }
  map within { type ifname . ifname : verdict; }
  map ports4 { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }
  map ports6 { type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service; }
  map any_ports4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map any_ports6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
  chain published {
    dnat ip to meta l4proto . ip daddr . th dport map @ports4
    dnat ip to meta l4proto . th dport map @any_ports4
    ip6 daddr ::1 return
    dnat ip6 to meta l4proto . ip6 daddr . th dport map @ports6
    dnat ip6 to meta l4proto . th dport map @any_ports6
  }
  chain guard {
    type filter hook prerouting priority raw; policy accept;
    ip daddr 127.0.0.0/8 iifname @bridges drop
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump published
  }
  chain output {
    type nat hook output priority -100; policy accept;
    fib daddr type local jump published
  }
  chain redirects {
    type filter hook output priority filter; policy accept;
    icmp type redirect oifname @routed drop
    icmpv6 type nd-redirect oifname @routed drop
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
    ct status dnat oifname @bridges accept
    iifname . oifname vmap @within
    iifname @internal drop
    oifname @internal drop
    oifname @bridges oifname != @routed drop
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname @bridges ip saddr 127.0.0.0/8 masquerade
    ct status dnat oifname . ip saddr @hairpin4 masquerade
    ct status dnat oifname . ip6 saddr @hairpin6 masquerade
    ct status dnat ip saddr . ip daddr @self4 masquerade
    ct status dnat ip6 saddr . ip6 daddr @self6 masquerade
    oifname @bridges accept
    ip daddr @no_masquerade4 accept
    ip saddr @masquerade4 masquerade
    ip6 saddr @masquerade6 masquerade
  }
}
`;
}

/** nft's text that takes the table away, whether it is there or not. */
export function removalText(table: string): string {
  return `table inet ${table}\ndelete table inet ${table}\n`;
}

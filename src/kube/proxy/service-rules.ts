import { createHash } from "node:crypto";
import type { ServicePortState, Target } from "./service-port.ts";

export interface ServiceTableOptions {
  /** nftables table, family inet. */
  table: string;
  /** Pods of the whole cluster: their addresses are kept on the way to a service. */
  clusterCidrs: readonly string[];
  serviceCidrs: readonly string[];
  /** Bit that marks packets to be masqueraded, in this table only. Default 0x10000. */
  markBit?: number;
}

/**
 * What one service port puts into the table: chains with their rules, sets, and elements of the shared maps.
 * Everything is text in nft's notation, so that two pieces are compared by comparing strings.
 */
export interface RulePiece {
  chains: ReadonlyMap<string, readonly string[]>;
  /** Name to definition. */
  sets: ReadonlyMap<string, string>;
  /** `map key` to verdict; "" for elements of sets. */
  elements: ReadonlyMap<string, string>;
}

const defaultMark = 0x10000;
const short = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 8);

/** The table without services: what is there once, whatever their number. */
export function serviceTableText(options: ServiceTableOptions): string {
  const { table } = options;
  const mark = options.markBit ?? defaultMark;
  const lines: string[] = [];
  const both = (text: (family: "4" | "6", ip: "ip" | "ip6", type: string) => string): void => {
    lines.push(text("4", "ip", "ipv4_addr"), text("6", "ip6", "ipv6_addr"));
  };
  const ofFamily = (cidrs: readonly string[], family: "4" | "6"): string =>
    cidrs.filter((cidr) => cidr.includes(":") === (family === "6")).join(", ");
  const forServices = (rule: (family: "4" | "6", ip: "ip" | "ip6", cidrs: string) => string): void => {
    for (const [family, ip] of [
      ["4", "ip"],
      ["6", "ip6"],
    ] as const) {
      const cidrs = ofFamily(options.serviceCidrs, family);
      if (cidrs !== "") lines.push(rule(family, ip, cidrs));
    }
  };
  both((family, _ip, type) => `map services${family} { type ${type} . inet_proto . inet_service : verdict; }`);
  both((family) => `map nodeports${family} { type inet_proto . inet_service : verdict; }`);
  both((family, _ip, type) => `set refused${family} { type ${type} . inet_proto . inet_service; }`);
  both((family, _ip, type) => `set hairpin${family} { type ${type} . ${type}; }`);
  // A reset is heard at once; an ICMP error that comes while the client is still in connect(2), as it does over a
  // veth pair, only after the first SYN was sent again.
  lines.push("chain refuse {", "meta l4proto tcp reject with tcp reset", "reject", "}");
  lines.push("chain services {");
  // Who is no pod gets another source, or the answer would not come back this way.
  forServices((family, ip, cidrs) => {
    const pods = ofFamily(options.clusterCidrs, family);
    const except = pods === "" ? "" : `${ip} saddr != { ${pods} } `;
    return `${ip} daddr { ${cidrs} } ${except}meta mark set meta mark | ${mark}`;
  });
  both((family, ip) => `${ip} daddr . meta l4proto . th dport vmap @services${family}`);
  both(
    (family, ip) =>
      `meta nfproto ${ip === "ip" ? "ipv4" : "ipv6"} fib daddr type local meta l4proto . th dport vmap @nodeports${family}`,
  );
  lines.push("}");
  lines.push(
    "chain prerouting {",
    "type nat hook prerouting priority dstnat - 5; policy accept;",
    "jump services",
    "}",
  );
  lines.push("chain output {", "type nat hook output priority -105; policy accept;", "jump services", "}");
  for (const hook of ["input", "forward", "output"]) {
    lines.push(`chain filter-${hook} {`, `type filter hook ${hook} priority filter; policy accept;`);
    // A flow that is under way has its service's address rewritten long before: only new ones are looked up.
    lines.push("ct state established,related accept");
    both((family, ip) => `${ip} daddr . meta l4proto . th dport @refused${family} goto refuse`);
    // What no service took stays here, instead of leaving by the default route.
    if (hook === "forward") forServices((_family, ip, cidrs) => `${ip} daddr { ${cidrs} } goto refuse`);
    if (hook === "output") forServices((_family, ip, cidrs) => `oifname != "lo" ${ip} daddr { ${cidrs} } goto refuse`);
    lines.push("}");
  }
  lines.push("chain postrouting {", "type nat hook postrouting priority srcnat - 5; policy accept;");
  lines.push(`meta mark & ${mark} != 0 meta mark set meta mark & ${(0xffffffff ^ mark) >>> 0} masquerade`);
  both((family, ip) => `ct status dnat ${ip} saddr . ${ip} daddr @hairpin${family} masquerade`);
  lines.push("}");
  return `table inet ${table}\ndelete table inet ${table}\ntable inet ${table} {\n${lines.join("\n")}\n}\n`;
}

/** What a service port puts into the table. Pure. */
export function rulePiece(state: ServicePortState, options: ServiceTableOptions): RulePiece {
  const chains = new Map<string, string[]>();
  const sets = new Map<string, string>();
  const elements = new Map<string, string>();
  const { family, protocol, port, hash } = state;
  const mark = options.markBit ?? defaultMark;
  const ip = family === 4 ? "ip" : "ip6";
  const at = (address: string): string => `${address} . ${protocol} . ${port}`;
  const external = [...state.externalIps, ...state.loadBalancerIps];
  if (state.targets.length === 0) {
    for (const address of external) elements.set(`refused${family} ${at(address)}`, "");
    return { chains, sets, elements };
  }
  for (const target of [...state.targets, ...state.localTargets]) {
    elements.set(`hairpin${family} ${target.ip} . ${target.ip}`, "");
  }
  const cluster = `svc-${hash}`;
  chains.set(cluster, balance(state, state.targets));
  const needsLocal = state.internalLocal || state.externalLocal;
  const local = needsLocal && state.localTargets.length > 0 ? `goto loc-${hash}` : "drop";
  if (local !== "drop") chains.set(`loc-${hash}`, balance(state, state.localTargets));
  for (const target of state.affinitySeconds > 0 ? [...state.targets, ...state.localTargets] : []) {
    const set = affinitySet(state, target);
    sets.set(
      set,
      `type ${family === 4 ? "ipv4_addr" : "ipv6_addr"}; flags dynamic, timeout; timeout ${state.affinitySeconds}s;`,
    );
    chains.set(endpointChain(state, target), [
      `update @${set} { ${ip} saddr }`,
      `meta l4proto ${protocol} dnat ${ip} to ${family === 4 ? target.ip : `[${target.ip}]`}:${target.port}`,
    ]);
  }
  for (const address of state.clusterIps) {
    elements.set(`services${family} ${at(address)}`, state.internalLocal ? local : `goto ${cluster}`);
  }
  if (external.length === 0 && state.nodePort === 0) return { chains, sets, elements };
  chains.set(
    `ext-${hash}`,
    state.externalLocal
      ? externalLocal(state, local, options, mark)
      : [`meta mark set meta mark | ${mark}`, `goto ${cluster}`],
  );
  for (const address of state.externalIps) elements.set(`services${family} ${at(address)}`, `goto ext-${hash}`);
  if (state.nodePort > 0) elements.set(`nodeports${family} ${protocol} . ${state.nodePort}`, `goto ext-${hash}`);
  if (state.loadBalancerIps.length > 0 && state.sourceRanges.length > 0) {
    chains.set(`fw-${hash}`, [`${ip} saddr { ${state.sourceRanges.join(", ")} } goto ext-${hash}`, "drop"]);
  }
  for (const address of state.loadBalancerIps) {
    const chain = state.sourceRanges.length > 0 ? `fw-${hash}` : `ext-${hash}`;
    elements.set(`services${family} ${at(address)}`, `goto ${chain}`);
  }
  return { chains, sets, elements };
}

/**
 * Local policy: from outside to this node's endpoints only, with the client's address kept. Pods and the node
 * itself are not outside: they reach all endpoints.
 */
function externalLocal(state: ServicePortState, local: string, options: ServiceTableOptions, mark: number): string[] {
  const ip = state.family === 4 ? "ip" : "ip6";
  const pods = options.clusterCidrs.filter((cidr) => cidr.includes(":") === (state.family === 6));
  return [
    ...(pods.length > 0 ? [`${ip} saddr { ${pods.join(", ")} } goto svc-${state.hash}`] : []),
    `fib saddr type local meta mark set meta mark | ${mark} goto svc-${state.hash}`,
    local,
  ];
}

/** The timeout is part of the name, since nft cannot change a set that rules refer to. */
function affinitySet(state: ServicePortState, target: Target): string {
  return `aff-${state.hash}-${short(`${target.ip} ${target.port} ${state.affinitySeconds}`)}`;
}

function endpointChain(state: ServicePortState, target: Target): string {
  return `ep-${state.hash}-${short(`${target.ip} ${target.port}`)}`;
}

/** Rules that pick one of the targets: each in turn, or the client's own while its affinity lasts. */
function balance(state: ServicePortState, targets: readonly Target[]): string[] {
  const ip = state.family === 4 ? "ip" : "ip6";
  if (state.affinitySeconds === 0) {
    const values = targets.map((target, index) => `${index} : ${target.ip} . ${target.port}`);
    return [
      `meta l4proto ${state.protocol} dnat ${ip} to numgen inc mod ${targets.length} map { ${values.join(", ")} }`,
    ];
  }
  const choices = targets.map((target, index) => `${index} : goto ${endpointChain(state, target)}`);
  return [
    ...targets.map((target) => `${ip} saddr @${affinitySet(state, target)} goto ${endpointChain(state, target)}`),
    `numgen random mod ${targets.length} vmap { ${choices.join(", ")} }`,
  ];
}

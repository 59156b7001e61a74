import { createHash } from "node:crypto";
import type { EndpointSlice, EndpointSliceEndpoint, Service } from "#api/kube/service-types.ts";
import { canonicalAddress, type Family } from "#network/addresses.ts";

export interface Target {
  ip: string;
  port: number;
}

/** One port of a service in one address family, with all that decides where its traffic goes. */
export interface ServicePortState {
  /** `default/web:http/tcp/4`: unique. */
  id: string;
  /** Short and stable, for names of chains and sets. */
  hash: string;
  family: Family;
  protocol: "tcp" | "udp" | "sctp";
  port: number;
  clusterIps: string[];
  externalIps: string[];
  loadBalancerIps: string[];
  /** Empty: everybody may use the load balancer's addresses. */
  sourceRanges: string[];
  nodePort: number;
  /** Seconds; 0: none. */
  affinitySeconds: number;
  internalLocal: boolean;
  externalLocal: boolean;
  /** All usable endpoints of the cluster, and those of this node. */
  targets: Target[];
  localTargets: Target[];
}

const familyOf = (address: string): Family => (address.includes(":") ? 6 : 4);

interface Candidate extends Target {
  local: boolean;
  ready: boolean;
  serving: boolean;
  terminating: boolean;
}

/**
 * Ready ones; when there is none, those that are going but still serve, so that a rollout drops nothing
 * (KEP-1669).
 */
function usable(candidates: readonly Candidate[]): Target[] {
  const ready = candidates.filter((candidate) => candidate.ready);
  const chosen = ready.length > 0 ? ready : candidates.filter(({ serving, terminating }) => serving && terminating);
  const unique = new Map(chosen.map(({ ip, port }) => [`${ip} ${port}`, { ip, port }]));
  return [...unique.keys()].sort().map((key) => unique.get(key) as Target);
}

function candidate(endpoint: EndpointSliceEndpoint, ip: string, port: number, nodeName: string): Candidate {
  const { ready = true, terminating = false } = endpoint.conditions ?? {};
  const serving = endpoint.conditions?.serving ?? ready;
  return { ip, port, local: endpoint.nodeName === nodeName, ready, serving, terminating };
}

/** True when the proxy has nothing to do with the service. */
export function isIgnored(service: Service): boolean {
  const { type, clusterIP } = service.spec ?? {};
  const labels = service.metadata?.labels ?? {};
  return (
    type === "ExternalName" ||
    clusterIP === undefined ||
    clusterIP === "" ||
    clusterIP === "None" ||
    "service.kubernetes.io/service-proxy-name" in labels ||
    "service.kubernetes.io/headless" in labels
  );
}

/** What a service with these EndpointSlices means for a node. Pure. */
export function servicePorts(service: Service, slices: readonly EndpointSlice[], nodeName: string): ServicePortState[] {
  if (isIgnored(service)) return [];
  const { spec = {}, metadata = {}, status } = service;
  const clusterIps = (spec.clusterIPs ?? [spec.clusterIP ?? ""]).flatMap((ip) => canonicalAddress(ip) ?? []);
  const families = [...new Set(clusterIps.map(familyOf))];
  const ingress = (status?.loadBalancer?.ingress ?? []).filter((entry) => entry.ipMode !== "Proxy");
  const isExternal = spec.type === "NodePort" || spec.type === "LoadBalancer";
  const states: ServicePortState[] = [];
  for (const port of spec.ports ?? []) {
    const protocol = (port.protocol ?? "TCP").toLowerCase() as ServicePortState["protocol"];
    for (const family of families) {
      const mine = (addresses: readonly (string | undefined)[]): string[] =>
        addresses.flatMap((ip) => canonicalAddress(ip ?? "") ?? []).filter((ip) => familyOf(ip) === family);
      const candidates = portCandidates(slices, port.name ?? "", protocol, family, nodeName);
      const id = `${metadata.namespace}/${metadata.name}:${port.name ?? ""}/${port.port}/${protocol}/${family}`;
      states.push({
        id,
        hash: createHash("sha256").update(id).digest("hex").slice(0, 12),
        family,
        protocol,
        port: port.port,
        clusterIps: mine(clusterIps),
        externalIps: mine(spec.externalIPs ?? []),
        loadBalancerIps: spec.type === "LoadBalancer" ? mine(ingress.map((entry) => entry.ip)) : [],
        sourceRanges: (spec.loadBalancerSourceRanges ?? [])
          .map((range) => range.trim())
          .filter((range) => range.includes(":") === (family === 6)),
        nodePort: isExternal ? (port.nodePort ?? 0) : 0,
        affinitySeconds:
          spec.sessionAffinity === "ClientIP" ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10_800) : 0,
        internalLocal: spec.internalTrafficPolicy === "Local",
        externalLocal: isExternal && spec.externalTrafficPolicy === "Local",
        targets: usable(candidates),
        localTargets: usable(candidates.filter(({ local }) => local)),
      });
    }
  }
  return states;
}

function portCandidates(
  slices: readonly EndpointSlice[],
  portName: string,
  protocol: string,
  family: Family,
  nodeName: string,
): Candidate[] {
  const candidates: Candidate[] = [];
  for (const slice of slices) {
    if (slice.addressType !== (family === 4 ? "IPv4" : "IPv6")) continue;
    const port = slice.ports?.find(
      (one) => (one.name ?? "") === portName && (one.protocol ?? "TCP").toLowerCase() === protocol,
    )?.port;
    if (port === undefined) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const ip = canonicalAddress(endpoint.addresses[0] ?? "");
      if (ip !== undefined) candidates.push(candidate(endpoint, ip, port, nodeName));
    }
  }
  return candidates;
}

import type { PodSandboxConfig } from "#api/pod-runtime.ts";
import { GantryError } from "#base/errors.ts";
import type { Pod } from "./pod-types.ts";
import { podCgroup, podResources } from "./pod-resources.ts";
import { runtimeLabels } from "./runtime-view.ts";

/** The node's resolver, from its /etc/resolv.conf. */
export interface HostDns {
  servers: string[];
  searches: string[];
  options: string[];
}

export interface SandboxFacts {
  nodeName: string;
  logRoot: string;
  clusterDnsIp: string;
  clusterDomain: string;
  hostDns: HostDns;
}

/** The folder of a pod's container logs: `<namespace>_<name>_<uid>`. */
export function podLogDirectory(pod: Pod, logRoot: string): string {
  const { namespace, name, uid } = pod.metadata ?? {};
  return `${logRoot}/${namespace}_${name}_${uid}`;
}

/** Reads nameserver, search and options lines (resolv.conf(5)). */
export function parseResolvConf(text: string): HostDns {
  const out: HostDns = { servers: [], searches: [], options: [] };
  for (const line of text.split("\n")) {
    const [word, ...rest] = line.trim().split(/\s+/);
    if (word === "nameserver" && rest[0] !== undefined) out.servers.push(rest[0]);
    else if (word === "search" || word === "domain") out.searches = rest;
    else if (word === "options") out.options.push(...rest);
  }
  return out;
}

/** The resolver of a pod by its dnsPolicy and dnsConfig (kubelet, network/dns). */
export function podDns(pod: Pod, facts: SandboxFacts): HostDns {
  const spec = pod.spec ?? { containers: [] };
  const { clusterDomain, clusterDnsIp, hostDns } = facts;
  const policy = spec.dnsPolicy ?? "ClusterFirst";
  const byCluster = policy === "ClusterFirstWithHostNet" || (policy === "ClusterFirst" && spec.hostNetwork !== true);
  let dns: HostDns;
  if (policy === "None") dns = { servers: [], searches: [], options: [] };
  else if (byCluster && clusterDnsIp !== "") {
    const namespace = pod.metadata?.namespace;
    dns = {
      servers: [clusterDnsIp],
      searches: [`${namespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain, ...hostDns.searches],
      options: ["ndots:5"],
    };
  } else dns = hostDns;
  const more = spec.dnsConfig ?? {};
  const options = new Map(dns.options.map((option) => [option.split(":")[0] as string, option]));
  for (const { name, value } of more.options ?? []) {
    if (name !== undefined) options.set(name, value === undefined || value === "" ? name : `${name}:${value}`);
  }
  return {
    servers: [...new Set([...dns.servers, ...(more.nameservers ?? [])])],
    searches: [...new Set([...dns.searches, ...(more.searches ?? [])])],
    options: [...options.values()],
  };
}

/** What `hostname` says inside the pod. Throws `invalid` when the whole name is asked for and too long. */
export function podHostname(pod: Pod, facts: SandboxFacts): string {
  const spec = pod.spec ?? { containers: [] };
  if (spec.hostnameOverride) return spec.hostnameOverride;
  if (spec.hostNetwork === true) return facts.nodeName;
  const short = (spec.hostname || (pod.metadata?.name ?? "")).slice(0, 63).replace(/[-.]+$/, "");
  if (spec.setHostnameAsFQDN !== true || !spec.subdomain) return short;
  const full = podFullName(pod, facts) as string;
  if (full.length > 64) {
    throw new GantryError(
      "invalid",
      `failed to construct FQDN from Pod hostname and cluster domain, FQDN ${full} is too long (64 characters is the max, ${full.length} characters requested)`,
    );
  }
  return full;
}

/** `hostname.subdomain.namespace.svc.domain`, when the pod has a subdomain. */
export function podFullName(pod: Pod, facts: SandboxFacts): string | undefined {
  const spec = pod.spec ?? { containers: [] };
  if (!spec.subdomain || spec.hostNetwork === true) return undefined;
  const short = (spec.hostname || (pod.metadata?.name ?? "")).slice(0, 63).replace(/[-.]+$/, "");
  return `${short}.${spec.subdomain}.${pod.metadata?.namespace}.svc.${facts.clusterDomain}`;
}

/** The runtime's view of a pod. */
export function sandboxConfig(pod: Pod, attempt: number, facts: SandboxFacts): PodSandboxConfig {
  const spec = pod.spec ?? { containers: [] };
  const { name = "", namespace = "", uid = "" } = pod.metadata ?? {};
  const sidecarsAndContainers = [...(spec.initContainers ?? []), ...spec.containers];
  const fullName = podFullName(pod, facts);
  return {
    metadata: { name, namespace, uid, attempt },
    hostname: podHostname(pod, facts),
    logDirectory: podLogDirectory(pod, facts.logRoot),
    dns: podDns(pod, facts),
    hostAliases: (spec.hostAliases ?? []).map(({ ip, hostnames = [] }) => ({ ip, hostnames })),
    portMappings: sidecarsAndContainers.flatMap((container) =>
      (container.ports ?? [])
        .filter((port) => port.hostPort !== undefined && port.hostPort > 0 && spec.hostNetwork !== true)
        .map((port) => ({
          protocol: (port.protocol ?? "TCP").toLowerCase() as "tcp" | "udp" | "sctp",
          containerPort: port.containerPort,
          hostPort: port.hostPort as number,
          ...(port.hostIP ? { hostIp: port.hostIP } : {}),
        })),
    ),
    labels: {
      ...pod.metadata?.labels,
      [runtimeLabels.podName]: name,
      [runtimeLabels.podNamespace]: namespace,
      [runtimeLabels.podUid]: uid,
    },
    annotations: {
      ...pod.metadata?.annotations,
      ...(fullName === undefined ? {} : { "gantry.dev/pod-fqdn": fullName }),
    },
    hostNetwork: spec.hostNetwork === true,
    hostPid: spec.hostPID === true,
    hostIpc: spec.hostIPC === true,
    shareProcessNamespace: spec.shareProcessNamespace === true,
    sysctls: Object.fromEntries((spec.securityContext?.sysctls ?? []).map((one) => [one.name, one.value])),
    cgroupParent: podCgroup(pod),
    resources: podResources(pod),
  };
}

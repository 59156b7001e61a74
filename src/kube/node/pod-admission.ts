import { appArmorOf } from "./container-config.ts";
import { type Pod, isSidecar } from "./pod-types.ts";
import { quantityCeil, quantityMilli } from "./quantity-value.ts";

export interface Rejection {
  reason: string;
  message: string;
}

export interface AdmissionFacts {
  cpus: number;
  memoryBytes: number;
  maxPods: number;
  /** Whether the kernel has AppArmor. */
  apparmor: boolean;
}

/** Sysctls that a pod may set on any node (kubelet, sysctl/safe_sysctls.go). */
const safeSysctls = new Set([
  "kernel.shm_rmid_forced",
  "net.ipv4.ip_local_port_range",
  "net.ipv4.ip_local_reserved_ports",
  "net.ipv4.ip_unprivileged_port_start",
  "net.ipv4.ping_group_range",
  "net.ipv4.tcp_fin_timeout",
  "net.ipv4.tcp_keepalive_intvl",
  "net.ipv4.tcp_keepalive_probes",
  "net.ipv4.tcp_keepalive_time",
  "net.ipv4.tcp_rmem",
  "net.ipv4.tcp_syncookies",
  "net.ipv4.tcp_wmem",
]);

/**
 * Whether a pod that was bound here can run here at all: the scheduler's view may be old, and pods can name a
 * node without any scheduler (kubelet, lifecycle/predicate.go). `others` are the node's pods that hold
 * resources. Undefined: it may.
 */
export function admissionRejection(pod: Pod, others: readonly Pod[], facts: AdmissionFacts): Rejection | undefined {
  for (const { name } of pod.spec?.securityContext?.sysctls ?? []) {
    if (!safeSysctls.has(name.replaceAll("/", "."))) {
      return rejected("SysctlForbidden", `forbidden sysctl: "${name}" not allowlisted`);
    }
  }
  if (!facts.apparmor && wantsAppArmor(pod)) {
    return rejected("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host");
  }
  if (others.length + 1 > facts.maxPods) return lacking("pods", 1, others.length, facts.maxPods);
  const sum = (resource: "cpu" | "memory"): number =>
    others.reduce((total, one) => total + podRequest(one, resource), 0);
  for (const [resource, capacity] of [
    ["cpu", facts.cpus * 1000],
    ["memory", facts.memoryBytes],
  ] as const) {
    const wanted = podRequest(pod, resource);
    const used = sum(resource);
    if (wanted > 0 && used + wanted > capacity) return lacking(resource, wanted, used, capacity);
  }
  const taken = new Set(others.flatMap(hostPorts));
  if (hostPorts(pod).some((port) => taken.has(port))) {
    return rejected(
      "NodePorts",
      "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
    );
  }
  return undefined;
}

function wantsAppArmor(pod: Pod): boolean {
  const { containers = [], initContainers = [] } = pod.spec ?? {};
  return [...containers, ...initContainers].some(
    (container) => (appArmorOf(pod, container)?.type ?? "Unconfined") !== "Unconfined",
  );
}

function rejected(reason: string, message: string): Rejection {
  return { reason, message: `Pod was rejected: ${message}` };
}

function lacking(resource: string, requested: number, used: number, capacity: number): Rejection {
  return rejected(
    `OutOf${resource}`,
    `Node didn't have enough resource: ${resource}, requested: ${requested}, used: ${used}, capacity: ${capacity}`,
  );
}

/** Millicores or bytes: what runs together, or the largest of what runs before. */
function podRequest(pod: Pod, resource: "cpu" | "memory"): number {
  const read = resource === "cpu" ? quantityMilli : quantityCeil;
  const own = pod.spec?.resources?.requests?.[resource];
  if (own !== undefined) return read(own);
  const sumOf = (containers: NonNullable<Pod["spec"]>["containers"]): number[] =>
    containers.map(({ resources }) => read(resources?.requests?.[resource] ?? resources?.limits?.[resource] ?? 0));
  const init = pod.spec?.initContainers ?? [];
  const together = [...(pod.spec?.containers ?? []), ...init.filter(isSidecar)];
  const total = sumOf(together).reduce((sum, value) => sum + value, 0);
  const once = Math.max(0, ...sumOf(init.filter((container) => !isSidecar(container))));
  const overhead = pod.spec?.overhead?.[resource];
  return Math.max(total, once) + (overhead === undefined ? 0 : read(overhead));
}

/** Taken ports as `protocol/address/port`; one without an address takes the port on all, which is told by "". */
function hostPorts(pod: Pod): string[] {
  const containers = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? []).filter(isSidecar)];
  return containers.flatMap(({ ports = [] }) =>
    ports
      .map((port) => ({
        ...port,
        hostPort: port.hostPort ?? (pod.spec?.hostNetwork === true ? port.containerPort : 0),
      }))
      .filter(({ hostPort }) => hostPort > 0)
      .map(
        ({ hostPort, protocol = "TCP", hostIP = "" }) =>
          `${protocol}/${hostIP === "0.0.0.0" ? "" : hostIP}/${hostPort}`,
      ),
  );
}

import type { Node, Pod } from "#api/kube/generated/types.ts";
import { objectKey } from "#api/kube/object.ts";
import { type Amounts, amounts, podRequests, scoringRequests } from "./resources.ts";

interface Placed {
  pod: Pod;
  requests: Amounts;
  scoring: { cpu: number; memory: number };
  hostPorts: readonly HostPort[];
}

export interface HostPort {
  ip: string;
  protocol: string;
  port: number;
}

/** The host ports that a pod takes. On the host network all of its ports are. */
export function hostPortsOf(pod: Pod): HostPort[] {
  const out: HostPort[] = [];
  for (const container of [
    ...(pod.spec?.containers ?? []),
    ...(pod.spec?.initContainers ?? []).filter((each) => each.restartPolicy === "Always"),
  ]) {
    for (const { hostPort, hostIP = "0.0.0.0", protocol = "TCP" } of container.ports ?? []) {
      if (hostPort) out.push({ ip: hostIP || "0.0.0.0", protocol, port: hostPort });
    }
  }
  return out;
}

export function portsConflict(left: HostPort, right: HostPort): boolean {
  if (left.port !== right.port || left.protocol !== right.protocol) return false;
  return left.ip === "0.0.0.0" || right.ip === "0.0.0.0" || left.ip === right.ip;
}

/** One node with what is placed on it: kept up to date pod by pod, so that scheduling adds nothing up. */
export class NodeInfo {
  node: Node;
  allocatable: Amounts;
  readonly requested: Record<string, number> = {};
  readonly scoring = { cpu: 0, memory: 0 };
  readonly pods = new Map<string, Placed>();

  constructor(node: Node) {
    this.node = node;
    this.allocatable = amounts(node.status?.allocatable);
  }

  get name(): string {
    return this.node.metadata?.name as string;
  }

  setNode(node: Node): void {
    this.node = node;
    this.allocatable = amounts(node.status?.allocatable);
  }

  add(pod: Pod): void {
    const key = objectKey(pod);
    this.remove(key);
    const placed: Placed = {
      pod,
      requests: podRequests(pod),
      scoring: scoringRequests(pod),
      hostPorts: hostPortsOf(pod),
    };
    this.pods.set(key, placed);
    this.#count(placed, 1);
  }

  remove(key: string): void {
    const placed = this.pods.get(key);
    if (placed === undefined) return;
    this.pods.delete(key);
    this.#count(placed, -1);
  }

  #count({ requests, scoring }: Placed, sign: 1 | -1): void {
    for (const [name, value] of Object.entries(requests))
      this.requested[name] = (this.requested[name] ?? 0) + sign * value;
    this.scoring.cpu += sign * scoring.cpu;
    this.scoring.memory += sign * scoring.memory;
  }
}

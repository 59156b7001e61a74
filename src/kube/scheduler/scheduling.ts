import type { Pod } from "#api/kube/generated/types.ts";
import { type NodeInfo, hostPortsOf, portsConflict } from "./node-info.ts";
import { matchesNodeSelection, nodePreference } from "./node-selection.ts";
import { type NamespaceLabels, PodAffinity } from "./pod-affinity.ts";
import { podRequests, scoringRequests } from "./resources.ts";
import { intolerableCount, untoleratedTaint } from "./taints.ts";
import { TopologySpread } from "./topology-spread.ts";

export type Decision = { node: string } | { node: undefined; message: string; reasons: ReadonlyMap<string, number> };

/** Why a pod does not fit a node's free resources: one reason for each that is short. */
function resourceReasons(requests: Readonly<Record<string, number>>, info: NodeInfo): string[] {
  const reasons: string[] = [];
  if (info.pods.size + 1 > (info.allocatable["pods"] ?? Number.POSITIVE_INFINITY)) reasons.push("Too many pods");
  for (const [name, wanted] of Object.entries(requests)) {
    if (wanted > 0 && wanted > (info.allocatable[name] ?? 0) - (info.requested[name] ?? 0))
      reasons.push(`Insufficient ${name}`);
  }
  return reasons;
}

/** The reasons, in upstream's words, that keep a pod off a node; empty when it fits. Resources come last. */
function rejections(
  pod: Pod,
  info: NodeInfo,
  requests: Readonly<Record<string, number>>,
  affinity: PodAffinity,
  spread: TopologySpread,
): string[] {
  const { node } = info;
  if (node.spec?.unschedulable === true && !toleratesUnschedulable(pod)) return ["node(s) were unschedulable"];
  const taint = untoleratedTaint(pod, node);
  if (taint !== undefined) return [`node(s) had untolerated taint(s)`];
  if (!matchesNodeSelection(pod, node)) return ["node(s) didn't match Pod's node affinity/selector"];
  const ports = hostPortsOf(pod);
  if (
    ports.length > 0 &&
    [...info.pods.values()].some((placed) =>
      placed.hostPorts.some((taken) => ports.some((port) => portsConflict(taken, port))),
    )
  ) {
    return ["node(s) didn't have free ports for the requested pod ports"];
  }
  const short = resourceReasons(requests, info);
  if (short.length > 0) return short;
  const apart = spread.reject(info) ?? affinity.reject(info);
  return apart === undefined ? [] : [apart];
}

function toleratesUnschedulable(pod: Pod): boolean {
  return (pod.spec?.tolerations ?? []).some(
    (toleration) =>
      (toleration.key === "node.kubernetes.io/unschedulable" || !toleration.key) &&
      toleration.operator === "Exists" &&
      (!toleration.effect || toleration.effect === "NoSchedule"),
  );
}

/** 0 to 100: how much would be free, and how evenly CPU and memory would be used. */
function resourceScore(pod: Pod, info: NodeInfo): number {
  const wanted = scoringRequests(pod);
  const share = (used: number, total: number): number => (total <= 0 ? 1 : Math.min(1, used / total));
  const cpu = share(info.scoring.cpu + wanted.cpu, info.allocatable["cpu"] ?? 0);
  const memory = share(info.scoring.memory + wanted.memory, info.allocatable["memory"] ?? 0);
  const least = ((1 - cpu + (1 - memory)) / 2) * 100;
  const balanced = (1 - Math.abs(cpu - memory) / 2) * 100;
  return least + balanced;
}

/** Values brought to 0..100 over all nodes; `invert` when a low value is good. */
function normalised(values: readonly number[], invert: boolean): number[] {
  const max = Math.max(...values);
  const min = Math.min(...values);
  if (max === min) return values.map(() => 0);
  return values.map((value) => ((invert ? max - value : value - min) / (max - min)) * 100);
}

/** Upstream's summary: `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.` */
export function unschedulableMessage(total: number, reasons: ReadonlyMap<string, number>, canPreempt: boolean): string {
  if (total === 0) return "no nodes available to schedule pods";
  const text = [...reasons]
    .map(([reason, count]) => `${count} ${reason}`)
    .sort()
    .join(", ");
  const preemption = canPreempt
    ? `preemption: 0/${total} nodes are available: ${total} No preemption victims found for incoming pod.`
    : `preemption: 0/${total} nodes are available: ${total} Preemption is not helpful for scheduling.`;
  return `0/${total} nodes are available: ${text}. ${preemption}`;
}

export interface SchedulingInput {
  pod: Pod;
  nodes: readonly NodeInfo[];
  namespaceLabels: NamespaceLabels;
  /** 0 to 1, to choose among equals. */
  random: () => number;
}

/** Chooses a node for a pod, or says why none will do. Pure but for `random`. */
export function schedule({ pod, nodes, namespaceLabels, random }: SchedulingInput): Decision {
  const requests = podRequests(pod);
  const affinity = new PodAffinity(pod, nodes, namespaceLabels);
  const spread = new TopologySpread(pod, nodes);
  const reasons = new Map<string, number>();
  const fitting: NodeInfo[] = [];
  let resourcesWouldHelp = false;
  for (const info of nodes) {
    const rejected = rejections(pod, info, requests, affinity, spread);
    if (rejected.length === 0) fitting.push(info);
    for (const reason of rejected) {
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      resourcesWouldHelp ||=
        reason.startsWith("Insufficient") || reason === "Too many pods" || reason.includes("free ports");
    }
  }
  if (fitting.length === 0)
    return { node: undefined, reasons, message: unschedulableMessage(nodes.length, reasons, resourcesWouldHelp) };
  if (fitting.length === 1) return { node: (fitting[0] as NodeInfo).name };
  const preference = normalised(
    fitting.map((info) => nodePreference(pod, info.node)),
    false,
  );
  const taints = normalised(
    fitting.map((info) => intolerableCount(pod, info.node)),
    true,
  );
  const together = affinity.hasPreferences
    ? normalised(
        fitting.map((info) => affinity.score(info)),
        false,
      )
    : [];
  const apart = spread.hasPreferences
    ? normalised(
        fitting.map((info) => spread.crowding(info)),
        true,
      )
    : [];
  let best: { info: NodeInfo; score: number } | undefined;
  let equals = 0;
  for (const [at, info] of fitting.entries()) {
    // Upstream's weights: taints 3, node affinity 2, spread 2, pod affinity 2, resources 1.
    const score =
      resourceScore(pod, info) +
      2 * (preference[at] as number) +
      3 * (taints[at] as number) +
      2 * (together[at] ?? 0) +
      2 * (apart[at] ?? 0);
    if (best === undefined || score > best.score) {
      best = { info, score };
      equals = 1;
    } else if (score === best.score && random() < 1 / ++equals) best = { info, score };
  }
  return { node: (best as { info: NodeInfo }).info.name };
}

import type { Pod } from "#api/kube/generated/types.ts";
import type { Clock } from "#base/clock.ts";

/** Neither finished nor on its way out (controller.IsPodActive). */
export function isActive(pod: Pod): boolean {
  return (
    pod.status?.phase !== "Succeeded" && pod.status?.phase !== "Failed" && pod.metadata?.deletionTimestamp === undefined
  );
}

function readyCondition(pod: Pod): { status: string; lastTransitionTime?: string } | undefined {
  return pod.status?.conditions?.find((condition) => condition.type === "Ready");
}

export function isReady(pod: Pod): boolean {
  return readyCondition(pod)?.status === "True";
}

/** When the pod became ready, in milliseconds, or undefined. */
export function readySince(pod: Pod): number | undefined {
  const condition = readyCondition(pod);
  return condition?.status === "True" ? Date.parse(condition.lastTransitionTime ?? "") || 0 : undefined;
}

/** Ready for at least `minReadySeconds` (podutil.IsPodAvailable). */
export function isAvailable(pod: Pod, minReadySeconds: number, clock: Clock): boolean {
  const since = readySince(pod);
  return since !== undefined && (minReadySeconds === 0 || since + minReadySeconds * 1000 <= clock.now());
}

const phaseRank: Record<string, number> = { Pending: 0, Unknown: 1, Running: 2 };

function restarts(pod: Pod): number {
  return Math.max(0, ...(pod.status?.containerStatuses ?? []).map((status) => status.restartCount ?? 0));
}

function deletionCost(pod: Pod): number {
  return Number(pod.metadata?.annotations?.["controller.kubernetes.io/pod-deletion-cost"] ?? 0) || 0;
}

/**
 * Pods in the order in which a controller that has too many gives them up
 * (controller.ActivePodsWithRanks): unassigned, pending, not ready, cheap, crowded, young first.
 */
export function inDeletionOrder(pods: readonly Pod[]): Pod[] {
  const perNode = new Map<string, number>();
  for (const pod of pods) {
    const node = pod.spec?.nodeName ?? "";
    perNode.set(node, (perNode.get(node) ?? 0) + 1);
  }
  const rank = (pod: Pod): number => perNode.get(pod.spec?.nodeName ?? "") ?? 0;
  const created = (pod: Pod): number => Date.parse(pod.metadata?.creationTimestamp ?? "") || 0;
  const comparisons: ((pod: Pod) => number)[] = [
    (pod) => (pod.spec?.nodeName ? 1 : 0),
    (pod) => phaseRank[pod.status?.phase ?? "Pending"] ?? 0,
    (pod) => (isReady(pod) ? 1 : 0),
    deletionCost,
    (pod) => -rank(pod),
    (pod) => -(readySince(pod) ?? 0),
    (pod) => -restarts(pod),
    (pod) => -created(pod),
  ];
  return [...pods].sort((left, right) => {
    for (const value of comparisons) {
      const difference = value(left) - value(right);
      if (difference !== 0) return difference;
    }
    return (left.metadata?.name ?? "") < (right.metadata?.name ?? "") ? -1 : 1;
  });
}

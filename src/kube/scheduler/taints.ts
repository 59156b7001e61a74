import type { Node, Pod, Taint } from "#api/kube/generated/types.ts";
import { tolerates } from "#api/kube/tolerations.ts";

/** The first taint that keeps a pod off a node, or undefined. */
export function untoleratedTaint(pod: Pod, node: Node): Taint | undefined {
  return node.spec?.taints?.find(
    (taint) =>
      (taint.effect === "NoSchedule" || taint.effect === "NoExecute") &&
      !(pod.spec?.tolerations ?? []).some((toleration) => tolerates(toleration, taint)),
  );
}

/** How many PreferNoSchedule taints a pod does not tolerate. */
export function intolerableCount(pod: Pod, node: Node): number {
  const tolerations = (pod.spec?.tolerations ?? []).filter(
    (toleration) => !toleration.effect || toleration.effect === "PreferNoSchedule",
  );
  return (node.spec?.taints ?? []).filter(
    (taint) => taint.effect === "PreferNoSchedule" && !tolerations.some((toleration) => tolerates(toleration, taint)),
  ).length;
}

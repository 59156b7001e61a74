import type { Pod, Taint } from "#api/kube/generated/types.ts";
import { tolerates } from "#api/kube/tolerations.ts";

/**
 * Until when a pod may stay on a node with these NoExecute taints, in milliseconds since the epoch: 0 when a
 * taint is not tolerated at all, Infinity when all are without a limit.
 */
export function tolerationDeadline(pod: Pod, taints: readonly Taint[], now: number): number {
  let deadline = Number.POSITIVE_INFINITY;
  for (const taint of taints) {
    const covering = (pod.spec?.tolerations ?? []).filter((toleration) => tolerates(toleration, taint));
    if (covering.length === 0) return 0;
    const since = Date.parse(taint.timeAdded ?? "") || now;
    for (const { tolerationSeconds } of covering) {
      if (tolerationSeconds !== undefined) deadline = Math.min(deadline, since + Math.max(0, tolerationSeconds) * 1000);
    }
  }
  return deadline;
}

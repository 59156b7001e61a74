import { labelSelectorOf, type LabelSelectorObject, matchesLabels } from "#base/label-selector.ts";
import type { KubeObject } from "#api/kube/object.ts";
import type { Clock } from "#base/clock.ts";
import { internalError, tooManyRequests } from "../api-error.ts";
import type { DeleteOptions } from "../deletion.ts";
import type { RequestContext } from "../request-context.ts";
import { type ResourceStore, timestamp } from "../resource-store.ts";
import type { Mutable, ResourceHandle } from "../resource-type.ts";
import { success } from "./pod-binding.ts";

interface Budget extends Mutable {
  spec?: { selector?: LabelSelectorObject; unhealthyPodEvictionPolicy?: string };
  status?: {
    observedGeneration?: number;
    disruptionsAllowed: number;
    currentHealthy: number;
    desiredHealthy: number;
    disruptedPods?: Record<string, string>;
  };
}

interface Pod extends KubeObject {
  status?: { phase?: string; conditions?: { type: string; status: string }[] };
}

const message = "Cannot evict pod as it would violate the pod's disruption budget.";

/** Deletes a pod when its disruption budget allows (policy/v1, Eviction). */
export async function evictPod(
  store: ResourceStore,
  handles: { pods: ResourceHandle; budgets: ResourceHandle },
  clock: Clock,
  namespace: string,
  name: string,
  body: Mutable,
  context: RequestContext,
): Promise<KubeObject> {
  const options = (body["deleteOptions"] ?? {}) as DeleteOptions;
  const { object } = await store.get(handles.pods, namespace, name);
  const pod = object as Pod;
  const phase = pod.status?.phase;
  if (
    phase !== "Succeeded" &&
    phase !== "Failed" &&
    phase !== "Pending" &&
    pod.metadata?.deletionTimestamp === undefined
  ) {
    await handles.budgets.cache.consistent();
    const budgets = handles.budgets.cache
      .list(namespace)
      .filter((entry) => matchesLabels(labelSelectorOf((entry.object as Budget).spec?.selector), pod.metadata?.labels));
    if (budgets.length > 1)
      throw internalError(
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
      );
    const budget = budgets[0];
    if (budget !== undefined && !mayGoUnhealthy(pod, budget.object as Budget))
      await takeFromBudget(store, handles.budgets, clock, namespace, budget.name, name, context);
  }
  const uid = pod.metadata?.uid;
  const preconditions = options.preconditions ?? (uid === undefined ? {} : { uid });
  await store.delete(handles.pods, namespace, name, { ...options, preconditions }, context);
  return success;
}

/** A pod that is not ready takes nothing from a budget that is met without it. */
function mayGoUnhealthy(pod: Pod, { spec, status }: Budget): boolean {
  if (pod.status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") === true) return false;
  if (spec?.unhealthyPodEvictionPolicy === "AlwaysAllow") return true;
  return (status?.currentHealthy ?? 0) >= (status?.desiredHealthy ?? 0) && (status?.desiredHealthy ?? 0) > 0;
}

async function takeFromBudget(
  store: ResourceStore,
  budgets: ResourceHandle,
  clock: Clock,
  namespace: string,
  budgetName: string,
  podName: string,
  context: RequestContext,
): Promise<void> {
  await store.update(
    budgets,
    namespace,
    budgetName,
    (current) => {
      const budget = current as Budget;
      const { status, metadata } = budget;
      if ((status?.observedGeneration ?? 0) < (metadata?.generation ?? 0))
        throw tooManyRequests(message, 10, [
          {
            reason: "DisruptionBudget",
            message: `The disruption budget ${budgetName} is still being processed by the server.`,
          },
        ]);
      const allowed = status?.disruptionsAllowed ?? 0;
      if (status === undefined || allowed <= 0)
        throw tooManyRequests(message, 0, [
          {
            reason: "DisruptionBudget",
            message: `The disruption budget ${budgetName} needs ${status?.desiredHealthy ?? 0} healthy pods and has ${status?.currentHealthy ?? 0} currently`,
          },
        ]);
      status.disruptionsAllowed = allowed - 1;
      status.disruptedPods = { ...status.disruptedPods, [podName]: timestamp(clock.now()) };
      delete metadata?.resourceVersion;
      return budget;
    },
    context,
    { subresource: "status" },
  );
}

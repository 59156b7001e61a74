import type { KubeObject } from "#api/kube/object.ts";
import { parseQuantityMilli } from "../quantity-compare.ts";
import type { Mutable, Strategy } from "../resource-type.ts";

interface Container {
  resources?: { requests?: Record<string, string | number>; limits?: Record<string, string | number> };
}

interface PodLike extends KubeObject {
  spec: {
    nodeName?: string;
    terminationGracePeriodSeconds?: number;
    containers?: Container[];
    initContainers?: Container[];
    ephemeralContainers?: unknown[];
    schedulingGates?: unknown[];
    resources?: Container["resources"];
  };
  status?: { phase?: string; qosClass?: string; conditions?: Record<string, unknown>[] };
}

/** Guaranteed, Burstable or BestEffort by cpu and memory of all containers (upstream's ComputePodQOS). */
export function qosClass(pod: KubeObject): "Guaranteed" | "Burstable" | "BestEffort" {
  const { spec } = pod as PodLike;
  const all = [...(spec.containers ?? []), ...(spec.initContainers ?? [])];
  const set = (value: string | number | undefined): boolean => value !== undefined && parseQuantityMilli(value) !== 0;
  let any = false;
  let guaranteed = all.length > 0;
  for (const { resources = {} } of spec.resources === undefined ? all : [{ resources: spec.resources }]) {
    for (const name of ["cpu", "memory"]) {
      const request = resources.requests?.[name];
      const limit = resources.limits?.[name];
      if (set(request) || set(limit)) any = true;
      if (!set(limit)) guaranteed = false;
      else if (set(request) && parseQuantityMilli(request ?? 0) !== parseQuantityMilli(limit ?? 0)) guaranteed = false;
    }
  }
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}

export const podStrategy: Strategy = {
  countsGeneration: true,
  initialStatus: { phase: "Pending" },

  prepareCreate(object: Mutable) {
    const pod = object as Mutable & PodLike;
    pod.status = { phase: "Pending", qosClass: qosClass(pod) };
    if ((pod.spec.schedulingGates?.length ?? 0) > 0) {
      pod.status.conditions = [
        {
          type: "PodScheduled",
          status: "False",
          lastProbeTime: null,
          lastTransitionTime: null,
          reason: "SchedulingGated",
          message: "Scheduling is blocked due to non-empty scheduling gates",
        },
      ];
    }
  },

  /** A pod on a node has time to end; one that never came to a node, or has ended, has nothing to wait for. */
  gracePeriod(object, asked) {
    const { spec, status } = object as PodLike;
    if (!spec.nodeName || status?.phase === "Failed" || status?.phase === "Succeeded") return 0;
    const grace = asked ?? spec.terminationGracePeriodSeconds ?? 30;
    return grace < 0 ? 1 : grace;
  },
};

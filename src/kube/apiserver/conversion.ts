/**
 * Conversion between the versions of a resource and the form that is stored. Most resources have one served
 * version; events have two faces (core/v1, events.k8s.io/v1) and the autoscaler has v1 and v2.
 */
import type { KubeObject } from "#api/kube/object.ts";
import { apiVersionOf, type Mutable, type ResourceType } from "./resource-type.ts";
import type { Served } from "./registry.ts";

type Fields = Record<string, unknown>;

function rename(object: Fields, pairs: readonly (readonly [string, string])[]): void {
  for (const [from, to] of pairs) {
    if (object[from] === undefined) continue;
    object[to] = object[from];
    delete object[from];
  }
}

const eventPairs = [
  ["involvedObject", "regarding"],
  ["message", "note"],
  ["reportingComponent", "reportingController"],
  ["source", "deprecatedSource"],
  ["firstTimestamp", "deprecatedFirstTimestamp"],
  ["lastTimestamp", "deprecatedLastTimestamp"],
  ["count", "deprecatedCount"],
] as const;

function scalerToV1(object: Fields): void {
  const spec = { ...(object["spec"] as Fields) };
  const status = { ...(object["status"] as Fields) };
  const metrics = (spec["metrics"] ?? []) as { type: string; resource?: { name: string; target: Fields } }[];
  const cpu = metrics.find(
    ({ type, resource }) =>
      type === "Resource" && resource?.name === "cpu" && resource.target["type"] === "Utilization",
  );
  if (cpu !== undefined) spec["targetCPUUtilizationPercentage"] = cpu.resource?.target["averageUtilization"];
  const annotations: Record<string, string> = {};
  const others = metrics.filter((metric) => metric !== cpu);
  if (others.length > 0) annotations["autoscaling.alpha.kubernetes.io/metrics"] = JSON.stringify(others);
  if (spec["behavior"] !== undefined)
    annotations["autoscaling.alpha.kubernetes.io/behavior"] = JSON.stringify(spec["behavior"]);
  if (status["conditions"] !== undefined)
    annotations["autoscaling.alpha.kubernetes.io/conditions"] = JSON.stringify(status["conditions"]);
  delete spec["metrics"];
  delete spec["behavior"];
  delete status["conditions"];
  delete status["currentMetrics"];
  status["currentReplicas"] ??= 0;
  object["spec"] = spec;
  object["status"] = status;
  if (Object.keys(annotations).length > 0) {
    const metadata = object["metadata"] as Fields;
    object["metadata"] = { ...metadata, annotations: { ...(metadata["annotations"] as object), ...annotations } };
  }
}

function scalerFromV1(object: Fields): void {
  const spec = { ...(object["spec"] as Fields) };
  const metadata = { ...(object["metadata"] as Fields) };
  const annotations = { ...(metadata["annotations"] as Record<string, string>) };
  const take = (name: string): unknown => {
    const text = annotations[`autoscaling.alpha.kubernetes.io/${name}`];
    delete annotations[`autoscaling.alpha.kubernetes.io/${name}`];
    try {
      return text === undefined ? undefined : JSON.parse(text);
    } catch {
      return undefined;
    }
  };
  const metrics = (take("metrics") as unknown[] | undefined) ?? [];
  const utilization = spec["targetCPUUtilizationPercentage"];
  delete spec["targetCPUUtilizationPercentage"];
  if (utilization !== undefined && utilization !== null)
    metrics.unshift({
      type: "Resource",
      resource: { name: "cpu", target: { type: "Utilization", averageUtilization: utilization } },
    });
  if (metrics.length > 0) spec["metrics"] = metrics;
  const behavior = take("behavior");
  if (behavior !== undefined) spec["behavior"] = behavior;
  take("conditions");
  metadata["annotations"] = annotations;
  if (Object.keys(annotations).length === 0) delete metadata["annotations"];
  object["metadata"] = metadata;
  object["spec"] = spec;
}

/** True when objects are shown as they are stored. */
export function isStorageForm({ handle, type, version }: Served): boolean {
  return handle.type === type && version === type.storageVersion;
}

/** A stored object as the version of the request shows it. The given one is not changed. */
export function fromStorage(served: Served, object: KubeObject): KubeObject {
  if (isStorageForm(served)) return object;
  const { type, version, handle } = served;
  const out = { ...object, apiVersion: apiVersionOf(type.group, version) } as Mutable;
  if (handle.type !== type) rename(out, eventPairs);
  else if (type.resource === "horizontalpodautoscalers") scalerToV1(out);
  return out;
}

/** What a request sent, in the form that is stored. The given one may be changed. */
export function toStorage(served: Served, object: Mutable): Mutable {
  if (isStorageForm(served)) return object;
  const { type, handle } = served;
  if (handle.type !== type)
    rename(
      object,
      eventPairs.map(([core, face]) => [face, core] as const),
    );
  else if (type.resource === "horizontalpodautoscalers") scalerFromV1(object);
  const kept: ResourceType = handle.type;
  object.apiVersion = apiVersionOf(kept.group, kept.storageVersion);
  return object;
}

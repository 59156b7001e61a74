import type { KubeObject } from "#api/kube/object.ts";
import type { Clock } from "#base/clock.ts";
import { conflict, invalid, type Status } from "../api-error.ts";
import type { RequestContext } from "../request-context.ts";
import { type ResourceStore, timestamp } from "../resource-store.ts";
import type { Mutable, ResourceHandle } from "../resource-type.ts";

interface Binding extends Mutable {
  target?: { kind?: string; name?: string };
}

interface Condition {
  type: string;
  status: string;
  [field: string]: unknown;
}

interface Pod extends Mutable {
  spec: { nodeName?: string; schedulingGates?: unknown[] };
  status?: { conditions?: Condition[] };
}

const podsBinding = { group: "", resource: "pods/binding" };

export const success: Status & KubeObject = {
  kind: "Status",
  apiVersion: "v1",
  metadata: {},
  status: "Success",
  code: 201,
};

/** Puts a pod on a node, once: what the scheduler posts. */
export async function bindPod(
  store: ResourceStore,
  pods: ResourceHandle,
  clock: Clock,
  namespace: string,
  name: string,
  body: Mutable,
  context: RequestContext,
): Promise<KubeObject> {
  const binding = body as Binding;
  const node = binding.target?.name;
  if (!node)
    throw invalid({ group: "", kind: "Binding" }, name, [
      { reason: "FieldValueRequired", field: "target.name", message: "Required value" },
    ]);
  if (binding.target?.kind !== undefined && binding.target.kind !== "" && binding.target.kind !== "Node")
    throw invalid({ group: "", kind: "Binding" }, name, [
      {
        reason: "FieldValueNotSupported",
        field: "target.kind",
        message: `Unsupported value: ${JSON.stringify(binding.target.kind)}: supported values: "Node", "<empty>"`,
      },
    ]);
  await store.update(
    pods,
    namespace,
    name,
    (current) => {
      const pod = current as Pod;
      const { uid, annotations, labels } = binding.metadata ?? {};
      if (uid && uid !== pod.metadata?.uid)
        throw conflict(
          podsBinding,
          name,
          `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${pod.metadata?.uid}`,
        );
      if (pod.metadata?.deletionTimestamp !== undefined)
        throw conflict(podsBinding, name, `pod ${name} is being deleted, cannot be assigned to a host`);
      if (pod.spec.nodeName)
        throw conflict(
          podsBinding,
          name,
          `pod ${name} is already assigned to node ${JSON.stringify(pod.spec.nodeName)}`,
        );
      if ((pod.spec.schedulingGates?.length ?? 0) > 0)
        throw conflict(podsBinding, name, `pod ${name} has non-empty .spec.schedulingGates`);
      pod.spec.nodeName = node;
      const metadata = (pod.metadata ??= {});
      if (annotations !== undefined) metadata.annotations = { ...metadata.annotations, ...annotations };
      if (labels !== undefined) metadata.labels = { ...metadata.labels, ...labels };
      const conditions = (pod.status?.conditions ?? []).filter(({ type }) => type !== "PodScheduled");
      conditions.push({
        type: "PodScheduled",
        status: "True",
        lastProbeTime: null,
        lastTransitionTime: timestamp(clock.now()),
      });
      pod.status = { ...pod.status, conditions };
      delete metadata.resourceVersion;
      return pod;
    },
    context,
    { subresource: "binding" },
  );
  return success;
}

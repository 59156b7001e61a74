import { formatLabelSelector, labelSelectorOf, type LabelSelectorObject } from "#base/label-selector.ts";
import type { KubeObject } from "#api/kube/object.ts";
import { conflict, invalid } from "../api-error.ts";
import type { SubresourceHandler, Target } from "../operations.ts";
import type { ResourceStore } from "../resource-store.ts";
import type { Mutable } from "../resource-type.ts";

interface Scalable extends KubeObject {
  spec?: { replicas?: number; selector?: LabelSelectorObject | Record<string, string> };
  status?: { replicas?: number };
}

function scaleOf(object: KubeObject, group: string): KubeObject {
  const { metadata = {}, spec = {}, status = {} } = object as Scalable;
  const selector = (group === "" ? { matchLabels: spec.selector } : spec.selector) as LabelSelectorObject | undefined;
  const text = formatLabelSelector(labelSelectorOf(selector) ?? []);
  const { name, namespace, uid, resourceVersion, creationTimestamp } = metadata;
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: spec.replicas ? { replicas: spec.replicas } : {},
    status: { replicas: status.replicas ?? 0, ...(text === "" ? {} : { selector: text }) },
  } as KubeObject;
}

/** `scale` of workloads: their replicas as an autoscaling/v1 Scale. */
export function scaleSubresource(store: ResourceStore): SubresourceHandler {
  return {
    async get({ served, namespace, name }: Target) {
      return scaleOf((await store.get(served.handle, namespace, name)).object, served.type.group);
    },
    async update({ served, namespace, name }, body, context) {
      const { metadata = {}, spec } = body as Mutable & { spec?: { replicas?: number } };
      const replicas = spec?.replicas ?? 0;
      if (!Number.isInteger(replicas) || replicas < 0)
        throw invalid({ group: "autoscaling", kind: "Scale" }, name, [
          {
            reason: "FieldValueInvalid",
            field: "spec.replicas",
            message: `Invalid value: ${replicas}: must be greater than or equal to 0`,
          },
        ]);
      const { entry } = await store.update(
        served.handle,
        namespace,
        name,
        (current) => {
          const object = current as Mutable & Scalable;
          if (metadata.uid && metadata.uid !== object.metadata?.uid)
            throw conflict(
              served.type,
              name,
              `Precondition failed: UID in precondition: ${metadata.uid}, UID in object meta: ${object.metadata?.uid}`,
            );
          object.spec = { ...object.spec, replicas };
          if (metadata.resourceVersion)
            object.metadata = { ...object.metadata, resourceVersion: metadata.resourceVersion };
          else delete object.metadata?.resourceVersion;
          return object;
        },
        context,
        { subresource: "scale" },
      );
      return scaleOf(entry.object, served.type.group);
    },
  };
}

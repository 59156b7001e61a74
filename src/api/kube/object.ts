/** What every Kubernetes object has (api-conventions, "Types (Kinds)" and "Metadata"). */
export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

export interface ObjectMeta {
  name?: string;
  generateName?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  /** RFC 3339, whole seconds, UTC. */
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  finalizers?: string[];
  managedFields?: Record<string, unknown>[];
  selfLink?: string;
}

export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata?: ObjectMeta;
}

export interface KubeList<T extends KubeObject = KubeObject> {
  apiVersion?: string;
  kind?: string;
  metadata: { resourceVersion?: string; continue?: string; remainingItemCount?: number };
  items: T[];
}

/** Names a resource in the API. `group` is "" for the core group; `resource` the lower-case plural. */
export interface ResourceRef {
  group: string;
  version: string;
  resource: string;
}

/** `ref("pods")`, `ref("apps/v1", "deployments")`. */
export function ref(groupVersionOrResource: string, resource?: string): ResourceRef {
  if (resource === undefined) return { group: "", version: "v1", resource: groupVersionOrResource };
  const [first, second] = groupVersionOrResource.split("/") as [string, string | undefined];
  return second === undefined ? { group: "", version: first, resource } : { group: first, version: second, resource };
}

/** `namespace/name`, or the name alone for what is in no namespace: the key of caches and queues. */
export function objectKey(object: KubeObject): string {
  const { namespace, name } = object.metadata ?? {};
  return namespace ? `${namespace}/${name}` : (name ?? "");
}

import type { KubeList, KubeObject, ResourceRef } from "#api/kube/object.ts";

/**
 * What the loops of this folder need of the Kubernetes API: a part of `KubeClient` (kube/client), spelled
 * out here because control stands below it. Any `KubeClient` fits by its shape.
 */
export interface ListerWatcher {
  list<T extends KubeObject>(
    resource: ResourceRef,
    query?: {
      namespace?: string;
      labelSelector?: string;
      fieldSelector?: string;
      limit?: number;
      continue?: string;
      resourceVersion?: string;
    },
  ): Promise<KubeList<T>>;
  watch<T extends KubeObject>(
    resource: ResourceRef,
    query: {
      namespace?: string;
      labelSelector?: string;
      fieldSelector?: string;
      resourceVersion: string;
      signal: AbortSignal;
      bookmarks?: boolean;
    },
  ): AsyncIterable<{ type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK"; object: T }>;
}

/** Reading and compare-and-swap writing of single objects, for leases. */
export interface ObjectStore {
  get<T extends KubeObject>(resource: ResourceRef, namespace: string | undefined, name: string): Promise<T>;
  create<T extends KubeObject>(resource: ResourceRef, object: T): Promise<T>;
  update<T extends KubeObject>(resource: ResourceRef, object: T): Promise<T>;
}

/** Where events are written. */
export interface EventSink {
  create<T extends KubeObject>(resource: ResourceRef, object: T): Promise<T>;
  patch<T extends KubeObject>(
    resource: ResourceRef,
    namespace: string | undefined,
    name: string,
    type: "application/strategic-merge-patch+json" | "application/merge-patch+json",
    patch: unknown,
  ): Promise<T>;
}

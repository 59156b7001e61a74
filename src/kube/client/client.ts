/**
 * The client of the Kubernetes API that controllers, the scheduler, the node agent, proxy and DNS use. Two
 * implementations: in process (the API server's own handlers, no HTTP, objects shared and frozen) and over
 * HTTPS. Objects that come out are never to be changed: copy on write.
 */
import type { KubeList, KubeObject, ResourceRef } from "#api/kube/object.ts";

export type WatchEventType = "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";

export interface WatchEvent<T extends KubeObject = KubeObject> {
  type: WatchEventType;
  object: T;
}

export interface ListQuery {
  /** All namespaces when absent. */
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
  limit?: number;
  continue?: string;
  resourceVersion?: string;
}

export interface WatchQuery extends ListQuery {
  resourceVersion: string;
  /** The watch ends, without error, when this aborts. */
  signal: AbortSignal;
  /** Deliver BOOKMARK events too (an object with only a resourceVersion): progress to resume from. */
  bookmarks?: boolean;
}

export type PatchType =
  | "application/json-patch+json"
  | "application/merge-patch+json"
  | "application/strategic-merge-patch+json"
  | "application/apply-patch+yaml";

export interface WriteQuery {
  /** `status`, `scale`, `binding`, `eviction`, `token`… */
  subresource?: string;
  fieldManager?: string;
  dryRun?: boolean;
  /** Server-side apply: take fields over from other managers. */
  force?: boolean;
}

/** One line of discovery. */
export interface ServedResource extends ResourceRef {
  kind: string;
  namespaced: boolean;
  verbs: readonly string[];
}

export interface DeleteQuery {
  propagationPolicy?: "Orphan" | "Background" | "Foreground";
  gracePeriodSeconds?: number;
  preconditions?: { uid?: string; resourceVersion?: string };
}

/**
 * Throws GantryError: `not-found`, `already-exists`, `conflict`, `invalid`, `forbidden`, `unauthorized`,
 * `gone` (expired resourceVersion), `unavailable`; `data.status` is the server's `Status` object.
 */
export interface KubeClient {
  get<T extends KubeObject>(resource: ResourceRef, namespace: string | undefined, name: string): Promise<T>;
  list<T extends KubeObject>(resource: ResourceRef, query?: ListQuery): Promise<KubeList<T>>;
  /** Events after `resourceVersion`. Throws `gone` when that has expired: list again. */
  watch<T extends KubeObject>(resource: ResourceRef, query: WatchQuery): AsyncIterable<WatchEvent<T>>;
  create<T extends KubeObject>(resource: ResourceRef, object: T, query?: WriteQuery): Promise<T>;
  update<T extends KubeObject>(resource: ResourceRef, object: T, query?: WriteQuery): Promise<T>;
  patch<T extends KubeObject>(
    resource: ResourceRef,
    namespace: string | undefined,
    name: string,
    type: PatchType,
    patch: unknown,
    query?: WriteQuery,
  ): Promise<T>;
  delete(resource: ResourceRef, namespace: string | undefined, name: string, query?: DeleteQuery): Promise<void>;
  /** Deletes every object that the selectors match, in one namespace or (undefined) in all. */
  deleteCollection(
    resource: ResourceRef,
    namespace: string | undefined,
    query?: DeleteQuery & { labelSelector?: string; fieldSelector?: string },
  ): Promise<void>;
  /** Every resource that is served, in its group's preferred version: what garbage collection and namespace deletion walk. */
  resources(): Promise<ServedResource[]>;
  /** POST of a subresource whose body and answer are of another kind (`pods/binding`, `serviceaccounts/token`). */
  post<T extends KubeObject>(
    resource: ResourceRef,
    namespace: string | undefined,
    name: string,
    subresource: string,
    body: unknown,
  ): Promise<T>;
}

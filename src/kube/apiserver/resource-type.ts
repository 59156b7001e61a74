import type { KubeObject } from "#api/kube/object.ts";
import type { FieldProblem } from "./api-error.ts";
import type { RequestContext } from "./request-context.ts";
import type { WatchCache } from "./watch-cache.ts";

/** A group, version and kind. */
export interface KindRef {
  group: string;
  version: string;
  kind: string;
}

export interface SubresourceInfo {
  name: string;
  /** The kind of its body, e.g. `Scale` of `autoscaling/v1`. */
  kind: KindRef;
  verbs: readonly string[];
}

/** A resource in one version, as discovery shows it. */
export interface ServedVersion {
  version: string;
  verbs: readonly string[];
  subresources: ReadonlyMap<string, SubresourceInfo>;
}

/** One resource: all its versions share what is stored. */
export interface ResourceType {
  group: string;
  resource: string;
  singular: string;
  kind: string;
  namespaced: boolean;
  shortNames: readonly string[];
  categories: readonly string[];
  storageVersion: string;
  /** Discovery's hash of the storage version; "" when not known. */
  storageHash: string;
  /** In order of preference. */
  versions: readonly ServedVersion[];
}

export type Mutable = Record<string, unknown> & KubeObject;

/** What a kind does beyond the generic life of an object. Objects given to it may be changed. */
export interface Strategy {
  /** Leases and events may be acknowledged before they are on disk. */
  durability?: "sync" | "lazy";
  /** metadata.generation counts changes outside metadata and status. */
  countsGeneration?: boolean;
  /** Status of a new object; absent: what the client sent is kept. */
  initialStatus?: Record<string, unknown>;
  /** PUT of what is not there creates it. */
  allowCreateOnUpdate?: boolean;
  /** Mutating admission: fills what the cluster decides. Before validation. Not for dry-run side effects. */
  admitCreate?(object: Mutable, context: RequestContext): void | Promise<void>;
  prepareCreate?(object: Mutable, context: RequestContext): void;
  prepareUpdate?(object: Mutable, old: KubeObject, context: RequestContext): void;
  admitUpdate?(object: Mutable, old: KubeObject, context: RequestContext): void | Promise<void>;
  validateCreate?(object: KubeObject, context: RequestContext): FieldProblem[];
  validateUpdate?(object: KubeObject, old: KubeObject, context: RequestContext): FieldProblem[];
  /** Refuses, or takes back what admission took (a Service's address), when the write failed. */
  createFailed?(object: KubeObject): void;
  updateFailed?(object: KubeObject): void;
  /** After a create or update is in the store. */
  written?(object: KubeObject): void;
  /** Gives the grace period of a deletion; undefined: the object goes at once. */
  gracePeriod?(object: KubeObject, asked: number | undefined): number | undefined;
  /** Deletion goes on only when this is empty too (a Namespace's spec.finalizers). */
  holdsDeletion?(object: KubeObject): boolean;
  /** Called when deletionTimestamp is set first. */
  beginDeletion?(object: Mutable): void;
  /** Refuses a deletion by throwing. */
  validateDelete?(object: KubeObject, context: RequestContext): void | Promise<void>;
  /** After an object is gone from the store. */
  deleted?(object: KubeObject): void;
}

/** A resource type with its cache and behaviour. */
export interface ResourceHandle {
  readonly type: ResourceType;
  readonly strategy: Strategy;
  readonly cache: WatchCache;
}

export function servedVersion(type: ResourceType, version: string): ServedVersion | undefined {
  return type.versions.find((served) => served.version === version);
}

/** `v1` or `apps/v1`. */
export function apiVersionOf(group: string, version: string): string {
  return group === "" ? version : `${group}/${version}`;
}

import type { KubeList, KubeObject, ResourceRef } from "#api/kube/object.ts";
import { AsyncQueue } from "#base/async-queue.ts";
import { GantryError } from "#base/errors.ts";
import { matchesFields, parseFieldSelector } from "#base/field-selector.ts";
import type {
  DeleteQuery,
  KubeClient,
  ListQuery,
  PatchType,
  WatchEvent,
  WatchQuery,
  WriteQuery,
} from "#kube/client/client.ts";

interface Watcher {
  resource: string;
  namespace: string | undefined;
  matches(object: KubeObject): boolean;
  queue: AsyncQueue<WatchEvent>;
}

type Json = Record<string, unknown>;

/** A small API server in memory for tests: enough of its behaviour for the node agent, and a record of writes. */
export class FakeKube implements KubeClient {
  readonly #objects = new Map<string, KubeObject>();
  readonly #watchers = new Set<Watcher>();
  #revision = 0;
  /** Every call throws this while it is set: the server is away. */
  down: GantryError | undefined;
  /** `verb resource/name` of each write. */
  readonly writes: string[] = [];

  #key(resource: string, namespace: string | undefined, name: string): string {
    return `${resource}|${namespace ?? ""}|${name}`;
  }

  /** All objects of a resource. */
  all<T extends KubeObject>(resource: string): T[] {
    return [...this.#objects].filter(([key]) => key.startsWith(`${resource}|`)).map(([, object]) => object as T);
  }

  /** Ends every watch, as a restart of the server does. */
  cutWatches(): void {
    for (const watcher of this.#watchers) watcher.queue.end(new GantryError("unavailable", "The connection was cut."));
  }

  #guard(): void {
    if (this.down !== undefined) throw this.down;
  }

  #put(resource: string, object: KubeObject): KubeObject {
    const key = this.#key(resource, object.metadata?.namespace, object.metadata?.name ?? "");
    const before = this.#objects.get(key);
    const stored = structuredClone(object);
    stored.metadata = { ...stored.metadata, resourceVersion: String(++this.#revision) };
    stored.metadata.uid ??= `uid-${this.#revision}`;
    stored.metadata.creationTimestamp ??= new Date().toISOString();
    this.#objects.set(key, stored);
    this.#emit(resource, before === undefined ? "ADDED" : "MODIFIED", stored);
    return stored;
  }

  #emit(resource: string, type: WatchEvent["type"], object: KubeObject): void {
    for (const watcher of this.#watchers) {
      if (watcher.resource !== resource || !watcher.matches(object)) continue;
      if (watcher.namespace !== undefined && watcher.namespace !== object.metadata?.namespace) continue;
      watcher.queue.push({ type, object: structuredClone(object) });
    }
  }

  #filter(query: ListQuery): (object: KubeObject) => boolean {
    const selector = parseFieldSelector(query.fieldSelector ?? "");
    return (object) =>
      matchesFields(selector, (field) => {
        let at: unknown = object;
        for (const part of field.split(".")) at = (at as Json | undefined)?.[part];
        return typeof at === "string" ? at : "";
      });
  }

  async get<T extends KubeObject>(resource: ResourceRef, namespace: string | undefined, name: string): Promise<T> {
    this.#guard();
    const object = this.#objects.get(this.#key(resource.resource, namespace, name));
    if (object === undefined) {
      throw new GantryError("not-found", `${resource.resource.replace(/s$/, "")} "${name}" not found`);
    }
    return structuredClone(object) as T;
  }

  async list<T extends KubeObject>(resource: ResourceRef, query: ListQuery = {}): Promise<KubeList<T>> {
    this.#guard();
    const matches = this.#filter(query);
    const items = this.all<T>(resource.resource).filter(
      (object) => matches(object) && (query.namespace === undefined || object.metadata?.namespace === query.namespace),
    );
    return { metadata: { resourceVersion: String(this.#revision) }, items: structuredClone(items) };
  }

  async *watch<T extends KubeObject>(resource: ResourceRef, query: WatchQuery): AsyncIterable<WatchEvent<T>> {
    this.#guard();
    const watcher: Watcher = {
      resource: resource.resource,
      namespace: query.namespace,
      matches: this.#filter(query),
      queue: new AsyncQueue<WatchEvent>(),
    };
    // What changed since the list: good enough for tests, in which deletions in between do not happen.
    for (const object of this.all(resource.resource)) {
      if (Number(object.metadata?.resourceVersion) > Number(query.resourceVersion) && watcher.matches(object))
        watcher.queue.push({ type: "MODIFIED", object: structuredClone(object) });
    }
    this.#watchers.add(watcher);
    const end = (): void => watcher.queue.end();
    query.signal.addEventListener("abort", end, { once: true });
    try {
      for await (const event of watcher.queue) yield event as WatchEvent<T>;
    } finally {
      this.#watchers.delete(watcher);
      query.signal.removeEventListener("abort", end);
    }
  }

  async create<T extends KubeObject>(resource: ResourceRef, object: T): Promise<T> {
    this.#guard();
    this.writes.push(`create ${resource.resource}/${object.metadata?.name}`);
    const key = this.#key(resource.resource, object.metadata?.namespace, object.metadata?.name ?? "");
    if (this.#objects.has(key)) throw new GantryError("already-exists", `${object.metadata?.name} already exists`);
    return structuredClone(this.#put(resource.resource, object)) as T;
  }

  async update<T extends KubeObject>(resource: ResourceRef, object: T): Promise<T> {
    const there = await this.get(resource, object.metadata?.namespace, object.metadata?.name ?? "");
    if (there.metadata?.resourceVersion !== object.metadata?.resourceVersion)
      throw new GantryError("conflict", "changed");
    this.writes.push(`update ${resource.resource}/${object.metadata?.name}`);
    return structuredClone(this.#put(resource.resource, object)) as T;
  }

  async patch<T extends KubeObject>(
    resource: ResourceRef,
    namespace: string | undefined,
    name: string,
    _type: PatchType,
    patch: unknown,
    query?: WriteQuery,
  ): Promise<T> {
    const there = await this.get(resource, namespace, name);
    const { metadata } = patch as KubeObject;
    if (metadata?.uid !== undefined && metadata.uid !== there.metadata?.uid)
      throw new GantryError("conflict", "uid differs");
    this.writes.push(
      `patch ${resource.resource}/${name}${query?.subresource === undefined ? "" : `/${query.subresource}`}`,
    );
    return structuredClone(this.#put(resource.resource, merge(there, patch) as KubeObject)) as T;
  }

  async delete(
    resource: ResourceRef,
    namespace: string | undefined,
    name: string,
    query: DeleteQuery = {},
  ): Promise<void> {
    const there = await this.get(resource, namespace, name);
    this.writes.push(`delete ${resource.resource}/${name}`);
    const grace =
      query.gracePeriodSeconds ??
      (there as { spec?: { terminationGracePeriodSeconds?: number } }).spec?.terminationGracePeriodSeconds ??
      30;
    if (resource.resource === "pods" && grace > 0) {
      this.#put("pods", {
        ...there,
        metadata: { ...there.metadata, deletionTimestamp: new Date().toISOString(), deletionGracePeriodSeconds: grace },
      });
      return;
    }
    this.#objects.delete(this.#key(resource.resource, namespace, name));
    this.#emit(resource.resource, "DELETED", {
      ...there,
      metadata: {
        ...there.metadata,
        resourceVersion: String(++this.#revision),
        ...(query.gracePeriodSeconds === 0 ? { deletionGracePeriodSeconds: 0 } : {}),
      },
    });
  }

  async deleteCollection(): Promise<void> {
    throw new GantryError("unsupported", "the node agent deletes no collections");
  }

  async resources(): Promise<never[]> {
    return [];
  }

  async post<T extends KubeObject>(
    _resource: ResourceRef,
    _namespace: string | undefined,
    name: string,
    subresource: string,
  ): Promise<T> {
    this.#guard();
    this.writes.push(`post ${name}/${subresource}`);
    return {
      status: {
        token: `token-${this.writes.length}`,
        expirationTimestamp: new Date(Date.now() + 3600_000).toISOString(),
      },
    } as unknown as T;
  }
}

/** Merges as a strategic patch does where it matters here: conditions by type, the rest as a merge patch. */
function merge(target: unknown, patch: unknown, field = ""): unknown {
  if (Array.isArray(patch)) {
    if (field !== "conditions" || !Array.isArray(target))
      return patch.filter((item) => (item as Json).$patch === undefined);
    const out = [...(target as Json[])];
    for (const item of patch as Json[]) {
      const at = out.findIndex(({ type }) => type === item.type);
      if (at < 0) out.push(merge({}, item) as Json);
      else out[at] = merge(out[at], item) as Json;
    }
    return out;
  }
  if (typeof patch !== "object" || patch === null) return patch;
  const out: Json = { ...(target as Json | undefined) };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null && !key.endsWith("Time")) delete out[key];
    else out[key] = merge(out[key], value, key);
  }
  return out;
}

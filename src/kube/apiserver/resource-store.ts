import { GantryError, hasCode } from "#base/errors.ts";
import type { Clock } from "#base/clock.ts";
import { newUid, randomSuffix } from "#base/ids.ts";
import type { KubeObject, ObjectMeta } from "#api/kube/object.ts";
import type { Store, StoredValue } from "#store/store.ts";
import { alreadyExists, badRequest, conflict, generatedNameTaken, invalid, notFound } from "./api-error.ts";
import type { FieldProblem } from "./api-error.ts";
import { CacheEntry, encodeStored } from "./cache-entry.ts";
import {
  checkDeleteOptions,
  checkPreconditions,
  type DeleteOptions,
  finalizersFor,
  readyToRemove,
} from "./deletion.ts";
import { cloneJson, equalJson } from "./json-clone.ts";
import type { ListOptions } from "./list-options.ts";
import { type ListAnswer, readList } from "./list-reader.ts";
import { trackOwnership } from "./machinery.ts";
import type { RequestContext } from "./request-context.ts";
import { apiVersionOf, type Mutable, type ResourceHandle } from "./resource-type.ts";
import type { StoreFeed } from "./store-feed.ts";

/** Checks and steps that concern every kind: what the API machinery and admission bring. */
export interface ObjectRules {
  /** Fills defaults in place. */
  applyDefaults(handle: ResourceHandle, object: Mutable): void;
  /** Problems of a new object, or of a changed one. */
  validate(
    handle: ResourceHandle,
    object: KubeObject,
    old: KubeObject | undefined,
    subresource: string,
  ): FieldProblem[];
  /** Mutating admission that concerns many kinds; refuses by throwing. */
  admitCreate(handle: ResourceHandle, namespace: string, object: Mutable, context: RequestContext): Promise<void>;
  admitUpdate(
    handle: ResourceHandle,
    object: Mutable,
    old: KubeObject,
    context: RequestContext,
    subresource: string,
  ): Promise<void>;
  /** After validation: refuses by throwing. `object` is undefined for a deletion. */
  admitFinally(
    handle: ResourceHandle,
    object: KubeObject | undefined,
    old: KubeObject | undefined,
    context: RequestContext,
  ): Promise<void>;
}

export interface ResourceStoreParts {
  store: Store;
  feed: StoreFeed;
  clock: Clock;
  rules: ObjectRules;
}

export interface UpdateOptions {
  /** "" for the object itself. */
  subresource?: string;
  /** Write, and what it is based on: false for a PUT of a new object by apply. */
  createIfMissing?: boolean;
}

/** Changes a private copy of the present object; what it returns is written. Called again after a conflict. */
export type Change = (current: Mutable | undefined) => Mutable | Promise<Mutable>;

export interface Written {
  entry: CacheEntry;
  created: boolean;
  /** The update was the last one: the object is gone now. */
  deleted: boolean;
}

export interface Deleted {
  entry: CacheEntry;
  /** False: the object stays until its finalizers or grace period are over. */
  gone: boolean;
}

const maxAttempts = 20;

/** `2026-01-02T03:04:05Z`. */
export function timestamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/**
 * The life of objects, the same for every kind: create, read, change by compare-and-swap, delete with grace
 * and finalizers. Kinds add behaviour by their Strategy.
 */
export class ResourceStore {
  readonly #parts: ResourceStoreParts;

  constructor(parts: ResourceStoreParts) {
    this.#parts = parts;
  }

  /** Throws 404. `resourceVersion` "0" answers from the cache as it is. */
  async get(handle: ResourceHandle, namespace: string, name: string, resourceVersion = ""): Promise<CacheEntry> {
    const { cache } = handle;
    if (resourceVersion === "") await cache.consistent();
    else {
      await cache.ready();
      if (resourceVersion !== "0") await cache.waitFor(Number(resourceVersion));
    }
    const entry = cache.get(cache.keyOf(namespace, name));
    if (entry === undefined) throw notFound(handle.type, name);
    return entry;
  }

  list(handle: ResourceHandle, namespace: string, options: ListOptions): Promise<ListAnswer> {
    return readList(this.#parts.store, handle, namespace, options);
  }

  /** Creates an object, which becomes the store's: pass a copy that nobody else holds. */
  async create(
    handle: ResourceHandle,
    namespace: string,
    object: Mutable,
    context: RequestContext,
  ): Promise<CacheEntry> {
    const { type } = handle;
    this.#checkIdentity(handle, namespace, undefined, object);
    const given = object.metadata as ObjectMeta;
    if (given.resourceVersion !== undefined && given.resourceVersion !== "" && given.resourceVersion !== "0")
      throw badRequest("resourceVersion should not be set on objects to be created");
    const generated = !given.name && !!given.generateName;
    for (let attempt = 0; ; attempt++) {
      const copy = generated ? cloneJson(object) : object;
      if (generated)
        (copy.metadata as ObjectMeta).name = `${(given.generateName as string).slice(0, 58)}${randomSuffix()}`;
      try {
        return await this.#createOnce(handle, namespace, copy, context);
      } catch (error) {
        if (!generated || !hasCode(error, "already-exists")) throw error;
        if (attempt === 7) throw generatedNameTaken(type, (copy.metadata as ObjectMeta).name as string);
      }
    }
  }

  async #createOnce(
    handle: ResourceHandle,
    namespace: string,
    object: Mutable,
    context: RequestContext,
  ): Promise<CacheEntry> {
    const { strategy, type, cache } = handle;
    const { rules, store, clock } = this.#parts;
    const metadata = object.metadata as ObjectMeta;
    rules.applyDefaults(handle, object);
    await rules.admitCreate(handle, namespace, object, context);
    if (strategy.admitCreate !== undefined) await strategy.admitCreate(object, context);
    metadata.uid = newUid();
    metadata.creationTimestamp = timestamp(clock.now());
    delete metadata.deletionTimestamp;
    delete metadata.deletionGracePeriodSeconds;
    if (context.applying !== true) delete metadata.managedFields;
    delete metadata.selfLink;
    delete metadata.resourceVersion;
    if (strategy.countsGeneration === true) metadata.generation = 1;
    else delete metadata.generation;
    if (strategy.initialStatus !== undefined) object["status"] = cloneJson(strategy.initialStatus);
    strategy.prepareCreate?.(object, context);
    this.#stamp(handle, object);
    const problems = [
      ...rules.validate(handle, object, undefined, ""),
      ...(strategy.validateCreate?.(object, context) ?? []),
    ];
    if (problems.length > 0) {
      strategy.createFailed?.(object);
      throw invalid(type, metadata.name ?? "", problems);
    }
    const name = metadata.name as string;
    const key = cache.keyOf(namespace, name);
    try {
      await rules.admitFinally(handle, object, undefined, context);
      const bytes = encodeStored(object);
      if (context.dryRun) {
        if ((await store.get(key)) !== undefined) throw alreadyExists(type, name);
        strategy.createFailed?.(object);
        return new CacheEntry(key, type.namespaced ? namespace : "", name, 0, bytes);
      }
      const stored = await store.create(key, bytes, { durability: strategy.durability ?? "sync" });
      strategy.written?.(object);
      return await this.#answer(handle, stored);
    } catch (error) {
      strategy.createFailed?.(object);
      if (hasCode(error, "already-exists") && error.data["status"] === undefined) throw alreadyExists(type, name);
      throw error;
    }
  }

  /**
   * Changes an object by compare-and-swap. When the changed object names no resourceVersion, a conflict with
   * another writer is tried again on the newer object; when it names one that is not the present one: 409.
   */
  async update(
    handle: ResourceHandle,
    namespace: string,
    name: string,
    change: Change,
    context: RequestContext,
    options: UpdateOptions = {},
  ): Promise<Written> {
    const { cache, type } = handle;
    await cache.ready();
    const key = cache.keyOf(namespace, name);
    let current = cache.get(key);
    let fresh = false;
    for (let attempt = 0; ; attempt++) {
      if (current === undefined && !fresh) {
        // The cache may be a moment behind another writer's create.
        const stored = await this.#parts.store.get(key);
        if (stored !== undefined) current = cache.entryOf(stored);
        fresh = true;
      }
      if (current === undefined) {
        if (options.createIfMissing !== true) throw notFound(type, name);
        const object = await change(undefined);
        const uid = object.metadata?.uid;
        if (uid) throw conflict(type, name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: `);
        return { entry: await this.create(handle, namespace, object, context), created: true, deleted: false };
      }
      try {
        return await this.#updateOnce(handle, namespace, current, change, context, options.subresource ?? "");
      } catch (error) {
        handle.strategy.updateFailed?.(current.object);
        if (!(error instanceof StaleError)) throw error;
        if (error.named && (fresh || error.current !== undefined)) throw conflict(type, name);
        if (attempt >= maxAttempts) throw conflict(type, name);
        const stored = error.current ?? (await this.#parts.store.get(key));
        fresh = true;
        current = stored === undefined ? undefined : cache.entryOf(stored);
        if (current === undefined && options.createIfMissing !== true) throw notFound(type, name);
      }
    }
  }

  async #updateOnce(
    handle: ResourceHandle,
    namespace: string,
    current: CacheEntry,
    change: Change,
    context: RequestContext,
    subresource: string,
  ): Promise<Written> {
    const { strategy, type } = handle;
    const { rules, store } = this.#parts;
    const old = current.object;
    const oldMeta = old.metadata as ObjectMeta;
    const object = await change(cloneJson(old) as Mutable);
    this.#checkIdentity(handle, namespace, current.name, object);
    const metadata = object.metadata as ObjectMeta;
    const named = metadata.resourceVersion;
    const conditional = named !== undefined && named !== "" && named !== "0";
    if (conditional && named !== String(current.revision)) throw new StaleError(true, undefined);
    if (metadata.uid !== undefined && metadata.uid !== "" && metadata.uid !== oldMeta.uid)
      throw conflict(
        type,
        current.name,
        `Precondition failed: UID in precondition: ${metadata.uid}, UID in object meta: ${oldMeta.uid}`,
      );
    keepSystemFields(metadata, oldMeta);
    if (subresource === "status") keepAllButStatus(object, old);
    else if (subresource === "" && strategy.initialStatus !== undefined) keepField(object, old, "status");
    if (subresource !== "status") rules.applyDefaults(handle, object);
    await rules.admitUpdate(handle, object, old, context, subresource);
    if (subresource === "") {
      if (strategy.admitUpdate !== undefined) await strategy.admitUpdate(object, old, context);
      strategy.prepareUpdate?.(object, old, context);
    }
    if (strategy.countsGeneration === true) {
      const generation = oldMeta.generation ?? 0;
      metadata.generation = subresource !== "status" && specChanged(object, old) ? generation + 1 : generation;
      if (metadata.generation === 0) delete metadata.generation;
    }
    this.#stamp(handle, object);
    await trackOwnership(object, old, context, subresource);
    const problems = [
      ...rules.validate(handle, object, old, subresource),
      ...(subresource === "" ? (strategy.validateUpdate?.(object, old, context) ?? []) : []),
    ];
    if (problems.length > 0) throw invalid(type, current.name, problems);
    await rules.admitFinally(handle, object, old, context);
    delete metadata.resourceVersion;
    if (readyToRemove(handle, object)) {
      if (context.dryRun) return { entry: this.#dry(current, object), created: false, deleted: true };
      const { entry } = await this.#remove(handle, current, object, conditional);
      return { entry, created: false, deleted: true };
    }
    const bytes = encodeStored(object);
    // A write that changes nothing is none: no event, no new revision.
    if (
      Buffer.from(bytes).equals(current.raw) ||
      equalJson({ ...old, metadata: { ...oldMeta, resourceVersion: undefined } }, object)
    )
      return { entry: current, created: false, deleted: false };
    if (context.dryRun) {
      strategy.updateFailed?.(old);
      const entry = new CacheEntry(current.key, current.namespace, current.name, current.revision, bytes);
      return { entry, created: false, deleted: false };
    }
    try {
      const durability = strategy.durability ?? "sync";
      const stored = await store.update(current.key, bytes, current.revision, { durability });
      strategy.written?.(object);
      return { entry: await this.#answer(handle, stored), created: false, deleted: false };
    } catch (error) {
      throw asStale(error, conditional);
    }
  }

  /** Deletes by the rules of grace periods and finalizers. Throws 404, 409. */
  async delete(
    handle: ResourceHandle,
    namespace: string,
    name: string,
    options: DeleteOptions,
    context: RequestContext,
  ): Promise<Deleted> {
    const { cache, type } = handle;
    checkDeleteOptions(options);
    await cache.ready();
    const key = cache.keyOf(namespace, name);
    let current = cache.get(key);
    if (current === undefined) {
      const stored = await this.#parts.store.get(key);
      if (stored === undefined) throw notFound(type, name);
      current = cache.entryOf(stored);
    }
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#deleteOnce(handle, current, options, context);
      } catch (error) {
        if (!(error instanceof StaleError) || attempt >= maxAttempts) throw error;
        const stored = error.current ?? (await this.#parts.store.get(key));
        if (stored === undefined) throw notFound(type, name);
        current = cache.entryOf(stored);
      }
    }
  }

  async #deleteOnce(
    handle: ResourceHandle,
    current: CacheEntry,
    options: DeleteOptions,
    context: RequestContext,
  ): Promise<Deleted> {
    const { strategy } = handle;
    const { rules, store, clock } = this.#parts;
    const old = current.object;
    const oldMeta = old.metadata as ObjectMeta;
    checkPreconditions(handle, old, options);
    await strategy.validateDelete?.(old, context);
    await rules.admitFinally(handle, undefined, old, context);
    const object = cloneJson(old) as Mutable;
    const metadata = object.metadata as ObjectMeta;
    const finalizers = finalizersFor(old, options);
    if (finalizers.length > 0) metadata.finalizers = finalizers;
    else delete metadata.finalizers;
    const grace = Math.max(0, strategy.gracePeriod?.(old, options.gracePeriodSeconds) ?? 0);
    const held = finalizers.length > 0 || (strategy.holdsDeletion?.(old) ?? false);
    if (!held && grace === 0) {
      if (context.dryRun) return { entry: current, gone: true };
      return this.#remove(handle, current, object, false);
    }
    const remaining = oldMeta.deletionGracePeriodSeconds;
    if (oldMeta.deletionTimestamp === undefined) {
      metadata.deletionTimestamp = timestamp(clock.now() + grace * 1000);
      metadata.deletionGracePeriodSeconds = grace;
      if (metadata.generation !== undefined && metadata.generation > 0) metadata.generation++;
      strategy.beginDeletion?.(object);
    } else if (remaining !== undefined && grace < remaining) {
      // A second deletion may only shorten the first one's time.
      const begun = Date.parse(oldMeta.deletionTimestamp) - remaining * 1000;
      metadata.deletionTimestamp = timestamp(begun + grace * 1000);
      metadata.deletionGracePeriodSeconds = grace;
    } else if (equalJson(oldMeta.finalizers ?? [], finalizers)) {
      return { entry: current, gone: false };
    }
    this.#stamp(handle, object);
    delete metadata.resourceVersion;
    if (context.dryRun) return { entry: this.#dry(current, object), gone: false };
    try {
      const stored = await store.update(current.key, encodeStored(object), current.revision);
      return { entry: await this.#answer(handle, stored), gone: false };
    } catch (error) {
      throw asStale(error, false);
    }
  }

  async #remove(handle: ResourceHandle, current: CacheEntry, last: Mutable, named: boolean): Promise<Deleted> {
    const { store, feed } = this.#parts;
    const { strategy } = handle;
    try {
      const { revision } = await store.delete(current.key, current.revision, {
        durability: strategy.durability ?? "sync",
      });
      await feed.waitFor(revision, 10_000);
      strategy.deleted?.(current.object);
      delete (last.metadata as ObjectMeta).resourceVersion;
      this.#stamp(handle, last);
      const entry = new CacheEntry(current.key, current.namespace, current.name, revision, encodeStored(last));
      return { entry, gone: true };
    } catch (error) {
      throw asStale(error, named);
    }
  }

  /** Waits until the cache shows the write, so that the writer reads what it wrote. */
  async #answer(handle: ResourceHandle, stored: StoredValue): Promise<CacheEntry> {
    const wait = this.#parts.feed.waitFor(stored.modRevision, 10_000);
    if (wait !== undefined) await wait;
    const cached = handle.cache.get(stored.key);
    return cached?.revision === stored.modRevision ? cached : handle.cache.entryOf(stored);
  }

  #dry(current: CacheEntry, object: Mutable): CacheEntry {
    return new CacheEntry(current.key, current.namespace, current.name, current.revision, encodeStored(object));
  }

  #stamp({ type }: ResourceHandle, object: Mutable): void {
    object.kind = type.kind;
    object.apiVersion = apiVersionOf(type.group, type.storageVersion);
  }

  /** The object's own name and namespace must be those of the request. */
  #checkIdentity({ type }: ResourceHandle, namespace: string, name: string | undefined, object: Mutable): void {
    const metadata = (object.metadata ??= {});
    if (type.namespaced) {
      if (namespace === "") throw badRequest("an empty namespace may not be set during creation");
      if (!metadata.namespace) metadata.namespace = namespace;
      else if (metadata.namespace !== namespace)
        throw badRequest(`the namespace of the provided object does not match the namespace sent on the request`);
    } else if (metadata.namespace !== undefined) {
      if (metadata.namespace !== "") throw badRequest("namespace may not be set on cluster-scoped resources");
      delete metadata.namespace;
    }
    if (name === undefined) return;
    if (!metadata.name) metadata.name = name;
    else if (metadata.name !== name)
      throw badRequest(`the name of the object (${metadata.name}) does not match the name on the URL (${name})`);
  }
}

/** The compare-and-swap lost. `named`: the client itself named the revision that is no longer. */
class StaleError extends Error {
  readonly named: boolean;
  readonly current: StoredValue | undefined;

  constructor(named: boolean, current: StoredValue | undefined) {
    super("stale");
    this.named = named;
    this.current = current;
  }
}

function asStale(error: unknown, named: boolean): unknown {
  if (error instanceof GantryError && error.code === "conflict" && error.data["status"] === undefined)
    return new StaleError(named, error.data["current"] as StoredValue | undefined);
  return error;
}

function keepSystemFields(metadata: ObjectMeta, old: ObjectMeta): void {
  keepField(metadata, old, "uid");
  keepField(metadata, old, "creationTimestamp");
  keepField(metadata, old, "deletionTimestamp");
  keepField(metadata, old, "deletionGracePeriodSeconds");
  keepField(metadata, old, "generation");
  keepField(metadata, old, "generateName");
  delete metadata.selfLink;
}

function keepField<T extends object>(target: T, source: object, key: string): void {
  const from = source as Record<string, unknown>;
  const to = target as Record<string, unknown>;
  if (from[key] === undefined) delete to[key];
  else to[key] = from[key];
}

/** A status write changes status and, as upstream lets it, labels and annotations; nothing else. */
function keepAllButStatus(object: Mutable, old: KubeObject): void {
  const source = old as Record<string, unknown>;
  for (const key of Object.keys(object))
    if (key !== "status" && key !== "metadata" && source[key] === undefined) delete object[key];
  for (const key in source) if (key !== "status" && key !== "metadata") object[key] = source[key];
  keepField(object.metadata as ObjectMeta, old.metadata as ObjectMeta, "ownerReferences");
}

function specChanged(object: KubeObject, old: KubeObject): boolean {
  const strip = (value: KubeObject): Record<string, unknown> => {
    const { metadata: _m, status: _s, kind: _k, apiVersion: _a, ...rest } = value as Mutable;
    return rest;
  };
  return !equalJson(strip(object), strip(old));
}

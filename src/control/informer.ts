import { type KubeObject, type ResourceRef, objectKey } from "#api/kube/object.ts";
import type { Clock } from "#base/clock.ts";
import { errorCode, errorMessage } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { TaskGroup } from "#base/task-group.ts";
import { deepFreeze } from "./deep-freeze.ts";
import type { ListerWatcher } from "./kube-access.ts";
import { type IndexFunction, ObjectCache } from "./object-cache.ts";

export interface InformerOptions<T extends KubeObject> {
  resource: ResourceRef;
  /** All namespaces when absent. */
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
  indexers?: Record<string, IndexFunction<T>>;
  /** Shrinks an object before it is kept, e.g. drops managedFields. Must not change its argument. */
  transform?: (object: T) => T;
  /** First wait after a failure, doubled up to `maxBackoffMs`, with up to as much again in jitter. */
  backoffMs?: number;
  maxBackoffMs?: number;
}

export interface InformerParts {
  source: ListerWatcher;
  log: Logger;
  clock: Clock;
  /** 0 to 1, for jitter. */
  random?: () => number;
}

/** Called synchronously, in the order of the server's changes. Objects are frozen and shared. */
export interface InformerHandlers<T> {
  add?(object: T, isInitial: boolean): void;
  update?(object: T, old: T): void;
  delete?(object: T): void;
}

/**
 * Keeps a copy of a resource that follows the server: lists once, then watches from the list's revision.
 * A watch that ends is resumed where it stopped; one that is too old (410) lists again, and the difference
 * is told to the handlers (client-go, tools/cache, Reflector and SharedInformer).
 */
export class Informer<T extends KubeObject = KubeObject> {
  readonly resource: ResourceRef;
  /** Resolves when the first list has been told to all handlers. */
  readonly synced: Promise<void>;
  readonly #options: InformerOptions<T>;
  readonly #parts: InformerParts;
  readonly #cache = new ObjectCache<T>();
  readonly #handlers = new Set<InformerHandlers<T>>();
  #resolveSynced!: () => void;
  #hasSynced = false;
  #started = false;
  #resourceVersion = "";

  constructor(options: InformerOptions<T>, parts: InformerParts) {
    this.resource = options.resource;
    this.#options = options;
    this.#parts = parts;
    this.synced = new Promise((resolve) => {
      this.#resolveSynced = resolve;
    });
    for (const [name, indexer] of Object.entries(options.indexers ?? {})) this.#cache.addIndex(name, indexer);
  }

  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** The revision that the copy is at; "" before the first list. */
  get resourceVersion(): string {
    return this.#resourceVersion;
  }

  get size(): number {
    return this.#cache.size;
  }

  /** By `namespace/name`, or the name alone for cluster-wide resources. */
  get(key: string): T | undefined {
    return this.#cache.get(key);
  }

  /** All, or one namespace's. */
  list(namespace?: string): T[] {
    return this.#cache.list(namespace);
  }

  byIndex(index: string, value: string): T[] {
    return this.#cache.byIndex(index, value);
  }

  addIndex(name: string, indexer: IndexFunction<T>): void {
    this.#cache.addIndex(name, indexer);
  }

  /** Adds handlers; they are told at once of what is known already. Returns the function that removes them. */
  addHandlers(handlers: InformerHandlers<T>): () => void {
    this.#handlers.add(handlers);
    for (const object of this.#cache.list()) this.#call("add", () => handlers.add?.(object, true));
    return () => this.#handlers.delete(handlers);
  }

  /** Starts the loop, once; it ends with the group. */
  start(tasks: TaskGroup): void {
    if (this.#started) return;
    this.#started = true;
    tasks.run(`informer ${this.resource.resource}`, (signal) => this.#run(signal));
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, log, random = Math.random } = this.#parts;
    const { backoffMs = 800, maxBackoffMs = 30_000 } = this.#options;
    let failures = 0;
    let mustList = true;
    while (!signal.aborted) {
      try {
        if (mustList) {
          await this.#relist(signal);
          mustList = false;
        }
        const startedAt = clock.monotonic();
        const events = await this.#follow(signal);
        // A watch that ends at once without a word would otherwise spin.
        if (events > 0 || clock.monotonic() - startedAt > 1_000) failures = 0;
        else failures++;
      } catch (error) {
        if (signal.aborted) return;
        if (errorCode(error) === "gone") {
          mustList = true;
          if (failures === 0) {
            failures++;
            continue;
          }
        }
        failures++;
        log.debug("A list or watch failed and will be tried again.", {
          resource: this.resource.resource,
          error: errorMessage(error),
        });
      }
      if (failures > 0 && !signal.aborted) {
        const base = Math.min(backoffMs * 2 ** Math.min(failures - 1, 16), maxBackoffMs);
        await clock.sleep(base * (1 + random()), signal);
      }
    }
  }

  async #relist(signal: AbortSignal): Promise<void> {
    const { namespace, labelSelector, fieldSelector } = this.#options;
    const seen = new Set<string>();
    const query = { namespace, labelSelector, fieldSelector };
    let page = await this.#parts.source.list<T>(this.resource, query);
    const initial = !this.#hasSynced;
    for (;;) {
      if (signal.aborted) return;
      for (const item of page.items) {
        seen.add(objectKey(item));
        this.#store(item, initial);
      }
      const more = page.metadata.continue;
      if (!more) break;
      page = await this.#parts.source.list<T>(this.resource, { ...query, continue: more });
    }
    for (const key of this.#cache.keys()) if (!seen.has(key)) this.#remove(key);
    this.#resourceVersion = page.metadata.resourceVersion ?? "0";
    if (initial) {
      this.#hasSynced = true;
      this.#resolveSynced();
    }
  }

  /** Reads one watch to its end and returns how many events came. */
  async #follow(signal: AbortSignal): Promise<number> {
    const { namespace, labelSelector, fieldSelector } = this.#options;
    const watch = this.#parts.source.watch<T>(this.resource, {
      namespace,
      labelSelector,
      fieldSelector,
      resourceVersion: this.#resourceVersion,
      signal,
      bookmarks: true,
    });
    let events = 0;
    for await (const event of watch) {
      if (signal.aborted) break;
      events++;
      if (event.type === "DELETED") this.#remove(objectKey(event.object), event.object);
      else if (event.type !== "BOOKMARK") this.#store(event.object, false);
      this.#resourceVersion = event.object.metadata?.resourceVersion ?? this.#resourceVersion;
    }
    return events;
  }

  #store(received: T, isInitial: boolean): void {
    const object = deepFreeze(this.#options.transform?.(received) ?? received);
    const old = this.#cache.get(objectKey(object));
    const version = object.metadata?.resourceVersion;
    if (old !== undefined && version !== undefined && old.metadata?.resourceVersion === version) return;
    this.#cache.set(object);
    if (old !== undefined && old.metadata?.uid !== object.metadata?.uid) {
      // Deleted and made again between two lists: two different things that share a name.
      for (const handlers of this.#handlers) this.#call("delete", () => handlers.delete?.(old));
      for (const handlers of this.#handlers) this.#call("add", () => handlers.add?.(object, isInitial));
    } else if (old === undefined) {
      for (const handlers of this.#handlers) this.#call("add", () => handlers.add?.(object, isInitial));
    } else {
      for (const handlers of this.#handlers) this.#call("update", () => handlers.update?.(object, old));
    }
  }

  #remove(key: string, last?: T): void {
    const old = this.#cache.delete(key);
    if (old === undefined) return;
    const object = last === undefined ? old : deepFreeze(this.#options.transform?.(last) ?? last);
    for (const handlers of this.#handlers) this.#call("delete", () => handlers.delete?.(object));
  }

  #call(event: string, handler: () => void): void {
    try {
      handler();
    } catch (error) {
      this.#parts.log.error("An informer's handler failed.", { resource: this.resource.resource, event, error });
    }
  }
}

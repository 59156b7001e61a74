import type { ResourceRef } from "#api/kube/object.ts";
import type { Store } from "#store/store.ts";
import { pathNotFound } from "./api-error.ts";
import { builtinResourceTypes, storageName } from "./resource-table.ts";
import { type ResourceHandle, type ResourceType, type Strategy, servedVersion } from "./resource-type.ts";
import { type StoreFeed, storeRoot } from "./store-feed.ts";
import { WatchCache } from "./watch-cache.ts";

/** A resource as a request names it: the handle that keeps it, and the version that is spoken. */
export interface Served {
  handle: ResourceHandle;
  /** The face that the request sees: differs from `handle.type` for events.k8s.io. */
  type: ResourceType;
  version: string;
}

export interface RegistryOptions {
  watchWindow: number;
}

/** All resources that the server has, each with its cache and behaviour. */
export class Registry {
  readonly #byName = new Map<string, { type: ResourceType; handle: ResourceHandle }>();
  readonly #handles: ResourceHandle[] = [];
  readonly #store: Store;
  readonly #feed: StoreFeed;
  readonly #options: RegistryOptions;
  #revision = 0;

  constructor(options: RegistryOptions, store: Store, feed: StoreFeed, strategies: Record<string, Strategy>) {
    this.#options = options;
    this.#store = store;
    this.#feed = feed;
    const types = builtinResourceTypes();
    // Faces that are stored elsewhere come last, so that what they share is there.
    types.sort((a, b) => Number(storageName(a) !== nameOf(a)) - Number(storageName(b) !== nameOf(b)));
    for (const type of types) this.add(type, strategies[nameOf(type)] ?? {});
  }

  /** Grows when resources come or go: discovery is made anew. */
  get revision(): number {
    return this.#revision;
  }

  /** Every resource by face, in discovery's order of adding. */
  get types(): ResourceType[] {
    return [...this.#byName.values()].map(({ type }) => type);
  }

  get handles(): readonly ResourceHandle[] {
    return this.#handles;
  }

  add(type: ResourceType, strategy: Strategy): void {
    const shared = storageName(type) === nameOf(type) ? undefined : this.#byName.get(storageName(type))?.handle;
    const handle = shared ?? {
      type,
      strategy,
      cache: new WatchCache(this.#store, this.#feed, {
        prefix: `${storeRoot}${type.group === "" ? "core" : type.group}/${type.resource}/`,
        namespaced: type.namespaced,
        windowEvents: this.#options.watchWindow,
      }),
    };
    if (shared === undefined) this.#handles.push(handle);
    this.#byName.set(nameOf(type), { type, handle });
    this.#revision++;
  }

  /** Undefined when the resource is not served in this version. */
  find({ group, version, resource }: ResourceRef): Served | undefined {
    const found = this.#byName.get(`${group}/${resource}`);
    if (found === undefined || servedVersion(found.type, version) === undefined) return undefined;
    return { ...found, version };
  }

  /** Throws 404 when the resource is not served. */
  need(ref: ResourceRef): Served {
    const found = this.find(ref);
    if (found === undefined) throw pathNotFound();
    return found;
  }

  /** The handle of a built-in resource, by `group/resource`. */
  handle(name: string): ResourceHandle {
    const found = this.#byName.get(name);
    if (found === undefined) throw new Error(`no resource ${name}`);
    return found.handle;
  }
}

function nameOf(type: ResourceType): string {
  return `${type.group}/${type.resource}`;
}

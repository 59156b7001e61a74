import { GantryError } from "#base/errors.ts";
import type { Store, StoredValue, StoreEvent } from "#store/store.ts";
import { CacheEntry, CacheEvent } from "./cache-entry.ts";
import { CacheWatcher, type EntryMatch } from "./cache-watcher.ts";
import type { FeedListener, StoreFeed } from "./store-feed.ts";

export interface WatchCacheOptions {
  /** `/registry/<group>/<resource>/`. */
  prefix: string;
  namespaced: boolean;
  /** How many events are kept for watches that start in the past, and how many bytes of objects. */
  windowEvents: number;
  windowBytes?: number;
  /** A watcher that is so many items behind is ended. */
  maxPending?: number;
}

export interface CacheWatchOptions {
  /** Start after this revision; undefined: the present objects come first, as ADDED. */
  afterRevision: number | undefined;
  /** Send a bookmark that marks the end of the present objects. */
  markInitialEnd?: boolean;
  namespace: string;
  match: EntryMatch;
  bookmarks: boolean;
}

const encodedKept = 64;

/** The error of a watch or list at a revision that is forgotten. */
export function expired(requested: number, oldest: number): GantryError {
  return new GantryError("gone", `too old resource version: ${requested} (${oldest})`);
}

/**
 * All objects of one resource, kept in step with the store: each object once, as bytes, and an index by
 * namespace. Lists and gets are answered from here, watches are fed from here. Filled on first use.
 */
export class WatchCache implements FeedListener {
  readonly prefix: string;
  readonly #store: Store;
  readonly #feed: StoreFeed;
  readonly #options: WatchCacheOptions;
  readonly #entries = new Map<string, CacheEntry>();
  readonly #byNamespace = new Map<string, Map<string, CacheEntry>>();
  /** Sorted entries by namespace ("" for all), until a key comes or goes, or an object changes. */
  readonly #sorted = new Map<string, CacheEntry[]>();
  readonly #watchers = new Map<string, Set<CacheWatcher>>();
  #window: CacheEvent[] = [];
  #windowHead = 0;
  #windowBytes = 0;
  /** Watches can start after this revision, or later. */
  #windowStart = 0;
  /** Grows with every change: who derives something from the cache sees when to derive it again. */
  #changes = 0;
  #lastChange = 0;
  #filling: Promise<void> | undefined;
  #filled = false;
  /** Events that came while the first list was under way. */
  #early: StoreEvent[] = [];

  constructor(store: Store, feed: StoreFeed, options: WatchCacheOptions) {
    this.#store = store;
    this.#feed = feed;
    this.#options = options;
    this.prefix = options.prefix;
    feed.add(this);
  }

  /** Fills the cache when it is not. */
  ready(): Promise<void> | undefined {
    if (this.#filled) return undefined;
    return (this.#filling ??= this.#fill().catch((error: unknown) => {
      this.#filling = undefined;
      throw error;
    }));
  }

  /** Fills the cache and waits until it shows all that was written before the call. */
  async consistent(): Promise<void> {
    if (!this.#filled) await this.ready();
    const wait = this.#feed.consistent();
    if (wait !== undefined) await wait;
  }

  get revision(): number {
    return this.#feed.revision;
  }

  /** Watches that start before this revision find their events forgotten, here and in the store. */
  get oldest(): number {
    return Math.min(this.#windowStart, this.#store.compactedRevision);
  }

  /** Nothing under this resource has changed after this revision. */
  get lastChange(): number {
    return this.#lastChange;
  }

  /** Resolves when the cache shows `revision`; throws `timeout` when that does not come. */
  waitFor(revision: number): Promise<void> | undefined {
    return this.#feed.waitFor(revision);
  }

  /** A stored value as an entry of this resource. */
  entryOf(item: StoredValue): CacheEntry {
    return this.#entry(item);
  }

  /** The store's key of an object. */
  keyOf(namespace: string, name: string): string {
    return this.#options.namespaced ? `${this.prefix}${namespace}/${name}` : this.prefix + name;
  }

  get changes(): number {
    return this.#changes;
  }

  get size(): number {
    return this.#entries.size;
  }

  get watchers(): number {
    let count = 0;
    for (const set of this.#watchers.values()) count += set.size;
    return count;
  }

  get(key: string): CacheEntry | undefined {
    return this.#entries.get(key);
  }

  /** Sorted by key. "" lists all namespaces. Not to be changed by the caller. */
  list(namespace: string): readonly CacheEntry[] {
    const known = this.#sorted.get(namespace);
    if (known !== undefined) return known;
    const source = namespace === "" ? this.#entries : this.#byNamespace.get(namespace);
    if (source === undefined) return [];
    const sorted = [...source.values()].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
    this.#sorted.set(namespace, sorted);
    return sorted;
  }

  /** Throws `gone` when events after `afterRevision` are forgotten. The cache must be ready. */
  async watch(options: CacheWatchOptions): Promise<CacheWatcher> {
    const { afterRevision, namespace, match, bookmarks } = options;
    const past =
      afterRevision === undefined || afterRevision >= this.#windowStart
        ? []
        : await this.#history(afterRevision, this.#windowStart);
    const watcher = new CacheWatcher({
      namespace,
      match,
      bookmarks,
      maxPending: Math.max(this.#options.maxPending ?? 10_000, 2 * this.#entries.size),
      onEnd: (ended) => this.#watchers.get(namespace)?.delete(ended),
    });
    if (afterRevision === undefined) {
      for (const entry of this.list(namespace)) {
        if (match === undefined || match(entry))
          watcher.push({ type: "ADDED", event: new CacheEvent(entry, false, undefined) });
      }
    } else {
      for (const event of past) if (namespace === "" || event.entry.namespace === namespace) watcher.offer(event);
      for (let at = this.#windowHead; at < this.#window.length; at++) {
        const event = this.#window[at] as CacheEvent;
        if (event.revision > afterRevision && (namespace === "" || event.entry.namespace === namespace))
          watcher.offer(event);
      }
    }
    if (options.markInitialEnd === true)
      watcher.push({ type: "BOOKMARK", revision: this.revision, initialEventsEnd: true });
    let set = this.#watchers.get(namespace);
    if (set === undefined) this.#watchers.set(namespace, (set = new Set()));
    set.add(watcher);
    return watcher;
  }

  /** Tells the watchers that asked for it how far they have come. */
  bookmark(): void {
    for (const set of this.#watchers.values())
      for (const watcher of set) if (watcher.bookmarks) watcher.push({ type: "BOOKMARK", revision: this.revision });
  }

  apply(events: readonly StoreEvent[]): void {
    if (!this.#filled) {
      if (this.#filling !== undefined) this.#early.push(...events);
      return;
    }
    for (const event of events) this.#applyOne(event);
  }

  progressed(): void {}

  reset(): void {
    for (const set of this.#watchers.values()) for (const watcher of set) watcher.end();
    this.#watchers.clear();
    this.#entries.clear();
    this.#byNamespace.clear();
    this.#sorted.clear();
    this.#window = [];
    this.#windowHead = 0;
    this.#windowBytes = 0;
    this.#filled = false;
    this.#filling = undefined;
    this.#early = [];
  }

  /** Ends every watch. */
  endWatches(): void {
    for (const set of this.#watchers.values()) for (const watcher of set) watcher.end();
  }

  async #fill(): Promise<void> {
    const { items, revision } = await this.#store.list({ prefix: this.prefix });
    for (const item of items) this.#put(this.#entry(item));
    this.#windowStart = revision;
    this.#lastChange = revision;
    const early = this.#early;
    this.#early = [];
    this.#filled = true;
    for (const event of early) {
      if ((event.type === "put" ? event.item.modRevision : event.revision) > revision) this.#applyOne(event);
    }
    // What the list has seen, the feed may still be about to bring: wait, so that `revision` is no lie.
    await this.#feed.waitFor(revision, 10_000);
  }

  #applyOne(event: StoreEvent): void {
    // A list that ran ahead of the feed has this one already.
    const revision = event.type === "put" ? event.item.modRevision : event.revision;
    if (revision <= this.#windowStart && this.#window.length === 0) return;
    if (event.type === "put") {
      const entry = this.#entry(event.item);
      const previous = this.#entries.get(entry.key);
      this.#put(entry);
      this.#record(new CacheEvent(entry, false, previous));
      return;
    }
    const previous = this.#entries.get(event.key);
    if (previous === undefined) return;
    this.#remove(previous);
    this.#record(new CacheEvent(previous.at(event.revision), true, previous));
  }

  #record(event: CacheEvent): void {
    this.#lastChange = event.revision;
    this.#window.push(event);
    this.#windowBytes += event.entry.raw.length;
    const { windowEvents, windowBytes = 16 * 1024 * 1024 } = this.#options;
    while (
      this.#window.length - this.#windowHead > windowEvents ||
      (this.#windowBytes > windowBytes && this.#window.length - this.#windowHead > 100)
    ) {
      const dropped = this.#window[this.#windowHead] as CacheEvent;
      this.#windowHead++;
      this.#windowBytes -= dropped.entry.raw.length;
      this.#windowStart = dropped.revision;
    }
    if (this.#windowHead > 1024 && this.#windowHead * 2 > this.#window.length) {
      this.#window = this.#window.slice(this.#windowHead);
      this.#windowHead = 0;
    }
    this.#window[this.#window.length - 1 - encodedKept]?.cool();
    const { namespace } = event.entry;
    const all = this.#watchers.get("");
    if (all !== undefined) for (const watcher of all) watcher.offer(event);
    if (namespace === "") return;
    const own = this.#watchers.get(namespace);
    if (own !== undefined) for (const watcher of own) watcher.offer(event);
  }

  /** Events in (after, upTo] from the store's own history. */
  async #history(after: number, upTo: number): Promise<CacheEvent[]> {
    if (after < this.#store.compactedRevision) throw expired(after, this.#store.compactedRevision);
    const stop = new AbortController();
    const batches = this.#store.watch({ prefix: "/registry/", afterRevision: after, signal: stop.signal });
    const iterator = batches[Symbol.asyncIterator]();
    const events: CacheEvent[] = [];
    // The backlog is there at once; a gap in the revisions (after a crash) leaves nothing to wait for.
    const timer = setTimeout(() => stop.abort(), 200);
    try {
      const first = await iterator.next();
      if (first.done === true) return events;
      for (const event of first.value.events) {
        const key = event.type === "put" ? event.item.key : event.key;
        const revision = event.type === "put" ? event.item.modRevision : event.revision;
        if (revision > upTo || !key.startsWith(this.prefix)) continue;
        const previous = event.previous === undefined ? undefined : this.#entry(event.previous);
        if (event.type === "put") events.push(new CacheEvent(this.#entry(event.item), false, previous));
        else events.push(new CacheEvent(this.#entry(event.previous).at(revision), true, previous));
      }
      return events;
    } finally {
      clearTimeout(timer);
      stop.abort();
      await iterator.return?.();
    }
  }

  #entry(item: StoredValue): CacheEntry {
    const path = item.key.slice(this.prefix.length);
    const slash = this.#options.namespaced ? path.indexOf("/") : -1;
    return new CacheEntry(
      item.key,
      slash < 0 ? "" : path.slice(0, slash),
      path.slice(slash + 1),
      item.modRevision,
      item.value,
    );
  }

  #put(entry: CacheEntry): void {
    this.#entries.set(entry.key, entry);
    if (entry.namespace !== "") {
      let own = this.#byNamespace.get(entry.namespace);
      if (own === undefined) this.#byNamespace.set(entry.namespace, (own = new Map()));
      own.set(entry.key, entry);
    }
    this.#unsort(entry.namespace);
  }

  #remove(entry: CacheEntry): void {
    this.#entries.delete(entry.key);
    const own = this.#byNamespace.get(entry.namespace);
    own?.delete(entry.key);
    if (own?.size === 0) this.#byNamespace.delete(entry.namespace);
    this.#unsort(entry.namespace);
  }

  #unsort(namespace: string): void {
    this.#changes++;
    this.#sorted.delete("");
    if (namespace !== "") this.#sorted.delete(namespace);
  }
}

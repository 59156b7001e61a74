import type { CacheEntry, CacheEvent, ChangeType } from "./cache-entry.ts";

/** What a watcher gets. A bookmark has no event: everything up to `revision` has been delivered. */
export type WatchItem =
  | { type: ChangeType; event: CacheEvent }
  | { type: "BOOKMARK"; revision: number; initialEventsEnd?: boolean };

/** Decides whether an object is in a watcher's or list's selection; undefined means all. */
export type EntryMatch = ((entry: CacheEntry) => boolean) | undefined;

export interface WatcherOptions {
  /** "" for all namespaces. */
  namespace: string;
  match: EntryMatch;
  bookmarks: boolean;
  /** Ends the watcher when it is so many items behind. */
  maxPending: number;
  onEnd: (watcher: CacheWatcher) => void;
}

/** One watch on one resource: a bounded queue of items, read in batches. */
export class CacheWatcher {
  readonly namespace: string;
  readonly bookmarks: boolean;
  readonly #match: EntryMatch;
  readonly #maxPending: number;
  readonly #onEnd: (watcher: CacheWatcher) => void;
  #pending: WatchItem[] = [];
  #wake: (() => void) | undefined;
  #ended = false;

  constructor(options: WatcherOptions) {
    this.namespace = options.namespace;
    this.bookmarks = options.bookmarks;
    this.#match = options.match;
    this.#maxPending = options.maxPending;
    this.#onEnd = options.onEnd;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Takes the event when it concerns this watcher's selection. */
  offer(event: CacheEvent): void {
    if (this.#ended) return;
    const match = this.#match;
    const now = !event.deleted && (match === undefined || match(event.entry));
    const before = event.previous !== undefined && (match === undefined || match(event.previous));
    if (!now && !before) return;
    this.push({ type: now ? (before ? "MODIFIED" : "ADDED") : "DELETED", event });
  }

  push(item: WatchItem): void {
    if (this.#ended) return;
    if (this.#pending.length >= this.#maxPending) return this.end();
    this.#pending.push(item);
    this.#wake?.();
  }

  /** No more items: the reader gets what is here, then the end. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd(this);
    this.#wake?.();
  }

  /** All items that have come since the last batch. Ends after `end`; leaving the loop ends the watcher. */
  async *batches(): AsyncGenerator<WatchItem[], void, undefined> {
    try {
      for (;;) {
        if (this.#pending.length > 0) {
          const batch = this.#pending;
          this.#pending = [];
          yield batch;
          continue;
        }
        if (this.#ended) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    } finally {
      this.end();
    }
  }
}

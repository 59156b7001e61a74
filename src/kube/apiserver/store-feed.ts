import { GantryError, errorMessage } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { TaskGroup } from "#base/task-group.ts";
import type { Store, StoreEvent } from "#store/store.ts";

export const storeRoot = "/registry/";

interface Waiter {
  revision: number;
  wake: (error?: GantryError) => void;
}

export interface FeedListener {
  readonly prefix: string;
  /** Events under `prefix`, in order. */
  apply(events: readonly StoreEvent[]): void;
  /** After each batch: everything up to the feed's revision has been applied. */
  progressed(revision: number): void;
  /** Events were lost: forget everything. */
  reset(): void;
}

/**
 * The one watch that the API server holds on its store. It hands each event to the cache of its resource and
 * knows the revision up to which all caches are true.
 */
export class StoreFeed {
  readonly #store: Store;
  readonly #log: Logger;
  readonly #listeners = new Map<string, FeedListener>();
  #waiters: Waiter[] = [];
  #revision = 0;
  #failure: string | undefined = "not started";

  constructor(store: Store, log: Logger) {
    this.#store = store;
    this.#log = log;
  }

  /** All caches show the store as it was here, or later. */
  get revision(): number {
    return this.#revision;
  }

  /** Why the caches do not follow the store, or undefined when they do. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Subscribes, then follows the store until the group stops. */
  async start(tasks: TaskGroup): Promise<void> {
    // A read waits for the commit under way, so that the revision taken is a published one.
    await this.#store.get(storeRoot);
    this.#revision = this.#store.revision;
    let batches = this.#store.watch({ prefix: storeRoot, afterRevision: this.#revision, signal: tasks.signal });
    this.#failure = undefined;
    tasks.run("store feed", async (signal) => {
      while (!signal.aborted) {
        try {
          for await (const batch of batches) {
            this.#dispatch(batch.events);
            this.#advance(batch.revision);
          }
          if (signal.aborted) return;
          throw new GantryError("unavailable", "The store ended its watch.");
        } catch (error) {
          if (signal.aborted) return;
          this.#failure = errorMessage(error);
          this.#log.error("The watch on the store failed; the caches start anew.", { error });
          for (const listener of this.#listeners.values()) listener.reset();
          await new Promise((resolve) => setTimeout(resolve, 100));
          try {
            await this.#store.get(storeRoot);
            batches = this.#store.watch({ prefix: storeRoot, afterRevision: this.#store.revision, signal });
            this.#advance(this.#store.revision);
            this.#failure = undefined;
          } catch {
            // Still failing: the next round tries again, and readyz says why.
          }
        }
      }
    });
    tasks.signal.addEventListener("abort", () => {
      const waiters = this.#waiters;
      this.#waiters = [];
      for (const { wake } of waiters) wake(new GantryError("unavailable", "The API server is stopping."));
    });
  }

  /** Starts handing events under `listener.prefix` to it. */
  add(listener: FeedListener): void {
    this.#listeners.set(listener.prefix, listener);
  }

  /** Resolves when every cache shows `revision`. Throws `timeout` after `timeoutMs`. */
  waitFor(revision: number, timeoutMs = 3_000): Promise<void> | undefined {
    if (this.#revision >= revision) return undefined;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(
          new GantryError("timeout", `Too large resource version: ${revision}, current: ${this.#revision}`, {
            data: { cause: "ResourceVersionTooLarge", retryAfterSeconds: 1 },
          }),
        );
      }, timeoutMs);
      const waiter: Waiter = {
        revision,
        wake: (error) => {
          clearTimeout(timer);
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      this.#waiters.push(waiter);
    });
  }

  /** Resolves when every cache shows all that was written before the call. */
  consistent(): Promise<void> | undefined {
    return this.waitFor(this.#store.revision, 10_000);
  }

  #dispatch(events: readonly StoreEvent[]): void {
    let start = 0;
    while (start < events.length) {
      const prefix = prefixOf(events[start] as StoreEvent);
      let end = start + 1;
      while (end < events.length && prefixOf(events[end] as StoreEvent) === prefix) end++;
      this.#listeners.get(prefix)?.apply(start === 0 && end === events.length ? events : events.slice(start, end));
      start = end;
    }
  }

  #advance(revision: number): void {
    if (revision <= this.#revision) return;
    this.#revision = revision;
    for (const listener of this.#listeners.values()) listener.progressed(revision);
    if (this.#waiters.length === 0) return;
    const still: Waiter[] = [];
    for (const waiter of this.#waiters) {
      if (waiter.revision <= revision) waiter.wake();
      else still.push(waiter);
    }
    this.#waiters = still;
  }
}

/** `/registry/<group>/<resource>/` of an event's key. */
function prefixOf(event: StoreEvent): string {
  const key = event.type === "put" ? event.item.key : event.key;
  const group = key.indexOf("/", storeRoot.length);
  return key.slice(0, key.indexOf("/", group + 1) + 1);
}

import { GantryError } from "#base/errors.ts";
import { type RevisionedState, compactedError } from "./revisioned-state.ts";
import type {
  ListOptions,
  ListResult,
  Store,
  StoredValue,
  StoreEvent,
  WatchBatch,
  WatchOptions,
  WriteOptions,
} from "./store.ts";
import { WatchHub } from "./watch-hub.ts";

/** Where events become durable. Called with whole batches, in order of revision. */
export interface CommitLog {
  /** Makes the events durable before it returns. */
  commit(events: readonly StoreEvent[]): void;
  /** Called before a revision is given out that is not durable yet: revisions must never be used twice. */
  reserve(revision: number): void;
  /** Drops what only history before `revision` needs. */
  compact(revision: number): void;
  close(revision: number): void;
}

export interface GroupCommitOptions {
  state: RevisionedState;
  log: CommitLog;
  /** How long a lazy write may wait for the disk, in milliseconds. */
  lazyMs?: number;
  /** Called once when a commit has failed: the store answers nothing any more and is to be opened anew. */
  onFailure?: (error: GantryError) => void;
}

interface Waiter {
  resolve: () => void;
  reject: (error: unknown) => void;
}

/**
 * A store whose live set is in memory. The writes of one turn of the event loop become durable in one commit;
 * nobody sees or is told of a write before that, except of lazy ones, which are seen at once and become
 * durable with the next commit or after `lazyMs`.
 */
export class GroupCommitStore implements Store {
  readonly #state: RevisionedState;
  readonly #log: CommitLog;
  readonly #lazyMs: number;
  readonly #onFailure: (error: GantryError) => void;
  readonly #hub = new WatchHub({ onSlow: () => compactedError(this.#state.revision, this.#state.revision) });
  /** Applied, not yet durable. */
  #batch: StoreEvent[] = [];
  /** Of `batch`, how many have been told to watchers already (lazy ones, when no sync write came before). */
  #published = 0;
  #waiters: Waiter[] = [];
  #scheduled = false;
  #lazyTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: GroupCommitOptions) {
    this.#state = options.state;
    this.#log = options.log;
    this.#lazyMs = options.lazyMs ?? 2_000;
    this.#onFailure = options.onFailure ?? (() => {});
  }

  get revision(): number {
    return this.#state.revision;
  }

  get compactedRevision(): number {
    return this.#state.compactedRevision;
  }

  async get(key: string): Promise<StoredValue | undefined> {
    await this.#settled();
    return this.#state.get(key);
  }

  async list(options: ListOptions): Promise<ListResult> {
    await this.#settled();
    return this.#state.list(options);
  }

  async count(prefix: string): Promise<number> {
    await this.#settled();
    return this.#state.count(prefix);
  }

  async create(key: string, value: Uint8Array, options?: WriteOptions): Promise<StoredValue> {
    this.#open();
    const current = this.#state.get(key);
    if (current !== undefined) throw new GantryError("already-exists", `The key ${key} exists.`, { data: { current } });
    return this.#put(key, value, options);
  }

  async update(key: string, value: Uint8Array, expectedRevision: number, options?: WriteOptions): Promise<StoredValue> {
    this.#open();
    this.#expect(key, expectedRevision);
    return this.#put(key, value, options);
  }

  async delete(
    key: string,
    expectedRevision: number,
    options?: WriteOptions,
  ): Promise<{ deleted: StoredValue; revision: number }> {
    this.#open();
    const deleted = this.#expect(key, expectedRevision);
    this.#log.reserve(this.#state.revision + 1);
    const event = this.#state.remove(key);
    await this.#accepted(event, options);
    return { deleted, revision: event.revision };
  }

  async #put(key: string, value: Uint8Array, options: WriteOptions | undefined): Promise<StoredValue> {
    this.#log.reserve(this.#state.revision + 1);
    const event = this.#state.put(key, value);
    await this.#accepted(event, options);
    return event.item;
  }

  #expect(key: string, expectedRevision: number): StoredValue {
    const current = this.#state.get(key);
    if (current === undefined || current.modRevision !== expectedRevision) {
      throw new GantryError("conflict", `The key ${key} is not at revision ${expectedRevision}.`, {
        data: { current },
      });
    }
    return current;
  }

  #open(): void {
    if (this.#closed) throw new GantryError("unavailable", "The store is closed.");
  }

  #accepted(event: StoreEvent, options: WriteOptions | undefined): Promise<void> | void {
    this.#batch.push(event);
    if (options?.durability === "lazy") {
      // Behind a sync write that waits, it must wait too: revisions are told in order.
      if (this.#waiters.length === 0) {
        this.#publish();
        this.#lazyTimer ??= setTimeout(() => this.#flush(), this.#lazyMs);
        return;
      }
    }
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      setImmediate(() => this.#flush());
    });
  }

  #publish(): void {
    if (this.#published === this.#batch.length) return;
    const events = this.#batch.slice(this.#published);
    this.#published = this.#batch.length;
    this.#hub.publish(events, this.#state.revision);
  }

  #flush(): void {
    this.#scheduled = false;
    clearTimeout(this.#lazyTimer);
    this.#lazyTimer = undefined;
    if (this.#batch.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    try {
      this.#log.commit(this.#batch);
    } catch (cause) {
      // Memory is now ahead of the disk: nothing may be answered from it any more.
      this.#closed = true;
      const error = new GantryError("unavailable", "The store could not write to its disk and has stopped.", { cause });
      this.#hub.close(error);
      this.#batch = [];
      for (const waiter of waiters) waiter.reject(error);
      this.#onFailure(error);
      return;
    }
    this.#publish();
    this.#batch = [];
    this.#published = 0;
    for (const waiter of waiters) waiter.resolve();
  }

  /** Reads wait for the commit that is under way, so that nothing is answered that a crash could take back. */
  async #settled(): Promise<void> {
    this.#open();
    if (this.#waiters.length === 0) return;
    await new Promise<void>((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  watch({ prefix, afterRevision, signal }: WatchOptions): AsyncIterable<WatchBatch> {
    this.#open();
    // Only what has been published counts as the backlog; the rest comes with its commit.
    const unpublished = this.#batch.length - this.#published;
    const publishedRevision =
      unpublished === 0 ? this.#state.revision : revisionOf(this.#batch[this.#published] as StoreEvent) - 1;
    const backlog = this.#state
      .eventsAfter(afterRevision, prefix)
      .filter((event) => revisionOf(event) <= publishedRevision);
    return this.#hub.subscribe(prefix, backlog, Math.max(afterRevision, publishedRevision), signal);
  }

  async compact(revision: number): Promise<void> {
    await this.#settled();
    this.#state.compact(revision);
    if (this.#batch.length > 0) this.#flush();
    this.#log.compact(revision);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    clearTimeout(this.#lazyTimer);
    this.#hub.close();
    this.#log.close(this.#state.revision);
  }
}

function revisionOf(event: StoreEvent): number {
  return event.type === "put" ? event.item.modRevision : event.revision;
}

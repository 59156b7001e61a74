/**
 * The revisioned key-value store that the API server stands on: the seam between it and memory, SQLite or
 * etcd. Its meaning is etcd v3's: one counter of revisions for the whole store, every change gets the next
 * one, reads can name a revision that is not yet compacted, watches start at a revision and miss nothing.
 */

export interface StoredValue {
  readonly key: string;
  /** The bytes as written; never changed in place by anybody. */
  readonly value: Uint8Array;
  readonly createRevision: number;
  readonly modRevision: number;
}

export interface ListOptions {
  /** Only keys that start with this. */
  prefix: string;
  /** Start strictly after this key (a continue token's). */
  after?: string;
  /** At most so many. */
  limit?: number;
  /** As the store was at this revision; `gone` when compacted, `invalid` when in the future. */
  revision?: number;
}

export interface ListResult {
  items: StoredValue[];
  /** The revision that the answer is true for. */
  revision: number;
  /** How many more follow beyond the limit. */
  remaining: number;
}

export type StoreEvent =
  | { type: "put"; item: StoredValue; previous: StoredValue | undefined }
  | { type: "delete"; key: string; revision: number; previous: StoredValue };

export interface WatchBatch {
  /** Events of one or more revisions, in order, never splitting a revision. May be empty: progress only. */
  events: StoreEvent[];
  /** All events up to here have been delivered. */
  revision: number;
}

export interface WatchOptions {
  prefix: string;
  /** Deliver changes with a revision greater than this; `gone` when that is compacted. */
  afterRevision: number;
  signal: AbortSignal;
}

/** How soon a write must be on disk: before the answer, or some seconds later (leases, events). */
export type Durability = "sync" | "lazy";

export interface WriteOptions {
  durability?: Durability;
}

export interface Store {
  /** The newest revision; 0 for an empty store. */
  readonly revision: number;
  readonly compactedRevision: number;

  get(key: string): Promise<StoredValue | undefined>;
  list(options: ListOptions): Promise<ListResult>;
  count(prefix: string): Promise<number>;

  /** Throws `already-exists` when the key is there. Resolves once the write is as durable as asked. */
  create(key: string, value: Uint8Array, options?: WriteOptions): Promise<StoredValue>;
  /** Compare-and-swap on modRevision. Throws `conflict` with `data.current` (StoredValue or undefined). */
  update(key: string, value: Uint8Array, expectedRevision: number, options?: WriteOptions): Promise<StoredValue>;
  /** Compare-and-delete; same errors. The result is the deleted value and the deletion's revision. */
  delete(
    key: string,
    expectedRevision: number,
    options?: WriteOptions,
  ): Promise<{ deleted: StoredValue; revision: number }>;

  /** Ends when the signal aborts; throws `gone` at the start when `afterRevision` is compacted. */
  watch(options: WatchOptions): AsyncIterable<WatchBatch>;
  /** Forgets history before `revision`; the live values stay. */
  compact(revision: number): Promise<void>;
  /** Flushes and releases everything; later calls throw `unavailable`. */
  close(): Promise<void>;
}

import { GantryError } from "#base/errors.ts";
import type { ListOptions, ListResult, StoredValue, StoreEvent } from "./store.ts";

/** Where `key` stands, or would stand, in sorted `keys`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

function eventRevision(event: StoreEvent): number {
  return event.type === "put" ? event.item.modRevision : event.revision;
}

function eventKey(event: StoreEvent): string {
  return event.type === "put" ? event.item.key : event.key;
}

/**
 * The live set, its sorted keys, and the history since the last compaction: all in memory, no I/O. Every
 * implementation of the store that keeps the live set in memory stands on it.
 */
export class RevisionedState {
  #revision: number;
  #compacted: number;
  readonly #live = new Map<string, StoredValue>();
  #keys: string[] = [];
  /** Oldest first; every revision in (compacted, revision] that changed something. */
  #history: StoreEvent[] = [];
  readonly #historyLimit: number;

  /** `historyLimit`: after so many events the oldest half is forgotten, as if compacted. */
  constructor(options: { revision?: number; live?: Iterable<StoredValue>; historyLimit?: number } = {}) {
    this.#revision = options.revision ?? 0;
    this.#compacted = this.#revision;
    this.#historyLimit = options.historyLimit ?? 20_000;
    for (const item of options.live ?? []) this.#live.set(item.key, item);
    this.#keys = [...this.#live.keys()].sort();
  }

  get revision(): number {
    return this.#revision;
  }

  get compactedRevision(): number {
    return this.#compacted;
  }

  get(key: string): StoredValue | undefined {
    return this.#live.get(key);
  }

  /** Writes without any check, at the next revision. */
  put(key: string, value: Uint8Array): StoreEvent & { type: "put" } {
    const previous = this.#live.get(key);
    const modRevision = ++this.#revision;
    const item: StoredValue = { key, value, createRevision: previous?.createRevision ?? modRevision, modRevision };
    if (previous === undefined) this.#insertKey(key);
    this.#live.set(key, item);
    const event = { type: "put", item, previous } as const;
    this.#remember(event);
    return event;
  }

  /** Deletes a key that is there, at the next revision. */
  remove(key: string): StoreEvent & { type: "delete" } {
    const previous = this.#live.get(key) as StoredValue;
    const revision = ++this.#revision;
    this.#live.delete(key);
    this.#keys.splice(lowerBound(this.#keys, key), 1);
    const event = { type: "delete", key, revision, previous } as const;
    this.#remember(event);
    return event;
  }

  #insertKey(key: string): void {
    const last = this.#keys[this.#keys.length - 1];
    if (last === undefined || last < key) this.#keys.push(key);
    else this.#keys.splice(lowerBound(this.#keys, key), 0, key);
  }

  #remember(event: StoreEvent): void {
    this.#history.push(event);
    if (this.#history.length > this.#historyLimit) {
      const oldest = this.#history[this.#history.length >>> 1] as StoreEvent;
      this.compact(eventRevision(oldest));
    }
  }

  #historyIndexAfter(revision: number): number {
    let low = 0;
    let high = this.#history.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (eventRevision(this.#history[middle] as StoreEvent) <= revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Events after `revision`, oldest first, whose key starts with `prefix`. Throws `gone` when compacted. */
  eventsAfter(revision: number, prefix: string): StoreEvent[] {
    if (revision < this.#compacted) throw compactedError(revision, this.#compacted);
    const events = this.#history.slice(this.#historyIndexAfter(revision));
    return prefix === "" ? events : events.filter((event) => eventKey(event).startsWith(prefix));
  }

  count(prefix: string): number {
    return lowerBound(this.#keys, `${prefix}\u{10ffff}`) - lowerBound(this.#keys, prefix);
  }

  list({ prefix, after, limit, revision }: ListOptions): ListResult {
    const at = revision ?? this.#revision;
    if (at > this.#revision) {
      throw new GantryError("invalid", `Revision ${at} is in the future; the newest is ${this.#revision}.`, {
        data: { revision: at, current: this.#revision },
      });
    }
    if (at < this.#compacted) throw compactedError(at, this.#compacted);
    const source =
      at === this.#revision ? this.#liveRange(prefix, after, limit) : this.#pastRange(prefix, after, limit, at);
    return { ...source, revision: at };
  }

  #liveRange(prefix: string, after: string | undefined, limit: number | undefined): Omit<ListResult, "revision"> {
    let from = lowerBound(this.#keys, prefix);
    if (after !== undefined && after >= prefix) {
      const at = lowerBound(this.#keys, after);
      from = this.#keys[at] === after ? at + 1 : at;
    }
    const to = lowerBound(this.#keys, `${prefix}\u{10ffff}`);
    const end = limit === undefined ? to : Math.min(to, from + limit);
    const items: StoredValue[] = [];
    for (let at = from; at < end; at++) items.push(this.#live.get(this.#keys[at] as string) as StoredValue);
    return { items, remaining: Math.max(0, to - end) };
  }

  /** The range as it was: the live one with the newer events undone. */
  #pastRange(
    prefix: string,
    after: string | undefined,
    limit: number | undefined,
    revision: number,
  ): Omit<ListResult, "revision"> {
    const values = new Map<string, StoredValue>();
    for (const item of this.#liveRange(prefix, undefined, undefined).items) values.set(item.key, item);
    for (const event of this.eventsAfter(revision, prefix).reverse()) {
      const key = eventKey(event);
      if (event.previous === undefined) values.delete(key);
      else values.set(key, event.previous);
    }
    const keys = [...values.keys()].filter((key) => after === undefined || key > after).sort();
    const taken = limit === undefined ? keys : keys.slice(0, limit);
    return { items: taken.map((key) => values.get(key) as StoredValue), remaining: keys.length - taken.length };
  }

  /** Forgets history up to and including `revision`. */
  compact(revision: number): void {
    if (revision > this.#revision)
      throw new GantryError("invalid", `Revision ${revision} is in the future; the newest is ${this.#revision}.`);
    if (revision <= this.#compacted) return;
    this.#history = this.#history.slice(this.#historyIndexAfter(revision));
    this.#compacted = revision;
  }
}

export function compactedError(revision: number, compacted: number): GantryError {
  return new GantryError("gone", `Revision ${revision} has been compacted; the oldest is ${compacted}.`, {
    data: { revision, compacted },
  });
}

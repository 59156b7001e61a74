import type { KubeObject } from "#api/kube/object.ts";

const metadataMark = Buffer.from('"metadata":{');

/**
 * What a writer has parsed already, by the very bytes it stored: the cache then shares that object instead of
 * parsing the bytes again. Keyed weakly, so that nothing is kept alive by it.
 */
const parsedByBytes = new WeakMap<Uint8Array, KubeObject>();

/** Freezes an object and everything in it. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  if (Array.isArray(value)) for (const item of value) deepFreeze(item);
  else for (const key in value) deepFreeze(value[key]);
  return value;
}

/**
 * The stored form: JSON with kind, apiVersion and metadata first and without resourceVersion, which is the
 * store's own revision and is put in when the bytes are answered. Freezes `object`.
 */
export function encodeStored(object: KubeObject): Uint8Array {
  const { kind, apiVersion, metadata = {}, ...rest } = object;
  const { resourceVersion: _revision, selfLink: _link, ...meta } = metadata;
  const kept = deepFreeze({ kind, apiVersion, metadata: meta, ...rest }) as KubeObject;
  const bytes = Buffer.from(JSON.stringify(kept));
  parsedByBytes.set(bytes, kept);
  return bytes;
}

/** One stored object at one revision: its bytes once, and its frozen parsed form once somebody asks for it. */
export class CacheEntry {
  readonly key: string;
  /** "" for what is in no namespace. */
  readonly namespace: string;
  readonly name: string;
  /** 0 for what was never stored: the answer to a create with dryRun. */
  readonly revision: number;
  /** As stored, without resourceVersion. */
  readonly raw: Uint8Array;
  #object: KubeObject | undefined;

  constructor(key: string, namespace: string, name: string, revision: number, raw: Uint8Array) {
    this.key = key;
    this.namespace = namespace;
    this.name = name;
    this.revision = revision;
    this.raw = raw;
  }

  /** The same object under another revision: what a DELETED event shows. */
  at(revision: number): CacheEntry {
    const copy = new CacheEntry(this.key, this.namespace, this.name, revision, this.raw);
    if (this.#object !== undefined) copy.#object = withRevision(this.#object, revision);
    return copy;
  }

  /** Frozen, with resourceVersion. */
  get object(): KubeObject {
    if (this.#object === undefined) {
      const known = parsedByBytes.get(this.raw);
      const parsed = known ?? (deepFreeze(JSON.parse(Buffer.from(this.raw).toString("utf8"))) as KubeObject);
      this.#object = withRevision(parsed, this.revision);
    }
    return this.#object;
  }

  /** Upper bound of `copyInto`. */
  get maxLength(): number {
    return this.raw.length + 40;
  }

  /** Writes the JSON with resourceVersion into `target` at `at`; returns the end. */
  copyInto(target: Buffer, at: number): number {
    const { raw } = this;
    if (this.revision === 0) {
      target.set(raw, at);
      return at + raw.length;
    }
    const mark = Buffer.prototype.indexOf.call(raw, metadataMark) + metadataMark.length;
    target.set(raw.subarray(0, mark), at);
    let end = at + mark;
    end += target.write(`"resourceVersion":"${this.revision}",`, end, "latin1");
    target.set(raw.subarray(mark), end);
    return end + raw.length - mark;
  }

  /** The JSON with resourceVersion; made anew each time. */
  bytes(): Buffer {
    const target = Buffer.allocUnsafe(this.maxLength);
    return target.subarray(0, this.copyInto(target, 0));
  }
}

function withRevision(object: KubeObject, revision: number): KubeObject {
  if (revision === 0) return object;
  return Object.freeze({
    ...object,
    metadata: Object.freeze({ ...object.metadata, resourceVersion: String(revision) }),
  });
}

/**
 * Joins entries into one JSON list. `head` is everything before the items, up to and including `"items":[`.
 */
export function joinEntries(head: string, entries: readonly CacheEntry[], tail = "]}"): Buffer {
  let size = Buffer.byteLength(head) + tail.length + entries.length;
  for (const entry of entries) size += entry.maxLength;
  const target = Buffer.allocUnsafe(size);
  let at = target.write(head, 0);
  for (let index = 0; index < entries.length; index++) {
    if (index > 0) target[at++] = 0x2c;
    at = (entries[index] as CacheEntry).copyInto(target, at);
  }
  at += target.write(tail, at);
  return target.subarray(0, at);
}

export type ChangeType = "ADDED" | "MODIFIED" | "DELETED";

/** One change of one object. Its encoding as a watch event is made once for all watchers. */
export class CacheEvent {
  readonly revision: number;
  /** After the change; for a deletion the last state, under the deletion's revision. */
  readonly entry: CacheEntry;
  readonly deleted: boolean;
  readonly previous: CacheEntry | undefined;
  #encoded: Partial<Record<ChangeType, Buffer>> | undefined;
  #leaving: CacheEntry | undefined;

  constructor(entry: CacheEntry, deleted: boolean, previous: CacheEntry | undefined) {
    this.revision = entry.revision;
    this.entry = entry;
    this.deleted = deleted;
    this.previous = previous;
  }

  /** What a watcher sees: for an object that left its selection, the state that was still in it. */
  shown(type: ChangeType): CacheEntry {
    if (type !== "DELETED" || this.deleted || this.previous === undefined) return this.entry;
    return (this.#leaving ??= this.previous.at(this.revision));
  }

  /** `{"type":…,"object":…}` and a newline. */
  encoded(type: ChangeType): Buffer {
    const slots = (this.#encoded ??= {});
    return (slots[type] ??= encodeEvent(type, this.shown(type)));
  }

  /** Drops the kept encoding; it can be made again. */
  cool(): void {
    this.#encoded = undefined;
  }
}

/** One line of a watch stream. */
export function encodeEvent(type: string, entry: CacheEntry): Buffer {
  const head = `{"type":"${type}","object":`;
  const target = Buffer.allocUnsafe(head.length + entry.maxLength + 2);
  let at = target.write(head, 0, "latin1");
  at = entry.copyInto(target, at);
  target[at++] = 0x7d;
  target[at++] = 0x0a;
  return target.subarray(0, at);
}

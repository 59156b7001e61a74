import { type KubeObject, objectKey } from "#api/kube/object.ts";

/** Gives the values that an object is found under, e.g. its node name; an empty list for none. */
export type IndexFunction<T> = (object: T) => readonly string[];

/** Objects by key (`namespace/name`), by namespace, and by any number of indexes. */
export class ObjectCache<T extends KubeObject> {
  readonly #objects = new Map<string, T>();
  readonly #indexers = new Map<string, IndexFunction<T>>();
  /** index name → value → keys */
  readonly #indexes = new Map<string, Map<string, Set<string>>>();
  readonly #namespaces = new Map<string, Set<string>>();

  get size(): number {
    return this.#objects.size;
  }

  keys(): IterableIterator<string> {
    return this.#objects.keys();
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  /** All objects, or those of one namespace. */
  list(namespace?: string): T[] {
    if (namespace === undefined) return [...this.#objects.values()];
    return this.#pick(this.#namespaces.get(namespace));
  }

  /** The objects that the index `name` puts under `value`. Throws when there is no such index. */
  byIndex(name: string, value: string): T[] {
    const index = this.#indexes.get(name);
    if (index === undefined) throw new Error(`no index named ${name}`);
    return this.#pick(index.get(value));
  }

  /** Adds an index; objects that are here already are put into it. Adding the same name twice is harmless. */
  addIndex(name: string, indexer: IndexFunction<T>): void {
    if (this.#indexers.has(name)) return;
    this.#indexers.set(name, indexer);
    const index = new Map<string, Set<string>>();
    this.#indexes.set(name, index);
    for (const [key, object] of this.#objects) for (const value of indexer(object)) put(index, value, key);
  }

  /** Stores an object and returns the one that was there before. */
  set(object: T): T | undefined {
    const key = objectKey(object);
    const before = this.#objects.get(key);
    this.#objects.set(key, object);
    if (before === undefined) put(this.#namespaces, object.metadata?.namespace ?? "", key);
    for (const [name, indexer] of this.#indexers) {
      const index = this.#indexes.get(name) as Map<string, Set<string>>;
      if (before !== undefined) for (const value of indexer(before)) drop(index, value, key);
      for (const value of indexer(object)) put(index, value, key);
    }
    return before;
  }

  delete(key: string): T | undefined {
    const before = this.#objects.get(key);
    if (before === undefined) return undefined;
    this.#objects.delete(key);
    drop(this.#namespaces, before.metadata?.namespace ?? "", key);
    for (const [name, indexer] of this.#indexers) {
      for (const value of indexer(before)) drop(this.#indexes.get(name) as Map<string, Set<string>>, value, key);
    }
    return before;
  }

  #pick(keys: Set<string> | undefined): T[] {
    return keys === undefined ? [] : [...keys].map((key) => this.#objects.get(key) as T);
  }
}

function put(index: Map<string, Set<string>>, value: string, key: string): void {
  const keys = index.get(value);
  if (keys === undefined) index.set(value, new Set([key]));
  else keys.add(key);
}

function drop(index: Map<string, Set<string>>, value: string, key: string): void {
  const keys = index.get(value);
  if (keys?.delete(key) && keys.size === 0) index.delete(value);
}

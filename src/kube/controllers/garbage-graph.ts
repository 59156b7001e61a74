import type { KubeObject, OwnerReference, ResourceRef } from "#api/kube/object.ts";

/** What garbage collection knows of an object. */
export interface GraphNode {
  uid: string;
  resource: ResourceRef;
  namespace: string | undefined;
  name: string;
  owners: readonly OwnerReference[];
  finalizers: readonly string[];
  deleting: boolean;
  /** Uids of objects that name this one as an owner. */
  dependents: Set<string>;
}

/** Who owns whom, by uid: kept up to date from the informers, read by the collector. No I/O. */
export class GarbageGraph {
  readonly #nodes = new Map<string, GraphNode>();
  /** Dependents of owners that are not (yet) known. */
  readonly #waiting = new Map<string, Set<string>>();

  get(uid: string): GraphNode | undefined {
    return this.#nodes.get(uid);
  }

  get size(): number {
    return this.#nodes.size;
  }

  *nodes(): IterableIterator<GraphNode> {
    yield* this.#nodes.values();
  }

  /** Adds or renews an object; returns its node. */
  put(resource: ResourceRef, object: KubeObject): GraphNode {
    const { uid, namespace, name, ownerReferences = [], finalizers = [], deletionTimestamp } = object.metadata ?? {};
    const before = this.#nodes.get(uid as string);
    const node: GraphNode = {
      uid: uid as string,
      resource,
      namespace,
      name: name as string,
      owners: ownerReferences,
      finalizers,
      deleting: deletionTimestamp !== undefined,
      dependents: before?.dependents ?? this.#waiting.get(uid as string) ?? new Set(),
    };
    this.#waiting.delete(node.uid);
    this.#nodes.set(node.uid, node);
    for (const owner of before?.owners ?? []) {
      if (!ownerReferences.some((reference) => reference.uid === owner.uid))
        this.#dependentsOf(owner.uid)?.delete(node.uid);
    }
    for (const owner of ownerReferences) {
      const dependents = this.#dependentsOf(owner.uid);
      if (dependents !== undefined) dependents.add(node.uid);
      else this.#waiting.set(owner.uid, new Set([node.uid]));
    }
    return node;
  }

  #dependentsOf(owner: string): Set<string> | undefined {
    return this.#nodes.get(owner)?.dependents ?? this.#waiting.get(owner);
  }

  /** Takes an object out; its dependents are what may have become garbage. */
  remove(uid: string): GraphNode | undefined {
    const node = this.#nodes.get(uid);
    if (node === undefined) return undefined;
    this.#nodes.delete(uid);
    for (const owner of node.owners) {
      const dependents = this.#dependentsOf(owner.uid);
      dependents?.delete(uid);
      if (dependents?.size === 0) this.#waiting.delete(owner.uid);
    }
    if (node.dependents.size > 0) this.#waiting.set(uid, node.dependents);
    return node;
  }

  /** The objects that name `uid` as an owner. */
  dependents(uid: string): GraphNode[] {
    return [...(this.#dependentsOf(uid) ?? [])]
      .map((dependent) => this.#nodes.get(dependent))
      .filter((node) => node !== undefined);
  }
}

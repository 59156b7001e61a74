import { type KubeObject, type OwnerReference, type ResourceRef } from "#api/kube/object.ts";
import { hasCode } from "#base/errors.ts";
import { Controller } from "#control/controller.ts";
import type { ServedResource } from "#kube/client/client.ts";
import type { ControllerParts } from "./controller-parts.ts";
import { GarbageGraph, type GraphNode } from "./garbage-graph.ts";

const foregroundFinalizer = "foregroundDeletion";
const orphanFinalizer = "orphan";
/** How often new resource types (CRDs) are looked for. */
const discoveryMs = 30_000;
/** Never owners or owned in a way that matters, and they come by the thousand. */
const ignored = new Set(["events", "events.events.k8s.io"]);

const resourceKey = ({ group, resource }: ResourceRef): string => (group === "" ? resource : `${resource}.${group}`);

/**
 * Deletes what has lost all its owners, and carries out foreground and orphan deletion
 * (kubernetes, pkg/controller/garbagecollector).
 */
export class GarbageCollector {
  readonly #parts: ControllerParts;
  readonly #graph = new GarbageGraph();
  readonly #watched = new Map<string, ServedResource>();
  readonly #byKind = new Map<string, ServedResource>();
  readonly #controller: Controller;
  #resolveReady!: () => void;
  #isReady = false;

  constructor(parts: ControllerParts) {
    this.#parts = parts;
    const ready = new Promise<void>((resolve) => {
      this.#resolveReady = resolve;
    });
    this.#controller = new Controller(
      { name: "garbage-collector", workers: 10, waitFor: [ready], reconcile: (uid) => this.#reconcile(uid) },
      parts,
    );
  }

  start(): void {
    this.#controller.start(this.#parts.tasks);
    this.#parts.tasks.run("garbage collector discovery", async (signal) => {
      while (!signal.aborted) {
        try {
          await this.#discover();
        } catch (error) {
          this.#parts.log.warn("Garbage collection could not list resource types.", { error });
        }
        await this.#parts.clock.sleep(this.#isReady ? discoveryMs : 1000, signal);
      }
    });
  }

  async #discover(): Promise<void> {
    const found: Promise<unknown>[] = [];
    for (const resource of await this.#parts.client.resources()) {
      this.#byKind.set(`${resource.group}/${resource.kind}`, resource);
      const key = resourceKey(resource);
      if (
        ignored.has(key) ||
        this.#watched.has(key) ||
        !["delete", "list", "watch"].every((verb) => resource.verbs.includes(verb))
      )
        continue;
      this.#watched.set(key, resource);
      found.push(this.#watch(resource));
    }
    await Promise.all(found);
    if (this.#isReady) return;
    this.#isReady = true;
    this.#resolveReady();
    for (const node of this.#graph.nodes()) if (this.#mayNeedWork(node)) this.#controller.enqueue(node.uid);
  }

  #watch(resource: ServedResource): Promise<void> {
    const { group, version } = resource;
    const informer = this.#parts.informers.informer({ group, version, resource: resource.resource });
    informer.addHandlers({
      add: (object) => this.#changed(resource, object),
      update: (object, old) => {
        // Nearly all updates (status, leases) change nothing of this.
        const { metadata: now } = object;
        const { metadata: before } = old;
        if (
          now?.ownerReferences !== before?.ownerReferences ||
          now?.finalizers !== before?.finalizers ||
          now?.deletionTimestamp !== before?.deletionTimestamp
        )
          this.#changed(resource, object);
      },
      delete: (object) => this.#removed(object),
    });
    return informer.synced;
  }

  #mayNeedWork(node: GraphNode): boolean {
    if (node.deleting)
      return node.finalizers.includes(foregroundFinalizer) || node.finalizers.includes(orphanFinalizer);
    return node.owners.some((owner) => {
      const known = this.#graph.get(owner.uid);
      return known === undefined || known.deleting;
    });
  }

  #changed(resource: ServedResource, object: KubeObject): void {
    const node = this.#graph.put(resource, object);
    if (!this.#isReady) return;
    if (this.#mayNeedWork(node)) this.#controller.enqueue(node.uid);
    if (node.deleting && node.finalizers.includes(foregroundFinalizer)) this.#enqueueDependents(node.uid);
  }

  #removed(object: KubeObject): void {
    const node = this.#graph.remove(object.metadata?.uid as string);
    if (node === undefined || !this.#isReady) return;
    this.#enqueueDependents(node.uid);
    // An owner that waits for its dependents may be done now.
    for (const owner of node.owners) if (this.#graph.get(owner.uid)?.deleting) this.#controller.enqueue(owner.uid);
  }

  #enqueueDependents(uid: string): void {
    for (const dependent of this.#graph.dependents(uid)) this.#controller.enqueue(dependent.uid);
  }

  async #reconcile(uid: string): Promise<void> {
    const node = this.#graph.get(uid);
    if (node === undefined) return;
    if (node.deleting) {
      if (node.finalizers.includes(orphanFinalizer)) await this.#orphanDependents(node);
      else if (node.finalizers.includes(foregroundFinalizer)) await this.#finishForeground(node);
      return;
    }
    if (node.owners.length > 0) await this.#collect(node);
  }

  /** Sorts an object's owners into those that are there, those that wait for their dependents, and those that are gone. */
  async #collect(node: GraphNode): Promise<void> {
    const solid: OwnerReference[] = [];
    const waiting: OwnerReference[] = [];
    const gone: OwnerReference[] = [];
    for (const owner of node.owners) {
      const known = this.#graph.get(owner.uid);
      if (known === undefined ? await this.#isGone(node, owner) : false) gone.push(owner);
      else if (known?.deleting && known.finalizers.includes(foregroundFinalizer)) waiting.push(owner);
      else solid.push(owner);
    }
    if (gone.length === 0 && waiting.length === 0) return;
    if (solid.length > 0) return this.#dropOwners(node, [...gone, ...waiting]);
    const live = await this.#live(node);
    if (live === undefined) return;
    const blocksSomebody = waiting.length > 0 && this.#graph.dependents(node.uid).length > 0;
    const finalizers = live.metadata?.finalizers ?? [];
    const propagationPolicy = finalizers.includes(orphanFinalizer)
      ? "Orphan"
      : finalizers.includes(foregroundFinalizer) || blocksSomebody
        ? "Foreground"
        : "Background";
    await this.#quietly(
      this.#parts.client.delete(node.resource, node.namespace, node.name, {
        propagationPolicy,
        preconditions: { uid: node.uid },
      }),
    );
  }

  /** Asks the API server: the graph may not have seen the owner yet. */
  async #isGone(node: GraphNode, owner: OwnerReference): Promise<boolean> {
    const group = owner.apiVersion.includes("/") ? (owner.apiVersion.split("/")[0] as string) : "";
    const resource = this.#byKind.get(`${group}/${owner.kind}`);
    // A kind that is not served cannot be looked up: an owner that cannot be proved absent is there.
    if (resource === undefined) return false;
    // A namespaced owner of a cluster-wide object cannot exist (garbage collection, "Owner references").
    if (resource.namespaced && node.namespace === undefined) return false;
    try {
      const found = await this.#parts.client.get(
        resource,
        resource.namespaced ? node.namespace : undefined,
        owner.name,
      );
      return found.metadata?.uid !== owner.uid;
    } catch (error) {
      if (hasCode(error, "not-found")) return true;
      throw error;
    }
  }

  /** The object as it is now, when it still is the same one and not being deleted. */
  async #live(node: GraphNode): Promise<KubeObject | undefined> {
    const object = await this.#quietly(this.#parts.client.get(node.resource, node.namespace, node.name));
    return object?.metadata?.uid === node.uid && object.metadata.deletionTimestamp === undefined ? object : undefined;
  }

  async #dropOwners(node: GraphNode, owners: readonly OwnerReference[]): Promise<void> {
    const uids = new Set(owners.map((owner) => owner.uid));
    await this.#rewrite(node, (metadata) => ({
      ownerReferences: (metadata.ownerReferences ?? []).filter((owner) => !uids.has(owner.uid)),
    }));
  }

  /** Compare-and-swap of a part of the metadata. Conflicts are retried by the queue. */
  async #rewrite(node: GraphNode, change: (metadata: NonNullable<KubeObject["metadata"]>) => object): Promise<void> {
    const object = await this.#quietly(this.#parts.client.get(node.resource, node.namespace, node.name));
    if (object?.metadata?.uid !== node.uid) return;
    const patch = {
      metadata: { uid: node.uid, resourceVersion: object.metadata.resourceVersion, ...change(object.metadata) },
    };
    await this.#quietly(
      this.#parts.client.patch(node.resource, node.namespace, node.name, "application/merge-patch+json", patch),
    );
  }

  async #removeFinalizer(node: GraphNode, finalizer: string): Promise<void> {
    await this.#rewrite(node, (metadata) => ({
      finalizers: (metadata.finalizers ?? []).filter((other) => other !== finalizer),
    }));
  }

  async #orphanDependents(node: GraphNode): Promise<void> {
    for (const dependent of this.#graph.dependents(node.uid)) {
      await this.#rewrite(dependent, (metadata) => ({
        ownerReferences: (metadata.ownerReferences ?? []).filter((owner) => owner.uid !== node.uid),
      }));
    }
    await this.#removeFinalizer(node, orphanFinalizer);
  }

  async #finishForeground(node: GraphNode): Promise<void> {
    const dependents = this.#graph.dependents(node.uid);
    const blocking = dependents.filter((dependent) =>
      dependent.owners.some((owner) => owner.uid === node.uid && owner.blockOwnerDeletion === true),
    );
    if (blocking.length === 0) return this.#removeFinalizer(node, foregroundFinalizer);
    for (const dependent of dependents) if (!dependent.deleting) this.#controller.enqueue(dependent.uid);
  }

  async #quietly<T>(work: Promise<T>): Promise<T | undefined> {
    try {
      return await work;
    } catch (error) {
      // Gone, or another object of the same name: either way there is nothing left to do.
      if (hasCode(error, "not-found") || (hasCode(error, "conflict") && /uid/i.test(error.message))) return undefined;
      throw error;
    }
  }
}

import type { KubeObject, ResourceRef } from "#api/kube/object.ts";
import type { TaskGroup } from "#base/task-group.ts";
import { Informer, type InformerOptions, type InformerParts } from "./informer.ts";

export type SharedInformerOptions<T extends KubeObject> = Omit<InformerOptions<T>, "resource">;

/**
 * Gives each resource and selector one informer that all users in the process share. Informers asked for
 * after `start` are started at once.
 */
export class InformerFactory {
  readonly #parts: InformerParts;
  readonly #informers = new Map<string, Informer>();
  #tasks: TaskGroup | undefined;

  constructor(parts: InformerParts) {
    this.#parts = parts;
  }

  /**
   * The shared informer; `indexers` are added to one that exists. `transform` and back-off of the first
   * caller count.
   */
  informer<T extends KubeObject>(resource: ResourceRef, options: SharedInformerOptions<T> = {}): Informer<T> {
    const key = [
      resource.group,
      resource.version,
      resource.resource,
      options.namespace ?? "",
      options.labelSelector ?? "",
      options.fieldSelector ?? "",
    ].join("|");
    let informer = this.#informers.get(key) as Informer<T> | undefined;
    if (informer === undefined) {
      informer = new Informer<T>({ ...options, resource }, this.#parts);
      this.#informers.set(key, informer as unknown as Informer);
      if (this.#tasks !== undefined) informer.start(this.#tasks);
    } else {
      for (const [name, indexer] of Object.entries(options.indexers ?? {})) informer.addIndex(name, indexer);
    }
    return informer;
  }

  /** Starts all informers, present and future; they end with the group. */
  start(tasks: TaskGroup): void {
    this.#tasks = tasks;
    for (const informer of this.#informers.values()) informer.start(tasks);
  }

  /** Resolves when all informers that exist now have synced. */
  async synced(): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.synced));
  }
}

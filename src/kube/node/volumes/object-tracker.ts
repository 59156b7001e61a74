import { type KubeObject, ref } from "#api/kube/object.ts";
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import { TaskGroup } from "#base/task-group.ts";
import { Informer } from "#control/informer.ts";
import type { KubeClient } from "#kube/client/client.ts";
import { abortable } from "../image-puller.ts";

export type TrackedKind = "configmaps" | "secrets";

interface Tracked {
  informer: Informer;
  tasks: TaskGroup;
  users: Set<string>;
}

/**
 * Follows just those ConfigMaps and Secrets that pods of this node use, one watch each, as long as a pod
 * uses them: a node may read no more than that.
 */
export class ObjectTracker {
  readonly #client: KubeClient;
  readonly #parts: { log: Logger; clock: Clock; tasks: TaskGroup };
  readonly #changed: (podUid: string) => void;
  readonly #tracked = new Map<string, Tracked>();

  /** `changed` is called with each user of an object that has changed. */
  constructor(
    client: KubeClient,
    parts: { log: Logger; clock: Clock; tasks: TaskGroup },
    changed: (podUid: string) => void,
  ) {
    this.#client = client;
    this.#parts = parts;
    this.#changed = changed;
  }

  /** Throws `not-found` as the API does. The object is followed for the pod from now on. */
  async get<T extends KubeObject>(
    podUid: string,
    kind: TrackedKind,
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<T> {
    const tracked = this.#track(podUid, kind, namespace, name);
    await abortable(tracked.informer.synced, signal);
    const known = tracked.informer.get(`${namespace}/${name}`) as T | undefined;
    // What was made a moment ago may not have reached the watch.
    return known ?? this.#client.get<T>(ref(kind), namespace, name);
  }

  #track(podUid: string, kind: TrackedKind, namespace: string, name: string): Tracked {
    const key = `${kind}/${namespace}/${name}`;
    let tracked = this.#tracked.get(key);
    if (tracked === undefined) {
      const { log, clock } = this.#parts;
      const informer = new Informer(
        { resource: ref(kind), namespace, fieldSelector: `metadata.name=${name}` },
        { source: this.#client, log, clock },
      );
      const tasks = new TaskGroup({ name: key, log, clock, signal: this.#parts.tasks.signal });
      const users = new Set<string>();
      const tell = (): void => users.forEach((user) => this.#changed(user));
      informer.addHandlers({ add: (_, isInitial) => (isInitial ? undefined : tell()), update: tell, delete: tell });
      informer.start(tasks);
      tracked = { informer, tasks, users };
      this.#tracked.set(key, tracked);
    }
    tracked.users.add(podUid);
    return tracked;
  }

  /** The pod is gone: what only it used is no longer followed. */
  release(podUid: string): void {
    for (const [key, tracked] of this.#tracked) {
      if (!tracked.users.delete(podUid) || tracked.users.size > 0) continue;
      this.#tracked.delete(key);
      this.#parts.tasks.run(`stop following ${key}`, () => tracked.tasks.stop());
    }
  }
}

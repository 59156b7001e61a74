import { hasCode } from "#base/errors.ts";
import type { PodContainerStatus, PodRuntime, PodSandboxStatus, RuntimeEvent } from "#api/pod-runtime.ts";

/** Names of the labels that tie runtime things to pods: the kubelet's (kubelet/types/labels.go). */
export const runtimeLabels = {
  podName: "io.kubernetes.pod.name",
  podNamespace: "io.kubernetes.pod.namespace",
  podUid: "io.kubernetes.pod.uid",
  containerName: "io.kubernetes.container.name",
} as const;

/** Annotations of runtime containers that the agent reads back after a restart. */
export const runtimeAnnotations = {
  hash: "io.kubernetes.container.hash",
  restartCount: "io.kubernetes.container.restartCount",
  terminationMessagePath: "io.kubernetes.container.terminationMessagePath",
  terminationMessagePolicy: "io.kubernetes.container.terminationMessagePolicy",
  /** The host's file behind the termination message path. */
  terminationMessageFile: "gantry.dev/termination-message-file",
  podTerminationGracePeriod: "io.kubernetes.pod.terminationGracePeriod",
} as const;

/** What the runtime has of one pod; newest first. */
export interface PodView {
  sandboxes: PodSandboxStatus[];
  containers: PodContainerStatus[];
}

interface Entry {
  /** As last read; undefined: never yet. */
  sandboxes: Map<string, PodSandboxStatus | undefined>;
  containers: Map<string, PodContainerStatus | undefined>;
  /** Ids that have been touched since they were read. */
  dirty: Set<string>;
}

/**
 * A copy of the runtime's state, by pod. Only what an event, or our own action, has touched is read again;
 * a slow relist finds what events missed.
 */
export class RuntimeView {
  readonly #runtime: PodRuntime;
  readonly #pods = new Map<string, Entry>();
  readonly #podOfSandbox = new Map<string, string>();
  /** Pods that were touched since a relist began. */
  #touched: Set<string> | undefined;

  constructor(runtime: PodRuntime) {
    this.#runtime = runtime;
  }

  /** Uids of pods that have anything in the runtime. */
  uids(): string[] {
    return [...this.#pods.keys()];
  }

  /** The container with this id, as last read. */
  container(id: string): PodContainerStatus | undefined {
    for (const entry of this.#pods.values()) if (entry.containers.has(id)) return entry.containers.get(id);
    return undefined;
  }

  /** Reads everything, and returns the uids whose state differs from what was known. */
  async relist(): Promise<Set<string>> {
    // What is touched while the lists are read is newer than they are.
    const touched = (this.#touched = new Set<string>());
    const before = new Map([...this.#pods].map(([uid, entry]) => [uid, fingerprint(entry)]));
    const [sandboxes, containers] = await Promise.all([
      this.#runtime.listPodSandboxes(),
      this.#runtime.listContainers(),
    ]);
    this.#touched = undefined;
    const old = new Map(this.#pods);
    this.#pods.clear();
    this.#podOfSandbox.clear();
    for (const sandbox of sandboxes) {
      this.#podOfSandbox.set(sandbox.id, sandbox.metadata.uid);
      this.#entry(sandbox.metadata.uid).sandboxes.set(sandbox.id, sandbox);
    }
    for (const container of containers) {
      const uid = this.#podOfSandbox.get(container.sandboxId) ?? container.labels[runtimeLabels.podUid];
      if (uid !== undefined) this.#entry(uid).containers.set(container.id, container);
    }
    const changed = new Set<string>();
    for (const uid of touched) {
      const entry = old.get(uid);
      if (entry === undefined) this.#pods.delete(uid);
      else this.#pods.set(uid, entry);
      for (const id of entry?.sandboxes.keys() ?? []) this.#podOfSandbox.set(id, uid);
      this.touchPod(uid);
      changed.add(uid);
    }
    for (const [uid, entry] of this.#pods) if (before.get(uid) !== fingerprint(entry)) changed.add(uid);
    for (const uid of before.keys()) if (!this.#pods.has(uid)) changed.add(uid);
    return changed;
  }

  /** Marks what an event is about, and returns the pod's uid. Undefined when the sandbox is not known. */
  note(event: RuntimeEvent): string | undefined {
    const uid = this.#podOfSandbox.get(event.sandboxId);
    if (uid === undefined) return undefined;
    // A container may have ended because its sandbox was lost.
    this.touchSandbox(uid, event.sandboxId);
    if (event.containerId !== undefined) this.touchContainer(uid, event.containerId);
    return uid;
  }

  touchSandbox(uid: string, id: string): void {
    this.#touched?.add(uid);
    this.#podOfSandbox.set(id, uid);
    const entry = this.#entry(uid);
    if (!entry.sandboxes.has(id)) entry.sandboxes.set(id, undefined);
    entry.dirty.add(id);
  }

  touchContainer(uid: string, id: string): void {
    this.#touched?.add(uid);
    const entry = this.#entry(uid);
    if (!entry.containers.has(id)) entry.containers.set(id, undefined);
    entry.dirty.add(id);
  }

  /** Everything of a pod is read again at the next `view`. */
  touchPod(uid: string): void {
    this.#touched?.add(uid);
    const entry = this.#pods.get(uid);
    if (entry === undefined) return;
    for (const id of [...entry.sandboxes.keys(), ...entry.containers.keys()]) entry.dirty.add(id);
  }

  forgetContainer(uid: string, id: string): void {
    this.#touched?.add(uid);
    this.#pods.get(uid)?.containers.delete(id);
  }

  forgetSandbox(uid: string, id: string): void {
    this.#touched?.add(uid);
    this.#podOfSandbox.delete(id);
    const entry = this.#pods.get(uid);
    if (entry === undefined) return;
    entry.sandboxes.delete(id);
    for (const [containerId, container] of entry.containers) {
      if (container === undefined || container.sandboxId === id) entry.containers.delete(containerId);
    }
    if (entry.sandboxes.size === 0 && entry.containers.size === 0) this.#pods.delete(uid);
  }

  /** The state of one pod, reading again what was touched. */
  async view(uid: string): Promise<PodView> {
    const entry = this.#pods.get(uid);
    if (entry === undefined) return { sandboxes: [], containers: [] };
    // What is touched while it is read is dirty again afterwards, and keeps its last state until then.
    const dirty = [...entry.dirty];
    entry.dirty.clear();
    await Promise.all(
      dirty.map(async (id) => {
        try {
          if (entry.sandboxes.has(id)) await reread(entry.sandboxes, id, () => this.#runtime.podSandboxStatus(id));
          else if (entry.containers.has(id))
            await reread(entry.containers, id, () => this.#runtime.containerStatus(id));
        } catch (error) {
          entry.dirty.add(id);
          throw error;
        }
      }),
    );
    const sandboxes = [...entry.sandboxes.values()].filter((status) => status !== undefined);
    const containers = [...entry.containers.values()].filter((status) => status !== undefined);
    sandboxes.sort((a, b) => b.metadata.attempt - a.metadata.attempt || b.createdAt - a.createdAt);
    containers.sort((a, b) => b.metadata.attempt - a.metadata.attempt || b.createdAt - a.createdAt);
    return { sandboxes, containers };
  }

  #entry(uid: string): Entry {
    let entry = this.#pods.get(uid);
    if (entry === undefined)
      this.#pods.set(uid, (entry = { sandboxes: new Map(), containers: new Map(), dirty: new Set() }));
    return entry;
  }
}

async function reread<T>(into: Map<string, T | undefined>, id: string, read: () => Promise<T>): Promise<void> {
  try {
    const status = await read();
    // It may have been forgotten in the meantime.
    if (into.has(id)) into.set(id, status);
  } catch (error) {
    if (!hasCode(error, "not-found")) throw error;
    into.delete(id);
  }
}

function fingerprint(entry: Entry): string {
  const sandboxes = [...entry.sandboxes].map(([id, status]) => `${id}:${status?.state}`);
  const containers = [...entry.containers].map(([id, status]) => `${id}:${status?.state}:${status?.exitCode}`);
  return [...sandboxes, ...containers].sort().join("|");
}

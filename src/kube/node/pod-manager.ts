import { errorMessage } from "#base/errors.ts";
import type { Informer } from "#control/informer.ts";
import { type Rejection, admissionRejection } from "./pod-admission.ts";
import type { PodServices } from "./pod-services.ts";
import type { Pod } from "./pod-types.ts";
import { PodWorker } from "./pod-worker.ts";

const relistMs = 60_000;

/** Gives each pod of the node a worker, wakes workers for what concerns them, and removes what has no pod. */
export class PodManager {
  readonly #services: PodServices;
  readonly #pods: Informer<Pod>;
  readonly #workers = new Map<string, PodWorker>();

  constructor(services: PodServices, pods: Informer<Pod>) {
    this.#services = services;
    this.#pods = pods;
  }

  get size(): number {
    return this.#workers.size;
  }

  /** The pods as last seen. */
  pods(): Pod[] {
    return [...this.#workers.values()].map((worker) => worker.pod);
  }

  /** By namespace and name, also while it is being taken down. */
  find(namespace: string, name: string): Pod | undefined {
    const known = this.#pods.get(`${namespace}/${name}`);
    return known ?? this.pods().find((pod) => pod.metadata?.name === name && pod.metadata.namespace === namespace);
  }

  /** A ConfigMap or Secret that the pod uses has changed. */
  sourcesChanged(uid: string): void {
    this.#workers.get(uid)?.sourcesChanged();
  }

  /** Reads the runtime's state, then begins to follow pods and events. */
  async start(): Promise<void> {
    const { tasks, view } = this.#services;
    await view.relist();
    this.#pods.addHandlers({
      add: (pod) => this.#see(pod),
      update: (pod) => this.#see(pod),
      delete: (pod) => this.#workers.get(pod.metadata?.uid ?? "")?.gone(pod),
    });
    this.#pods.start(tasks);
    tasks.run("runtime events", (signal) => this.#followRuntime(signal));
    tasks.run("orphans", async (signal) => {
      await Promise.race([this.#pods.synced, aborted(signal)]);
      if (!signal.aborted) await this.#removeOrphans();
    });
    tasks.every("runtime relist", relistMs, () => this.#relist());
  }

  #see(pod: Pod): void {
    const uid = pod.metadata?.uid ?? "";
    const known = this.#workers.get(uid);
    if (known !== undefined) {
      known.update(pod);
      return;
    }
    const worker = new PodWorker(pod, this.#services, this.#rejection(pod));
    this.#workers.set(uid, worker);
    this.#services.tasks.run(`pod ${pod.metadata?.namespace}/${pod.metadata?.name}`, async (signal) => {
      try {
        await worker.run(signal);
      } finally {
        this.#workers.delete(uid);
      }
    });
  }

  /** A pod that has begun, here or before a restart, is never rejected. */
  #rejection(pod: Pod): Rejection | undefined {
    const begun = pod.status?.startTime !== undefined || pod.metadata?.deletionTimestamp !== undefined;
    if (begun) return undefined;
    const others = [...this.#workers.values()].filter((worker) => worker.active).map((worker) => worker.pod);
    return admissionRejection(pod, others, this.#services.admission);
  }

  async #followRuntime(signal: AbortSignal): Promise<void> {
    const { runtime, view, clock, log } = this.#services;
    while (!signal.aborted) {
      try {
        for await (const event of runtime.events(signal)) {
          const uid = view.note(event);
          if (uid !== undefined) this.#workers.get(uid)?.wake();
        }
      } catch (error) {
        log.warn("The runtime's events broke off.", { error: errorMessage(error) });
      }
      if (signal.aborted) return;
      await clock.sleep(1_000, signal);
      await this.#relist();
    }
  }

  async #relist(): Promise<void> {
    for (const uid of await this.#services.view.relist()) this.#workers.get(uid)?.wake();
    if (this.#pods.hasSynced) await this.#removeOrphans();
  }

  /** What runs, or lies on disk, for pods that the API does not have on this node. */
  async #removeOrphans(): Promise<void> {
    const { view, runtime, volumes, log } = this.#services;
    for (const uid of view.uids()) {
      if (this.#workers.has(uid)) continue;
      const { sandboxes, containers } = await view.view(uid);
      log.info("Removing what is left of a pod that is gone.", { uid, pod: sandboxes[0]?.metadata.name });
      for (const container of containers.filter(({ state }) => state === "running"))
        await runtime.stopContainer(container.id, 2);
      for (const sandbox of sandboxes) {
        await runtime.stopPodSandbox(sandbox.id);
        await runtime.removePodSandbox(sandbox.id);
        view.forgetSandbox(uid, sandbox.id);
      }
    }
    for (const uid of await volumes.uids()) if (!this.#workers.has(uid)) await volumes.remove(uid);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

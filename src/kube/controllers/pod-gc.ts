import type { Node, Pod } from "#api/kube/generated/types.ts";
import { hasCode } from "#base/errors.ts";
import type { Informer } from "#control/informer.ts";
import type { ControllerParts } from "./controller-parts.ts";
import { nodes } from "./node-lifecycle.ts";
import { pods } from "./pod-control.ts";

const periodMs = 20_000;
/** A node that is missing from our copy must stay so for this long: it may only just have been created. */
const quarantineMs = 40_000;
const terminatedThreshold = 12_500;

/** Removes pods of nodes that are gone, and the oldest finished pods above a threshold (kubernetes, podgc). */
export class PodGarbageController {
  readonly #parts: ControllerParts;
  readonly #nodes: Informer<Node>;
  readonly #pods: Informer<Pod>;
  readonly #missing = new Map<string, number>();

  constructor(parts: ControllerParts) {
    this.#parts = parts;
    this.#nodes = parts.informers.informer<Node>(nodes);
    this.#pods = parts.informers.informer<Pod>(pods);
  }

  start(): void {
    this.#parts.tasks.every("pod garbage collection", periodMs, async () => {
      if (!this.#nodes.hasSynced || !this.#pods.hasSynced) return;
      const all = this.#pods.list();
      await this.#removeOfMissingNodes(all);
      const finished = all.filter((pod) => pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed");
      const excess = finished.length - terminatedThreshold;
      if (excess <= 0) return;
      finished.sort((left, right) =>
        (left.metadata?.creationTimestamp ?? "") < (right.metadata?.creationTimestamp ?? "") ? -1 : 1,
      );
      for (const pod of finished.slice(0, excess)) await this.#remove(pod);
    });
  }

  async #removeOfMissingNodes(all: readonly Pod[]): Promise<void> {
    const now = this.#parts.clock.monotonic();
    const named = new Set(all.map((pod) => pod.spec?.nodeName).filter((name): name is string => Boolean(name)));
    for (const name of this.#missing.keys())
      if (!named.has(name) || this.#nodes.get(name) !== undefined) this.#missing.delete(name);
    for (const name of named) {
      if (this.#nodes.get(name) !== undefined) continue;
      const since = this.#missing.get(name) ?? now;
      this.#missing.set(name, since);
      if (now - since < quarantineMs) continue;
      for (const pod of all) if (pod.spec?.nodeName === name) await this.#remove(pod);
    }
  }

  async #remove(pod: Pod): Promise<void> {
    await this.#parts.client
      .delete(pods, pod.metadata?.namespace, pod.metadata?.name as string, {
        gracePeriodSeconds: 0,
        preconditions: { uid: pod.metadata?.uid as string },
      })
      .catch((error: unknown) => {
        if (!hasCode(error, "not-found", "conflict")) throw error;
      });
  }
}

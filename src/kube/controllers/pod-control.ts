import type { Pod, PodTemplateSpec } from "#api/kube/generated/types.ts";
import { type KubeObject, type OwnerReference, ref } from "#api/kube/object.ts";
import { errorMessage, hasCode } from "#base/errors.ts";
import { type EventRecorder, referenceTo } from "#control/event-recorder.ts";
import type { KubeClient } from "#kube/client/client.ts";

export const pods = ref("pods");

/** Creates and deletes a controller's pods, and records both as events of their owner (controller.RealPodControl). */
export class PodControl {
  readonly #client: KubeClient;
  readonly #events: EventRecorder;

  constructor(client: KubeClient, events: EventRecorder) {
    this.#client = client;
    this.#events = events;
  }

  async create(
    owner: KubeObject,
    reference: OwnerReference,
    template: PodTemplateSpec,
    more: { name?: string } = {},
  ): Promise<Pod> {
    const ownerName = owner.metadata?.name as string;
    const pod: Pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        ...(more.name === undefined ? { generateName: generateNameOf(ownerName) } : { name: more.name }),
        namespace: owner.metadata?.namespace as string,
        ...(template.metadata?.labels === undefined ? {} : { labels: template.metadata.labels }),
        ...(template.metadata?.annotations === undefined ? {} : { annotations: template.metadata.annotations }),
        ...(template.metadata?.finalizers === undefined ? {} : { finalizers: template.metadata.finalizers }),
        ownerReferences: [reference],
      },
      spec: template.spec as NonNullable<Pod["spec"]>,
    };
    const about = referenceTo(owner, { apiVersion: reference.apiVersion, kind: reference.kind });
    try {
      const made = await this.#client.create(pods, pod);
      this.#events.event(about, "Normal", "SuccessfulCreate", `Created pod: ${made.metadata?.name}`);
      return made;
    } catch (error) {
      // A namespace that goes away takes nothing new: no news, and no retry will help.
      if (!isTerminating(error))
        this.#events.event(about, "Warning", "FailedCreate", `Error creating: ${errorMessage(error)}`);
      throw error;
    }
  }

  async delete(owner: KubeObject, kind: { apiVersion: string; kind: string }, pod: Pod): Promise<void> {
    const name = pod.metadata?.name as string;
    try {
      await this.#client.delete(pods, pod.metadata?.namespace, name, {
        preconditions: { uid: pod.metadata?.uid as string },
      });
      this.#events.event(referenceTo(owner, kind), "Normal", "SuccessfulDelete", `Deleted pod: ${name}`);
    } catch (error) {
      if (hasCode(error, "not-found")) return;
      this.#events.event(referenceTo(owner, kind), "Warning", "FailedDelete", `Error deleting: ${errorMessage(error)}`);
      throw error;
    }
  }
}

/** Owners' names may be longer than what a pod's name leaves room for. */
function generateNameOf(owner: string): string {
  return `${owner.slice(0, 248)}-`;
}

/** True for the refusal of a creation in a namespace that is being deleted. */
export function isTerminating(error: unknown): boolean {
  if (!hasCode(error, "forbidden")) return false;
  const status = error.data["status"] as { details?: { causes?: { reason?: string }[] } } | undefined;
  return (
    status?.details?.causes?.some((cause) => cause.reason === "NamespaceTerminating") ??
    error.message.includes("because it is being terminated")
  );
}

/**
 * Runs `work` `count` times in batches of 1, 2, 4, … so that something that always fails (a quota) costs few
 * tries (controller.slowStartBatch). Stops after the first batch
 * with a failure; `skipped` were never tried.
 */
export async function slowStart(
  count: number,
  work: () => Promise<unknown>,
): Promise<{ skipped: number; error: unknown }> {
  let tried = 0;
  for (let size = 1; tried < count; size *= 2) {
    const batch = Math.min(size, count - tried);
    const results = await Promise.allSettled(Array.from({ length: batch }, work));
    const failed = results.find((result) => result.status === "rejected");
    tried += batch;
    if (failed !== undefined) return { skipped: count - tried, error: (failed as PromiseRejectedResult).reason };
  }
  return { skipped: 0, error: undefined };
}

import type { Pod, ReplicaSet, ReplicaSetStatus } from "#api/kube/generated/types.ts";
import { type ObjectMeta, objectKey, ref } from "#api/kube/object.ts";
import { errorMessage, hasCode } from "#base/errors.ts";
import { type LabelSelectorObject, labelSelectorOf, matchesLabels } from "#base/label-selector.ts";
import { Controller, type ReconcileResult } from "#control/controller.ts";
import { Expectations } from "#control/expectations.ts";
import type { Informer } from "#control/informer.ts";
import { claim } from "./adoption.ts";
import {
  type ControllerParts,
  apiTime,
  controllerOf,
  controllerReference,
  sameValue,
  startRecorder,
} from "./controller-parts.ts";
import { PodControl, isTerminating, pods, slowStart } from "./pod-control.ts";
import { inDeletionOrder, isActive, isAvailable, isReady, readySince } from "./pod-state.ts";

export const replicaSets = ref("apps/v1", "replicasets");
const kind = { apiVersion: "apps/v1", kind: "ReplicaSet" };
/** At most so many pods are created or deleted in one round. */
const burst = 500;

/** Keeps as many pods as each ReplicaSet wants (kubernetes, pkg/controller/replicaset). */
export class ReplicaSetController {
  readonly #parts: ControllerParts;
  readonly #sets: Informer<ReplicaSet>;
  readonly #pods: Informer<Pod>;
  readonly #expectations: Expectations;
  readonly #control: PodControl;
  readonly #controller: Controller;

  constructor(parts: ControllerParts) {
    this.#parts = parts;
    this.#sets = parts.informers.informer<ReplicaSet>(replicaSets);
    this.#pods = parts.informers.informer<Pod>(pods);
    this.#expectations = new Expectations(parts.clock);
    this.#control = new PodControl(parts.client, startRecorder(parts, "replicaset-controller"));
    this.#controller = new Controller(
      {
        name: "replicaset",
        workers: 5,
        waitFor: [this.#sets.synced, this.#pods.synced],
        reconcile: (key) => this.#reconcile(key),
      },
      parts,
    );
    this.#sets.addHandlers({
      add: (set) => this.#controller.enqueueObject(set),
      update: (set) => this.#controller.enqueueObject(set),
      delete: (set) => {
        this.#expectations.forget(objectKey(set));
        this.#controller.enqueueObject(set);
      },
    });
    this.#pods.addHandlers({
      add: (pod) => this.#podAdded(pod),
      update: (pod, old) => this.#podUpdated(pod, old),
      delete: (pod) => this.#podDeleted(pod),
    });
  }

  start(): void {
    this.#controller.start(this.#parts.tasks);
  }

  #ownerKey(pod: Pod): string | undefined {
    const owner = controllerOf(pod);
    return owner?.kind === "ReplicaSet" ? `${pod.metadata?.namespace}/${owner.name}` : undefined;
  }

  #podAdded(pod: Pod): void {
    if (pod.metadata?.deletionTimestamp !== undefined) return this.#podDeleted(pod);
    const key = this.#ownerKey(pod);
    if (key !== undefined) {
      this.#expectations.creationObserved(key);
      this.#controller.enqueue(key);
    } else if (controllerOf(pod) === undefined) {
      this.#enqueueMatching(pod);
    }
  }

  #podUpdated(pod: Pod, old: Pod): void {
    if (pod.metadata?.deletionTimestamp !== undefined && old.metadata?.deletionTimestamp === undefined) {
      // It no longer counts from now on; its removal will be seen as well.
      return this.#podDeleted(pod);
    }
    const key = this.#ownerKey(pod);
    const oldKey = this.#ownerKey(old);
    if (oldKey !== undefined && oldKey !== key) this.#controller.enqueue(oldKey);
    if (key !== undefined) this.#controller.enqueue(key);
    else if (
      controllerOf(pod) === undefined &&
      (oldKey !== undefined || !sameValue(pod.metadata?.labels, old.metadata?.labels))
    )
      this.#enqueueMatching(pod);
  }

  #podDeleted(pod: Pod): void {
    const key = this.#ownerKey(pod);
    if (key === undefined) return;
    this.#expectations.deletionObserved(key, objectKey(pod));
    this.#controller.enqueue(key);
  }

  /** An orphan may be wanted by any set of its namespace. */
  #enqueueMatching(pod: Pod): void {
    for (const set of this.#sets.list(pod.metadata?.namespace ?? "")) {
      if (matchesLabels(labelSelectorOf(set.spec?.selector as LabelSelectorObject | undefined), pod.metadata?.labels))
        this.#controller.enqueueObject(set);
    }
  }

  async #reconcile(key: string): Promise<ReconcileResult | void> {
    const set = this.#sets.get(key);
    if (set?.spec === undefined) return;
    const settled = this.#expectations.satisfied(key);
    const selector = labelSelectorOf(set.spec.selector as LabelSelectorObject) ?? [];
    const owned = await claim(this.#pods.list(set.metadata?.namespace ?? ""), {
      client: this.#parts.client,
      resource: pods,
      owner: set,
      reference: controllerReference(set, kind.apiVersion, kind.kind),
      selector,
    });
    const active = owned.filter(isActive);
    let failure: unknown;
    if (settled && set.metadata?.deletionTimestamp === undefined) failure = await this.#manage(key, set, active);
    await this.#updateStatus(set, owned, failure);
    if (failure !== undefined && !isTerminating(failure)) throw failure;
    return this.#nextAvailable(set, active);
  }

  async #manage(key: string, set: ReplicaSet, active: Pod[]): Promise<unknown> {
    const difference = active.length - (set.spec?.replicas ?? 1);
    if (difference < 0) {
      const count = Math.min(-difference, burst);
      this.#expectations.expectCreations(key, count);
      const template = set.spec?.template as NonNullable<NonNullable<ReplicaSet["spec"]>["template"]>;
      const reference = controllerReference(set, kind.apiVersion, kind.kind);
      const { skipped, error } = await slowStart(count, async () => {
        try {
          await this.#control.create(set, reference, template);
        } catch (failed) {
          this.#expectations.creationObserved(key);
          throw failed;
        }
      });
      // Those that were never tried will not be seen. A failed one has been taken off already.
      for (let n = 0; n < skipped; n++) this.#expectations.creationObserved(key);
      return error;
    }
    if (difference > 0) {
      const doomed = inDeletionOrder(active).slice(0, Math.min(difference, burst));
      this.#expectations.expectDeletions(key, doomed.map(objectKey));
      const results = await Promise.allSettled(
        doomed.map(async (pod) => {
          try {
            await this.#control.delete(set, kind, pod);
          } catch (error) {
            this.#expectations.deletionObserved(key, objectKey(pod));
            throw error;
          }
        }),
      );
      return results.find((result): result is PromiseRejectedResult => result.status === "rejected")?.reason;
    }
    return undefined;
  }

  #computeStatus(set: ReplicaSet, owned: Pod[], failure: unknown): ReplicaSetStatus {
    const active = owned.filter(isActive);
    const templateLabels = Object.entries((set.spec?.template?.metadata as ObjectMeta | undefined)?.labels ?? {});
    const minReady = set.spec?.minReadySeconds ?? 0;
    const wanted = set.spec?.replicas ?? 1;
    const conditions = (set.status?.conditions ?? []).filter((condition) => condition.type !== "ReplicaFailure");
    const before = set.status?.conditions?.find((condition) => condition.type === "ReplicaFailure");
    if (failure !== undefined) {
      const reason = active.length < wanted ? "FailedCreate" : "FailedDelete";
      conditions.push(
        before?.reason === reason
          ? before
          : {
              type: "ReplicaFailure",
              status: "True",
              reason,
              message: errorMessage(failure),
              lastTransitionTime: apiTime(this.#parts.clock),
            },
      );
    }
    return {
      replicas: active.length,
      fullyLabeledReplicas: active.filter((pod) =>
        templateLabels.every(([name, value]) => pod.metadata?.labels?.[name] === value),
      ).length,
      readyReplicas: active.filter(isReady).length,
      availableReplicas: active.filter((pod) => isAvailable(pod, minReady, this.#parts.clock)).length,
      terminatingReplicas: owned.filter(
        (pod) =>
          pod.metadata?.deletionTimestamp !== undefined &&
          pod.status?.phase !== "Succeeded" &&
          pod.status?.phase !== "Failed",
      ).length,
      observedGeneration: set.metadata?.generation ?? 0,
      ...(conditions.length === 0 ? {} : { conditions }),
    } as ReplicaSetStatus;
  }

  async #updateStatus(set: ReplicaSet, owned: Pod[], failure: unknown): Promise<void> {
    const status = this.#computeStatus(set, owned, failure);
    const zeroIfAbsent = { fullyLabeledReplicas: 0, readyReplicas: 0, availableReplicas: 0, terminatingReplicas: 0 };
    if (sameValue({ ...zeroIfAbsent, ...set.status }, status)) return;
    try {
      await this.#parts.client.update(replicaSets, { ...set, status }, { subresource: "status" });
    } catch (error) {
      if (hasCode(error, "not-found")) return;
      throw error;
    }
  }

  /** With minReadySeconds, availability comes with time alone: look again then. */
  #nextAvailable(set: ReplicaSet, active: Pod[]): ReconcileResult | void {
    const minReady = (set.spec?.minReadySeconds ?? 0) * 1000;
    if (minReady === 0) return;
    const now = this.#parts.clock.now();
    const waits = active
      .map(readySince)
      .filter((since): since is number => since !== undefined)
      .map((since) => since + minReady - now)
      .filter((wait) => wait > 0);
    if (waits.length > 0) return { requeueAfterMs: Math.min(...waits) + 10 };
  }
}

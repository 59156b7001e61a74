import type { Deployment, DeploymentStatus, Pod, ReplicaSet } from "#api/kube/generated/types.ts";
import { ref } from "#api/kube/object.ts";
import { errorMessage, hasCode } from "#base/errors.ts";
import { type LabelSelectorObject, labelSelectorOf, matchesLabels } from "#base/label-selector.ts";
import { Controller, type ReconcileResult } from "#control/controller.ts";
import { type EventRecorder, referenceTo } from "#control/event-recorder.ts";
import type { Informer } from "#control/informer.ts";
import { claim } from "../adoption.ts";
import {
  type ControllerParts,
  controllerOf,
  controllerReference,
  sameValue,
  startRecorder,
} from "../controller-parts.ts";
import { pods } from "../pod-control.ts";
import { replicaSets } from "../replica-set.ts";
import {
  type ConditionInput,
  deploymentConditions,
  deploymentCounts,
  findCondition,
  isComplete,
  untilDeadline,
  withCondition,
} from "./deployment-status.ts";
import {
  byCreation,
  desiredReplicasAnnotation,
  findNewSet,
  maxReplicasAnnotation,
  maxRevision,
  revisionAnnotation,
  revisionOf,
  sameTemplate,
  setAnnotations,
  templateHash,
  templateHashLabel,
} from "./revisions.ts";
import {
  type RollingLimits,
  type SetSize,
  newSetReplicas,
  planProportionalScale,
  planRollingUpdate,
  rollingLimits,
} from "./scale-plan.ts";

export const deployments = ref("apps/v1", "deployments");
const kind = { apiVersion: "apps/v1", kind: "Deployment" };

/** What one reconcile works on. Sets are as the informer knows them, replaced by what a write gave back. */
interface Round {
  deployment: Deployment;
  sets: ReplicaSet[];
  limits: RollingLimits;
}

/** Rolls each Deployment's template out over ReplicaSets (kubernetes, pkg/controller/deployment). */
export class DeploymentController {
  readonly #parts: ControllerParts;
  readonly #deployments: Informer<Deployment>;
  readonly #sets: Informer<ReplicaSet>;
  readonly #pods: Informer<Pod>;
  readonly #events: EventRecorder;
  readonly #controller: Controller;

  constructor(parts: ControllerParts) {
    this.#parts = parts;
    this.#deployments = parts.informers.informer<Deployment>(deployments);
    this.#sets = parts.informers.informer<ReplicaSet>(replicaSets);
    this.#pods = parts.informers.informer<Pod>(pods);
    this.#events = startRecorder(parts, "deployment-controller");
    this.#controller = new Controller(
      {
        name: "deployment",
        workers: 5,
        waitFor: [this.#deployments.synced, this.#sets.synced, this.#pods.synced],
        reconcile: (key) => this.#reconcile(key),
      },
      parts,
    );
    this.#deployments.addHandlers({
      add: (deployment) => this.#controller.enqueueObject(deployment),
      update: (deployment) => this.#controller.enqueueObject(deployment),
      delete: (deployment) => this.#controller.enqueueObject(deployment),
    });
    this.#sets.addHandlers({
      add: (set) => this.#enqueueOwner(set),
      update: (set, old) => {
        if (controllerOf(old)?.uid !== controllerOf(set)?.uid) this.#enqueueOwner(old);
        this.#enqueueOwner(set);
      },
      delete: (set) => this.#enqueueOwner(set),
    });
    // Recreate waits for the last old pod to be gone.
    this.#pods.addHandlers({ delete: (pod) => this.#podDeleted(pod) });
  }

  start(): void {
    this.#controller.start(this.#parts.tasks);
  }

  #enqueueOwner(set: ReplicaSet): void {
    const owner = controllerOf(set);
    if (owner?.kind === "Deployment") return this.#controller.enqueue(`${set.metadata?.namespace}/${owner.name}`);
    if (owner !== undefined) return;
    for (const deployment of this.#deployments.list(set.metadata?.namespace ?? "")) {
      if (matchesLabels(labelSelectorOf(deployment.spec?.selector as LabelSelectorObject), set.metadata?.labels))
        this.#controller.enqueueObject(deployment);
    }
  }

  #podDeleted(pod: Pod): void {
    const owner = controllerOf(pod);
    if (owner?.kind !== "ReplicaSet") return;
    const set = this.#sets.get(`${pod.metadata?.namespace}/${owner.name}`);
    const deployment = set === undefined ? undefined : controllerOf(set);
    if (deployment === undefined) return;
    const key = `${pod.metadata?.namespace}/${deployment.name}`;
    if (this.#deployments.get(key)?.spec?.strategy?.type === "Recreate") this.#controller.enqueue(key);
  }

  async #reconcile(key: string): Promise<ReconcileResult | void> {
    const deployment = this.#deployments.get(key);
    if (deployment?.spec === undefined) return;
    const selector = labelSelectorOf(deployment.spec.selector as LabelSelectorObject) ?? [];
    if (selector.length === 0) {
      this.#events.event(
        referenceTo(deployment, kind),
        "Warning",
        "SelectingAll",
        "This deployment is selecting all pods. A non-empty selector is required.",
      );
      return;
    }
    const sets = await claim(this.#sets.list(deployment.metadata?.namespace ?? ""), {
      client: this.#parts.client,
      resource: replicaSets,
      owner: deployment,
      reference: controllerReference(deployment, kind.apiVersion, kind.kind),
      selector,
    });
    const replicas = deployment.spec.replicas ?? 1;
    const rolling =
      deployment.spec.strategy?.type === "Recreate"
        ? { maxSurge: 0, maxUnavailable: replicas }
        : (deployment.spec.strategy?.rollingUpdate ?? {});
    const round: Round = {
      deployment,
      sets: sets.sort(byCreation),
      limits: rollingLimits(replicas, rolling.maxSurge, rolling.maxUnavailable),
    };
    if (deployment.metadata?.deletionTimestamp !== undefined) return this.#syncStatus(round);
    if (deployment.spec.paused === true || this.#wasResized(round)) {
      await this.#resize(round);
      if (deployment.spec.paused !== true) await this.#ensureNewSet(round, false);
      return this.#syncStatus(round);
    }
    if (deployment.spec.strategy?.type === "Recreate") await this.#recreate(round);
    else await this.#roll(round);
    if (isComplete(deployment, deploymentCounts(deployment, round.sets, this.#newSet(round))))
      await this.#dropHistory(round);
    return this.#syncStatus(round);
  }

  #newSet(round: Round): ReplicaSet | undefined {
    return findNewSet(round.deployment, round.sets);
  }

  #oldSets(round: Round): ReplicaSet[] {
    const newest = this.#newSet(round);
    return round.sets.filter((set) => set.metadata?.uid !== newest?.metadata?.uid);
  }

  /** True when `spec.replicas` has changed since the sets were last scaled. */
  #wasResized({ deployment, sets }: Round): boolean {
    return sets.some((set) => {
      const desired = set.metadata?.annotations?.[desiredReplicasAnnotation];
      return (
        (set.spec?.replicas ?? 0) > 0 && desired !== undefined && Number(desired) !== (deployment.spec?.replicas ?? 1)
      );
    });
  }

  #sizes({ limits, deployment }: Round): { desired: number; max: number } {
    return {
      desired: limits.replicas,
      max: limits.replicas + (deployment.spec?.strategy?.type === "Recreate" ? 0 : limits.maxSurge),
    };
  }

  async #write(round: Round, set: ReplicaSet): Promise<ReplicaSet> {
    const written = await this.#parts.client.update<ReplicaSet>(replicaSets, set);
    round.sets = round.sets.map((other) => (other.metadata?.uid === written.metadata?.uid ? written : other));
    return written;
  }

  /** Gives a set a size, notes the sizes it was given for, and says so in an event. */
  async #scale(round: Round, set: ReplicaSet, replicas: number): Promise<void> {
    const { desired, max } = this.#sizes(round);
    const annotations = {
      ...set.metadata?.annotations,
      [desiredReplicasAnnotation]: String(desired),
      [maxReplicasAnnotation]: String(max),
    };
    const before = set.spec?.replicas ?? 0;
    if (before === replicas && sameValue(annotations, set.metadata?.annotations)) return;
    await this.#write(round, {
      ...set,
      metadata: { ...set.metadata, annotations },
      spec: { ...set.spec, replicas } as NonNullable<ReplicaSet["spec"]>,
    });
    if (before === replicas) return;
    const direction = replicas > before ? "up" : "down";
    this.#events.event(
      referenceTo(round.deployment, kind),
      "Normal",
      "ScalingReplicaSet",
      `Scaled ${direction} replica set ${set.metadata?.name} from ${before} to ${replicas}`,
    );
  }

  async #resize(round: Round): Promise<void> {
    const { limits, deployment } = round;
    const active = round.sets.filter((set) => (set.spec?.replicas ?? 0) > 0);
    const only =
      active.length === 1
        ? active[0]
        : active.length === 0
          ? (this.#newSet(round) ?? round.sets[round.sets.length - 1])
          : undefined;
    if (only !== undefined) return this.#scale(round, only, limits.replicas);
    const newest = this.#newSet(round);
    if (
      newest !== undefined &&
      newest.spec?.replicas === limits.replicas &&
      newest.status?.availableReplicas === limits.replicas
    ) {
      for (const old of this.#oldSets(round)) await this.#scale(round, old, 0);
      return;
    }
    if (deployment.spec?.strategy?.type === "Recreate") return;
    const plan = new Map(planProportionalScale(limits, active.map(sizeOf)).map((step) => [step.name, step.replicas]));
    for (const set of active)
      await this.#scale(round, set, plan.get(set.metadata?.name as string) ?? set.spec?.replicas ?? 0);
  }

  /** Finds, brings up to date or (with `create`) makes the set of the present template. */
  async #ensureNewSet(round: Round, create: boolean): Promise<ReplicaSet | undefined> {
    const { deployment } = round;
    const existing = this.#newSet(round);
    const revision = maxRevision(this.#oldSets(round)) + 1;
    if (existing !== undefined) {
      const annotations = setAnnotations(
        deployment,
        existing,
        Math.max(revision, revisionOf(existing)),
        this.#sizes(round),
      );
      const minReadySeconds = deployment.spec?.minReadySeconds ?? 0;
      const isCurrent =
        sameValue(annotations, existing.metadata?.annotations ?? {}) &&
        (existing.spec?.minReadySeconds ?? 0) === minReadySeconds;
      const set = isCurrent
        ? existing
        : await this.#write(round, {
            ...existing,
            metadata: { ...existing.metadata, annotations },
            spec: { ...existing.spec, minReadySeconds } as NonNullable<ReplicaSet["spec"]>,
          });
      await this.#noteRevision(round, String(revisionOf(set)), set);
      return set;
    }
    return create ? this.#createSet(round, revision) : undefined;
  }

  async #createSet(round: Round, revision: number): Promise<ReplicaSet> {
    const { deployment, limits } = round;
    const template = deployment.spec?.template as NonNullable<Deployment["spec"]>["template"];
    const hash = templateHash(template, deployment.status?.collisionCount);
    const labels = { ...template.metadata?.labels, [templateHashLabel]: hash };
    const selector = deployment.spec?.selector as LabelSelectorObject;
    const set: ReplicaSet = {
      apiVersion: "apps/v1",
      kind: "ReplicaSet",
      metadata: {
        name: `${(deployment.metadata?.name ?? "").slice(0, 242)}-${hash}`,
        namespace: deployment.metadata?.namespace as string,
        labels,
        annotations: setAnnotations(deployment, undefined, revision, this.#sizes(round)),
        ownerReferences: [controllerReference(deployment, kind.apiVersion, kind.kind)],
      },
      spec: {
        replicas: newSetReplicas(limits, 0, round.sets.map(sizeOf)),
        minReadySeconds: deployment.spec?.minReadySeconds ?? 0,
        selector: { ...selector, matchLabels: { ...selector.matchLabels, [templateHashLabel]: hash } },
        template: { ...template, metadata: { ...template.metadata, labels } },
      },
    };
    let made: ReplicaSet;
    try {
      made = await this.#parts.client.create(replicaSets, set);
    } catch (error) {
      return this.#afterFailedCreate(round, set, error);
    }
    round.sets = [...round.sets, made];
    const replicas = made.spec?.replicas ?? 0;
    if (replicas > 0)
      this.#events.event(
        referenceTo(deployment, kind),
        "Normal",
        "ScalingReplicaSet",
        `Scaled up replica set ${made.metadata?.name} from 0 to ${replicas}`,
      );
    await this.#noteRevision(round, String(revision), made);
    return made;
  }

  /** A name that is taken is either our own set, which the informer has not seen yet, or a hash collision. */
  async #afterFailedCreate(round: Round, set: ReplicaSet, error: unknown): Promise<never> {
    const { deployment } = round;
    if (!hasCode(error, "already-exists")) {
      this.#events.event(
        referenceTo(deployment, kind),
        "Warning",
        "ReplicaSetCreateError",
        `Failed to create new replica set "${set.metadata?.name}": ${errorMessage(error)}`,
      );
      throw error;
    }
    const there = await this.#parts.client.get<ReplicaSet>(
      replicaSets,
      set.metadata?.namespace,
      set.metadata?.name as string,
    );
    const isOurs =
      controllerOf(there)?.uid === deployment.metadata?.uid &&
      sameTemplate(there.spec?.template, deployment.spec?.template);
    if (!isOurs) {
      const collisionCount = (deployment.status?.collisionCount ?? 0) + 1;
      await this.#parts.client.update(
        deployments,
        { ...deployment, status: { ...deployment.status, collisionCount } },
        { subresource: "status" },
      );
    }
    throw error;
  }

  /** The deployment carries the revision of its newest set, and a Progressing condition from the start. */
  async #noteRevision(round: Round, revision: string, set: ReplicaSet): Promise<void> {
    const { deployment } = round;
    if (deployment.metadata?.annotations?.[revisionAnnotation] !== revision) {
      const annotations = { ...deployment.metadata?.annotations, [revisionAnnotation]: revision };
      round.deployment = await this.#parts.client.update<Deployment>(deployments, {
        ...deployment,
        metadata: { ...deployment.metadata, annotations },
      });
    }
    if (
      deployment.spec?.progressDeadlineSeconds === undefined ||
      findCondition(round.deployment.status?.conditions, "Progressing") !== undefined
    )
      return;
    const conditions = withCondition(
      round.deployment.status?.conditions ?? [],
      {
        type: "Progressing",
        status: "True",
        reason: "NewReplicaSetCreated",
        message: `Created new replica set "${set.metadata?.name}"`,
      },
      this.#parts.clock,
    );
    round.deployment = await this.#parts.client.update<Deployment>(
      deployments,
      { ...round.deployment, status: { ...round.deployment.status, conditions } },
      { subresource: "status" },
    );
  }

  async #roll(round: Round): Promise<void> {
    const newest = (await this.#ensureNewSet(round, true)) as ReplicaSet;
    const byName = new Map(round.sets.map((set) => [set.metadata?.name as string, set]));
    for (const step of planRollingUpdate(round.limits, sizeOf(newest), this.#oldSets(round).map(sizeOf))) {
      await this.#scale(round, byName.get(step.name) as ReplicaSet, step.replicas);
    }
  }

  async #recreate(round: Round): Promise<void> {
    const old = this.#oldSets(round).filter((set) => (set.spec?.replicas ?? 0) > 0);
    for (const set of old) await this.#scale(round, set, 0);
    if (old.length > 0) return;
    const oldUids = new Set(this.#oldSets(round).map((set) => set.metadata?.uid));
    const stillThere = this.#pods
      .list(round.deployment.metadata?.namespace ?? "")
      .some(
        (pod) =>
          oldUids.has(controllerOf(pod)?.uid) && pod.status?.phase !== "Succeeded" && pod.status?.phase !== "Failed",
      );
    if (stillThere) return;
    const newest = (await this.#ensureNewSet(round, true)) as ReplicaSet;
    await this.#scale(round, newest, round.limits.replicas);
  }

  async #dropHistory(round: Round): Promise<void> {
    const limit = round.deployment.spec?.revisionHistoryLimit;
    if (limit === undefined || limit >= 2 ** 31 - 1) return;
    const old = this.#oldSets(round).filter((set) => set.metadata?.deletionTimestamp === undefined);
    const doomed = old
      .sort((left, right) => revisionOf(left) - revisionOf(right))
      .slice(0, Math.max(0, old.length - limit));
    for (const set of doomed) {
      const busy =
        (set.spec?.replicas ?? 0) > 0 ||
        (set.status?.replicas ?? 0) > 0 ||
        (set.metadata?.generation ?? 0) > (set.status?.observedGeneration ?? 0);
      if (busy) continue;
      await this.#parts.client
        .delete(replicaSets, set.metadata?.namespace, set.metadata?.name as string)
        .catch((error: unknown) => {
          if (!hasCode(error, "not-found")) throw error;
        });
    }
  }

  async #syncStatus(round: Round): Promise<ReconcileResult | void> {
    const { deployment, sets, limits } = round;
    const newSet = this.#newSet(round);
    const counts = deploymentCounts(deployment, sets, newSet);
    const input: ConditionInput = {
      deployment,
      counts,
      newSet,
      sets,
      minAvailable: limits.replicas - limits.maxUnavailable,
      clock: this.#parts.clock,
    };
    const status: DeploymentStatus = { ...counts, conditions: deploymentConditions(input) };
    const zero = {
      replicas: 0,
      updatedReplicas: 0,
      readyReplicas: 0,
      availableReplicas: 0,
      unavailableReplicas: 0,
      terminatingReplicas: 0,
      conditions: [],
    };
    let current = deployment;
    if (!sameValue({ ...zero, ...deployment.status }, status)) {
      current = await this.#parts.client.update<Deployment>(
        deployments,
        { ...deployment, status },
        { subresource: "status" },
      );
    }
    const left = untilDeadline(current, this.#parts.clock);
    if (left !== undefined && !isComplete(current, status)) return { requeueAfterMs: Math.max(left, 0) + 1000 };
  }
}

function sizeOf(set: ReplicaSet): SetSize {
  return {
    name: set.metadata?.name as string,
    replicas: set.spec?.replicas ?? 0,
    available: set.status?.availableReplicas ?? 0,
    created: set.metadata?.creationTimestamp ?? "",
    lastMax: Number(set.metadata?.annotations?.[maxReplicasAnnotation] ?? 0) || 0,
  };
}

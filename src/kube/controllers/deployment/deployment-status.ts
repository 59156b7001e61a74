import type { Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet } from "#api/kube/generated/types.ts";
import { type Clock } from "#base/clock.ts";
import { apiTime } from "../controller-parts.ts";

const sum = (sets: readonly ReplicaSet[], value: (set: ReplicaSet) => number | undefined): number =>
  sets.reduce((total, set) => total + (value(set) ?? 0), 0);

/** The counts of a deployment's status, without its conditions (deployment/sync.go, calculateStatus). */
export function deploymentCounts(
  deployment: Deployment,
  sets: readonly ReplicaSet[],
  newSet: ReplicaSet | undefined,
): DeploymentStatus {
  const replicas = sum(sets, (set) => set.status?.replicas);
  const available = sum(sets, (set) => set.status?.availableReplicas);
  return {
    observedGeneration: deployment.metadata?.generation ?? 0,
    replicas,
    updatedReplicas: newSet?.status?.replicas ?? 0,
    readyReplicas: sum(sets, (set) => set.status?.readyReplicas),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, sum(sets, (set) => set.spec?.replicas) - available),
    terminatingReplicas: sum(sets, (set) => set.status?.terminatingReplicas),
    ...(deployment.status?.collisionCount === undefined ? {} : { collisionCount: deployment.status.collisionCount }),
  } as DeploymentStatus;
}

export function findCondition(
  conditions: readonly DeploymentCondition[] | undefined,
  type: string,
): DeploymentCondition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

/** Puts a condition in; one that says the same with the same reason stays, and the time of the last change with it. */
export function withCondition(
  conditions: readonly DeploymentCondition[],
  next: Pick<DeploymentCondition, "type" | "status" | "reason" | "message">,
  clock: Clock,
): DeploymentCondition[] {
  const before = findCondition(conditions, next.type);
  if (before?.status === next.status && before.reason === next.reason) return [...conditions];
  const now = apiTime(clock);
  const condition: DeploymentCondition = {
    ...next,
    lastUpdateTime: now,
    lastTransitionTime: before?.status === next.status ? (before.lastTransitionTime ?? now) : now,
  };
  return [...conditions.filter((other) => other.type !== next.type), condition];
}

export function isComplete(deployment: Deployment, status: DeploymentStatus): boolean {
  const wanted = deployment.spec?.replicas ?? 1;
  return (
    status.updatedReplicas === wanted &&
    status.replicas === wanted &&
    status.availableReplicas === wanted &&
    (status.observedGeneration ?? 0) >= (deployment.metadata?.generation ?? 0)
  );
}

function isProgressing(before: DeploymentStatus | undefined, now: DeploymentStatus): boolean {
  const old = (status: DeploymentStatus | undefined): number =>
    (status?.replicas ?? 0) - (status?.updatedReplicas ?? 0);
  return (
    (now.updatedReplicas ?? 0) > (before?.updatedReplicas ?? 0) ||
    old(now) < old(before) ||
    (now.readyReplicas ?? 0) > (before?.readyReplicas ?? 0) ||
    (now.availableReplicas ?? 0) > (before?.availableReplicas ?? 0)
  );
}

export interface ConditionInput {
  deployment: Deployment;
  counts: DeploymentStatus;
  newSet: ReplicaSet | undefined;
  sets: readonly ReplicaSet[];
  minAvailable: number;
  clock: Clock;
}

const deadlineOf = (deployment: Deployment): number | undefined => deployment.spec?.progressDeadlineSeconds;

/** Milliseconds until the progress deadline is over, or undefined when none runs. */
export function untilDeadline(deployment: Deployment, clock: Clock): number | undefined {
  const deadline = deadlineOf(deployment);
  const progressing = findCondition(deployment.status?.conditions, "Progressing");
  if (
    deadline === undefined ||
    deadline >= 2 ** 31 - 1 ||
    deployment.spec?.paused === true ||
    progressing === undefined
  )
    return undefined;
  if (progressing.reason === "NewReplicaSetAvailable" || progressing.reason === "ProgressDeadlineExceeded")
    return undefined;
  return Date.parse(progressing.lastUpdateTime ?? "") + deadline * 1000 - clock.now();
}

/** Available, Progressing and ReplicaFailure, with upstream's reasons and messages (deployment/progress.go). */
export function deploymentConditions({
  deployment,
  counts,
  newSet,
  sets,
  minAvailable,
  clock,
}: ConditionInput): DeploymentCondition[] {
  let conditions: DeploymentCondition[] = [...(deployment.status?.conditions ?? [])];
  conditions = withCondition(
    conditions,
    (counts.availableReplicas ?? 0) >= minAvailable
      ? {
          type: "Available",
          status: "True",
          reason: "MinimumReplicasAvailable",
          message: "Deployment has minimum availability.",
        }
      : {
          type: "Available",
          status: "False",
          reason: "MinimumReplicasUnavailable",
          message: "Deployment does not have minimum availability.",
        },
    clock,
  );
  if (deadlineOf(deployment) !== undefined && deadlineOf(deployment) !== 2 ** 31 - 1)
    conditions = progressCondition(conditions, deployment, counts, newSet, clock);
  const failure = sets
    .flatMap((set) => set.status?.conditions ?? [])
    .find((condition) => condition.type === "ReplicaFailure");
  conditions =
    failure === undefined
      ? conditions.filter((condition) => condition.type !== "ReplicaFailure")
      : withCondition(
          conditions,
          {
            type: "ReplicaFailure",
            status: failure.status,
            reason: failure.reason ?? "",
            message: failure.message ?? "",
          },
          clock,
        );
  return conditions;
}

function progressCondition(
  conditions: DeploymentCondition[],
  deployment: Deployment,
  counts: DeploymentStatus,
  newSet: ReplicaSet | undefined,
  clock: Clock,
): DeploymentCondition[] {
  const current = findCondition(conditions, "Progressing");
  const isDone = counts.replicas === counts.updatedReplicas && current?.reason === "NewReplicaSetAvailable";
  if (isDone) return conditions;
  const what =
    newSet === undefined ? `Deployment "${deployment.metadata?.name}"` : `ReplicaSet "${newSet.metadata?.name}"`;
  if (isComplete(deployment, counts)) {
    return withCondition(
      conditions,
      {
        type: "Progressing",
        status: "True",
        reason: "NewReplicaSetAvailable",
        message: `${what} has successfully progressed.`,
      },
      clock,
    );
  }
  if (isProgressing(deployment.status, counts)) {
    const next = {
      type: "Progressing",
      status: "True",
      reason: "ReplicaSetUpdated",
      message: `${what} is progressing.`,
    };
    // Each sign of progress starts the deadline again, so the time must move even when nothing else does.
    const others = conditions.filter((condition) => condition.type !== "Progressing");
    const now = apiTime(clock);
    return [
      ...others,
      {
        ...next,
        lastUpdateTime: now,
        lastTransitionTime: current?.status === "True" ? (current.lastTransitionTime ?? now) : now,
      },
    ];
  }
  const left = untilDeadline(deployment, clock);
  if (left !== undefined && left <= 0) {
    return withCondition(
      conditions,
      {
        type: "Progressing",
        status: "False",
        reason: "ProgressDeadlineExceeded",
        message: `${what} has timed out progressing.`,
      },
      clock,
    );
  }
  return conditions;
}

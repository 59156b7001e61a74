import { GantryError } from "#base/errors.ts";

/** What the plan needs to know of a ReplicaSet. */
export interface SetSize {
  name: string;
  replicas: number;
  available: number;
  /** Oldest first decides ties. */
  created: string;
  /** `deployment.kubernetes.io/max-replicas` when it was last scaled; 0 when unknown. */
  lastMax: number;
}

export interface RollingLimits {
  replicas: number;
  maxSurge: number;
  maxUnavailable: number;
}

/** One change: this set to so many replicas. */
export interface ScaleStep {
  name: string;
  replicas: number;
}

function resolve(value: number | string, total: number, round: (value: number) => number): number {
  if (typeof value === "number") return value;
  const match = /^(\d+)%$/.exec(value);
  if (match === null) throw new GantryError("invalid", `"${value}" is neither a number nor a percentage.`);
  return round((Number(match[1]) * total) / 100);
}

/** Percentages to numbers: surge is rounded up, unavailability down, and both are never 0 (deploymentutil.ResolveFenceposts). */
export function rollingLimits(
  replicas: number,
  maxSurge: number | string = "25%",
  maxUnavailable: number | string = "25%",
): RollingLimits {
  const surge = resolve(maxSurge, replicas, Math.ceil);
  const unavailable = resolve(maxUnavailable, replicas, Math.floor);
  return {
    replicas,
    maxSurge: surge,
    maxUnavailable: surge === 0 && unavailable === 0 ? 1 : Math.min(unavailable, replicas),
  };
}

const sum = (sets: readonly SetSize[], value: (set: SetSize) => number): number =>
  sets.reduce((total, set) => total + value(set), 0);

/** How many replicas the newest set may have now without going over the surge. */
export function newSetReplicas(limits: RollingLimits, newReplicas: number, all: readonly SetSize[]): number {
  if (newReplicas > limits.replicas) return limits.replicas;
  const room = limits.replicas + limits.maxSurge - sum(all, (set) => set.replicas);
  if (room <= 0) return newReplicas;
  return newReplicas + Math.min(room, limits.replicas - newReplicas);
}

/**
 * One round of a rolling update: first the new set grows as far as the surge allows; when it cannot, old
 * sets shrink as far as availability allows, pods that are not available first (deployment/rolling.go).
 */
export function planRollingUpdate(limits: RollingLimits, newSet: SetSize, oldSets: readonly SetSize[]): ScaleStep[] {
  const all = [newSet, ...oldSets];
  const target = newSetReplicas(limits, newSet.replicas, all);
  if (target !== newSet.replicas) return [{ name: newSet.name, replicas: target }];

  const oldTotal = sum(oldSets, (set) => set.replicas);
  if (oldTotal === 0) return [];
  const minAvailable = limits.replicas - limits.maxUnavailable;
  const newUnavailable = newSet.replicas - newSet.available;
  let spare = sum(all, (set) => set.replicas) - minAvailable - newUnavailable;
  if (spare <= 0) return [];

  const sizes = new Map(oldSets.map((set) => [set.name, set.replicas]));
  const ordered = [...oldSets].sort((left, right) =>
    left.created < right.created ? -1 : left.created > right.created ? 1 : left.name < right.name ? -1 : 1,
  );
  for (const set of ordered) {
    const unhealthy = Math.min(spare, set.replicas - set.available);
    if (unhealthy <= 0) continue;
    sizes.set(set.name, set.replicas - unhealthy);
    spare -= unhealthy;
  }
  let healthySpare = sum(all, (set) => set.available) - minAvailable;
  for (const set of ordered) {
    const size = sizes.get(set.name) as number;
    const down = Math.min(healthySpare, size);
    if (down <= 0) continue;
    sizes.set(set.name, size - down);
    healthySpare -= down;
  }
  return ordered
    .filter((set) => sizes.get(set.name) !== set.replicas)
    .map((set) => ({ name: set.name, replicas: sizes.get(set.name) as number }));
}

/**
 * A deployment that was resized in the middle of a rollout: the difference is shared out over its sets by
 * their size, the largest first (deployment/sync.go, scale).
 */
export function planProportionalScale(limits: RollingLimits, active: readonly SetSize[]): ScaleStep[] {
  const total = sum(active, (set) => set.replicas);
  const allowed = limits.replicas > 0 ? limits.replicas + limits.maxSurge : 0;
  const difference = allowed - total;
  const newestFirst = (left: SetSize, right: SetSize): number => (left.created > right.created ? -1 : 1);
  const oldestFirst = (left: SetSize, right: SetSize): number => (left.created < right.created ? -1 : 1);
  const ordered = [...active].sort(
    (left, right) => right.replicas - left.replicas || (difference > 0 ? newestFirst : oldestFirst)(left, right),
  );
  const sizes = new Map<string, number>();
  let added = 0;
  for (const set of ordered) {
    if (difference === 0) {
      sizes.set(set.name, set.replicas);
      continue;
    }
    const share = shareOf(set, limits, difference, added);
    sizes.set(set.name, set.replicas + share);
    added += share;
  }
  const largest = ordered[0];
  if (largest !== undefined && difference !== 0) {
    sizes.set(largest.name, Math.max(0, (sizes.get(largest.name) as number) + difference - added));
  }
  return ordered
    .filter((set) => sizes.get(set.name) !== set.replicas)
    .map((set) => ({ name: set.name, replicas: sizes.get(set.name) as number }));
}

function shareOf(set: SetSize, limits: RollingLimits, difference: number, added: number): number {
  if (set.replicas === 0) return 0;
  if (limits.replicas === 0) return -set.replicas;
  const before = set.lastMax > 0 ? set.lastMax : limits.replicas;
  const grown = Math.round((set.replicas * (limits.replicas + limits.maxSurge)) / before);
  const fraction = grown - set.replicas;
  const left = difference - added;
  return difference > 0 ? Math.min(fraction, left) : Math.max(fraction, left);
}

import { createHash } from "node:crypto";
import type { Deployment, PodTemplateSpec, ReplicaSet } from "#api/kube/generated/types.ts";
import { safeEncode } from "#base/ids.ts";
import { sameValue } from "../controller-parts.ts";

export const revisionAnnotation = "deployment.kubernetes.io/revision";
export const revisionHistoryAnnotation = "deployment.kubernetes.io/revision-history";
export const desiredReplicasAnnotation = "deployment.kubernetes.io/desired-replicas";
export const maxReplicasAnnotation = "deployment.kubernetes.io/max-replicas";
export const templateHashLabel = "pod-template-hash";
const ownAnnotations = new Set([
  "kubectl.kubernetes.io/last-applied-configuration",
  revisionAnnotation,
  revisionHistoryAnnotation,
  desiredReplicasAnnotation,
  maxReplicasAnnotation,
  "deprecated.deployment.rollback.to",
]);

/** JSON with sorted keys: the same value gives the same text. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    return `{${entries
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`)
      .join(",")}}`;
  }
  return JSON.stringify(value) ?? "null";
}

/** The value of `pod-template-hash`: stable for a template, different after a collision. */
export function templateHash(template: PodTemplateSpec, collisionCount: number | undefined): string {
  const hash = createHash("sha256").update(canonical(template));
  if (collisionCount !== undefined) hash.update(String(collisionCount));
  return safeEncode(String(hash.digest().readUInt32BE(0)));
}

function withoutHash(template: PodTemplateSpec | undefined): unknown {
  const labels = { ...template?.metadata?.labels };
  delete labels[templateHashLabel];
  // An absent and an empty map of labels mean the same.
  return { ...template, metadata: { ...template?.metadata, labels } };
}

export function sameTemplate(left: PodTemplateSpec | undefined, right: PodTemplateSpec | undefined): boolean {
  return sameValue(withoutHash(left), withoutHash(right));
}

export function byCreation(left: ReplicaSet, right: ReplicaSet): number {
  const a = left.metadata?.creationTimestamp ?? "";
  const b = right.metadata?.creationTimestamp ?? "";
  if (a !== b) return a < b ? -1 : 1;
  return (left.metadata?.name ?? "") < (right.metadata?.name ?? "") ? -1 : 1;
}

/** The oldest set with the deployment's present template, or undefined. */
export function findNewSet(deployment: Deployment, sets: readonly ReplicaSet[]): ReplicaSet | undefined {
  return [...sets].sort(byCreation).find((set) => sameTemplate(set.spec?.template, deployment.spec?.template));
}

export function revisionOf(set: ReplicaSet | Deployment | undefined): number {
  return Number(set?.metadata?.annotations?.[revisionAnnotation] ?? 0) || 0;
}

export function maxRevision(sets: readonly ReplicaSet[]): number {
  return Math.max(0, ...sets.map(revisionOf));
}

/**
 * The annotations that the newest set should carry: the deployment's own, its revision (with the history of
 * those it had before, after a rollback) and its sizes.
 */
export function setAnnotations(
  deployment: Deployment,
  set: ReplicaSet | undefined,
  revision: number,
  sizes: { desired: number; max: number },
): Record<string, string> {
  const annotations: Record<string, string> = { ...set?.metadata?.annotations };
  for (const [name, value] of Object.entries(deployment.metadata?.annotations ?? {})) {
    if (!ownAnnotations.has(name)) annotations[name] = value;
  }
  const before = revisionOf(set);
  if (before < revision) {
    if (before > 0) {
      const history = annotations[revisionHistoryAnnotation];
      annotations[revisionHistoryAnnotation] = history === undefined ? String(before) : `${history},${before}`;
    }
    annotations[revisionAnnotation] = String(revision);
  }
  annotations[desiredReplicasAnnotation] = String(sizes.desired);
  annotations[maxReplicasAnnotation] = String(sizes.max);
  return annotations;
}

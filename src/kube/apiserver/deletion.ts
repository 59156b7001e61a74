import type { KubeObject, ObjectMeta } from "#api/kube/object.ts";
import { badRequest, conflict } from "./api-error.ts";
import type { ResourceHandle } from "./resource-type.ts";

export interface DeleteOptions {
  gracePeriodSeconds?: number;
  propagationPolicy?: string;
  orphanDependents?: boolean;
  preconditions?: { uid?: string; resourceVersion?: string };
  dryRun?: string[];
}

const orphan = "orphan";
const foreground = "foregroundDeletion";

/** Checks what the options say about themselves. Throws 400/409. */
export function checkDeleteOptions(options: DeleteOptions): void {
  const { propagationPolicy: policy, orphanDependents, gracePeriodSeconds: grace } = options;
  if (policy !== undefined && orphanDependents !== undefined)
    throw badRequest("orphanDependents and deletionPropagation cannot be both set");
  if (policy !== undefined && policy !== "Orphan" && policy !== "Background" && policy !== "Foreground")
    throw badRequest(
      `DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: ${JSON.stringify(policy)}: supported values: "Foreground", "Background", "Orphan"`,
    );
  if (grace !== undefined && !Number.isInteger(grace)) throw badRequest("gracePeriodSeconds must be a whole number");
}

/** Throws 409 when the object is not the one that the client means. */
export function checkPreconditions(handle: ResourceHandle, object: KubeObject, options: DeleteOptions): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  const meta = object.metadata as ObjectMeta;
  if (uid !== undefined && uid !== meta.uid)
    throw conflict(
      handle.type,
      meta.name ?? "",
      `the UID in the precondition (${uid}) does not match the UID in record (${meta.uid}). The object might have been deleted and then recreated`,
    );
  if (resourceVersion !== undefined && resourceVersion !== meta.resourceVersion)
    throw conflict(
      handle.type,
      meta.name ?? "",
      `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${meta.resourceVersion}). The object might have been modified`,
    );
}

/** The finalizers after a deletion was asked for: those of garbage collection follow from the policy. */
export function finalizersFor(object: KubeObject, options: DeleteOptions): string[] {
  const have = object.metadata?.finalizers ?? [];
  const { propagationPolicy: policy, orphanDependents } = options;
  let wants: string | undefined;
  if (policy === "Orphan" || orphanDependents === true) wants = orphan;
  else if (policy === "Foreground") wants = foreground;
  else if (policy === undefined && orphanDependents === undefined)
    wants = have.includes(orphan) ? orphan : have.includes(foreground) ? foreground : undefined;
  const others = have.filter((finalizer) => finalizer !== orphan && finalizer !== foreground);
  return wants === undefined ? others : [...others, wants];
}

/** True when an update leaves nothing that holds a deletion which is under way. */
export function readyToRemove(handle: ResourceHandle, object: KubeObject): boolean {
  const meta = object.metadata as ObjectMeta;
  return (
    meta.deletionTimestamp !== undefined &&
    (meta.finalizers?.length ?? 0) === 0 &&
    (meta.deletionGracePeriodSeconds ?? 0) === 0 &&
    !(handle.strategy.holdsDeletion?.(object) ?? false)
  );
}

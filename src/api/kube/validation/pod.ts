import type { Container, Pod, PodSpec, Toleration } from "../generated/types.ts";
import { inclusiveRange } from "./names.ts";
import { validatePodSpec } from "./pod-spec.ts";
import type { Problems } from "./problems.ts";
import { sameJson } from "./same-json.ts";

const updatable =
  "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/** A token needs an account. */
function checkTokens(problems: Problems, spec: PodSpec): void {
  if (spec.serviceAccountName) return;
  for (const [at, volume] of (spec.volumes ?? []).entries())
    for (const [index, source] of (volume.projected?.sources ?? []).entries())
      if (source.serviceAccountToken !== undefined)
        problems.forbidden(
          `spec.volumes[${at}].projected.sources[${index}].serviceAccountToken`,
          "must not be specified when serviceAccountName is not set",
        );
}

export function validatePodCreate(problems: Problems, pod: Pod): void {
  const spec = pod.spec ?? ({} as PodSpec);
  validatePodSpec(problems, "spec", spec);
  checkTokens(problems, spec);
  if ((spec.ephemeralContainers ?? []).length > 0)
    problems.forbidden("spec.ephemeralContainers", "cannot be set on create");
  if (spec.nodeName && (spec.schedulingGates ?? []).length > 0)
    problems.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared");
}

function withOldImages(now: readonly Container[] | undefined, old: readonly Container[] | undefined): Container[] {
  return (now ?? []).map((container, at) => ({ ...container, image: old?.[at]?.image ?? "" }));
}

function onlyAdded(
  problems: Problems,
  now: readonly Toleration[] | undefined,
  old: readonly Toleration[] | undefined,
): void {
  for (const toleration of old ?? []) {
    const kept = (now ?? []).some((each) =>
      sameJson({ ...each, tolerationSeconds: undefined }, { ...toleration, tolerationSeconds: undefined }),
    );
    if (kept) continue;
    problems.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds");
    return;
  }
}

/** A text of what differs, for the end of the message. */
function differences(old: PodSpec, now: PodSpec): string {
  const before = old as unknown as Record<string, unknown>;
  const after = now as unknown as Record<string, unknown>;
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((name) => !sameJson(before[name], after[name]))
    .toSorted();
  return names
    .map(
      (name) =>
        `- ${name}: ${JSON.stringify(before[name] ?? null)}\n+ ${name}: ${JSON.stringify(after[name] ?? null)}\n`,
    )
    .join("");
}

/** Changes of a pod through its main resource (upstream's ValidatePodUpdate). */
export function validatePodUpdate(problems: Problems, pod: Pod, old: Pod): void {
  const spec = pod.spec ?? ({} as PodSpec);
  const before = old.spec ?? ({} as PodSpec);
  validatePodSpec(problems, "spec", spec);
  checkTokens(problems, spec);
  for (const list of ["containers", "initContainers"] as const) {
    const now = spec[list] ?? [];
    if (now.length !== (before[list] ?? []).length) {
      problems.forbidden(`spec.${list}`, "pod updates may not add or remove containers");
      return;
    }
    for (const [at, container] of now.entries())
      if (!container.image?.trim()) problems.required(`spec.${list}[${at}].image`);
  }
  const deadline = spec.activeDeadlineSeconds;
  const oldDeadline = before.activeDeadlineSeconds;
  if (deadline !== undefined) {
    if (deadline < 0 || deadline > 2147483647)
      return problems.invalid("spec.activeDeadlineSeconds", deadline, inclusiveRange(0, 2147483647));
    if (oldDeadline !== undefined && oldDeadline < deadline)
      return problems.invalid("spec.activeDeadlineSeconds", deadline, "must be less than or equal to previous value");
  } else if (oldDeadline !== undefined)
    problems.invalid("spec.activeDeadlineSeconds", null, "must not update from a positive integer to nil value");
  onlyAdded(problems, spec.tolerations, before.tolerations);
  const gates = new Set((before.schedulingGates ?? []).map(({ name }) => name));
  for (const [at, gate] of (spec.schedulingGates ?? []).entries())
    if (!gates.has(gate.name))
      problems.forbidden(
        `spec.schedulingGates[${at}].name`,
        "only deletion is allowed, but found new scheduling gate '" + gate.name + "'",
      );
  const comparable: PodSpec = {
    ...spec,
    containers: withOldImages(spec.containers, before.containers),
    initContainers: withOldImages(spec.initContainers, before.initContainers),
    tolerations: before.tolerations ?? [],
    schedulingGates: before.schedulingGates ?? [],
  };
  if (oldDeadline === undefined) delete comparable.activeDeadlineSeconds;
  else comparable.activeDeadlineSeconds = oldDeadline;
  if ((before.terminationGracePeriodSeconds ?? 0) < 0 && spec.terminationGracePeriodSeconds === 1)
    comparable.terminationGracePeriodSeconds = before.terminationGracePeriodSeconds as number;
  if (gates.size > 0) {
    if (before.nodeSelector === undefined) delete comparable.nodeSelector;
    else comparable.nodeSelector = before.nodeSelector;
    for (const key in before.nodeSelector)
      if (spec.nodeSelector?.[key] !== before.nodeSelector[key]) {
        problems.invalid(
          "spec.nodeSelector",
          spec.nodeSelector ?? null,
          "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
        );
        break;
      }
  }
  if (!sameJson(comparable, before))
    problems.forbidden(
      "spec",
      `pod updates may not change fields other than ${updatable}\n${differences(before, comparable)}`,
    );
}

import { labelSelectorOf, matchesLabels } from "#base/label-selector.ts";
import type {
  CronJob,
  DaemonSet,
  Deployment,
  Job,
  LabelSelector,
  PodSpec,
  PodTemplateSpec,
  ReplicaSet,
  ReplicationController,
  StatefulSet,
} from "../generated/types.ts";
import { dnsSubdomain, percent } from "./names.ts";
import { validateClaimSpec } from "./other-kinds.ts";
import { validatePodTemplate } from "./pod-spec.ts";
import { Problems } from "./problems.ts";
import { sameJson } from "./same-json.ts";
import { isEmptySelector, validateSelector } from "./selector.ts";

function validateTemplate(
  problems: Problems,
  field: string,
  template: PodTemplateSpec | undefined,
  selector: LabelSelector | undefined,
  owner: string,
): void {
  const labels = template?.metadata?.labels;
  if (selector !== undefined && !isSound(selector)) {
    // DaemonSets look at their template all the same.
    if (owner !== "DaemonSet")
      return problems.invalid("spec.selector", selector, owner === "StatefulSet" ? "" : "invalid label selector");
    selector = undefined;
  } else if (selector === undefined || (!isEmptySelector(selector) && !matches(selector, labels)))
    problems.invalid(`${field}.metadata.labels`, labels ?? null, "`selector` does not match template `labels`");
  validatePodTemplate(problems, field, template ?? {});
  const spec = template?.spec ?? ({} as PodSpec);
  if (spec.restartPolicy !== undefined && spec.restartPolicy !== "Always")
    problems.notSupported(`${field}.spec.restartPolicy`, spec.restartPolicy, ["Always"]);
  if (spec.activeDeadlineSeconds !== undefined)
    problems.forbidden(`${field}.spec.activeDeadlineSeconds`, `activeDeadlineSeconds in ${owner} is not Supported`);
}

function isSound(selector: LabelSelector): boolean {
  const found = new Problems();
  validateSelector(found, "", selector);
  return found.list.length === 0;
}

function matches(selector: LabelSelector, labels: Record<string, string> | undefined): boolean {
  try {
    return matchesLabels(labelSelectorOf(selector as Parameters<typeof labelSelectorOf>[0]), labels ?? {});
  } catch {
    // The selector itself is wrong, which has its own problem.
    return true;
  }
}

function requiredSelector(problems: Problems, field: string, selector: LabelSelector | undefined, owner: string): void {
  if (selector === undefined) return problems.required(field);
  validateSelector(problems, field, selector);
  if (isEmptySelector(selector)) problems.invalid(field, selector, `empty selector is invalid for ${owner}`);
}

const isPercent = (value: number | string | undefined): value is string => typeof value === "string";
const amount = (value: number | string | undefined): number =>
  isPercent(value) ? Number.parseInt(value, 10) || 0 : (value ?? 0);

function intOrPercent(problems: Problems, field: string, value: number | string | undefined): void {
  if (isPercent(value)) problems.invalidEach(field, value, percent(value));
  else problems.nonNegative(field, value);
}

/** A strategy as upstream prints it: its internal form has Go's names. */
function goStrategy(
  strategy: { type?: string; rollingUpdate?: { maxUnavailable?: unknown; maxSurge?: unknown } } | undefined,
): object {
  const { type = "", rollingUpdate } = strategy ?? {};
  if (rollingUpdate === undefined) return { Type: type, RollingUpdate: null };
  return {
    Type: type,
    RollingUpdate: { MaxUnavailable: rollingUpdate.maxUnavailable ?? 0, MaxSurge: rollingUpdate.maxSurge ?? 0 },
  };
}

export function validateDeployment(problems: Problems, { spec }: Deployment, old: Deployment | undefined): void {
  if (spec === undefined) return problems.required("spec");
  problems.nonNegative("spec.replicas", spec.replicas);
  requiredSelector(problems, "spec.selector", spec.selector, "deployment");
  validateTemplate(problems, "spec.template", spec.template, spec.selector, "ReplicaSet");
  const { strategy } = spec;
  const rolling = strategy?.rollingUpdate;
  if (strategy?.type === "Recreate") {
    if (rolling !== undefined)
      problems.forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'");
  } else if (strategy?.type === "RollingUpdate" && rolling !== undefined) {
    const here = "spec.strategy.rollingUpdate";
    intOrPercent(problems, `${here}.maxUnavailable`, rolling.maxUnavailable);
    intOrPercent(problems, `${here}.maxSurge`, rolling.maxSurge);
    if (amount(rolling.maxUnavailable) === 0 && amount(rolling.maxSurge) === 0)
      problems.invalid(`${here}.maxUnavailable`, rolling.maxUnavailable, "may not be 0 when `maxSurge` is 0");
    if (isPercent(rolling.maxUnavailable) && amount(rolling.maxUnavailable) > 100)
      problems.invalid(`${here}.maxUnavailable`, rolling.maxUnavailable, "must not be greater than 100%");
  } else if (strategy?.type !== "RollingUpdate")
    problems.notSupported("spec.strategy", goStrategy(strategy), ["Recreate", "RollingUpdate"]);
  problems.nonNegative("spec.minReadySeconds", spec.minReadySeconds);
  problems.nonNegative("spec.revisionHistoryLimit", spec.revisionHistoryLimit);
  const progress = spec.progressDeadlineSeconds;
  problems.nonNegative("spec.progressDeadlineSeconds", progress);
  if (progress !== undefined && progress <= (spec.minReadySeconds ?? 0))
    problems.invalid("spec.progressDeadlineSeconds", progress, "must be greater than minReadySeconds");
  immutableSelector(problems, spec.selector, old?.spec?.selector, old !== undefined);
}

function immutableSelector(
  problems: Problems,
  now: LabelSelector | undefined,
  old: LabelSelector | undefined,
  isUpdate: boolean,
): void {
  if (isUpdate && !sameJson(now, old)) problems.invalid("spec.selector", now ?? null, "field is immutable");
}

export function validateReplicaSet(problems: Problems, { spec }: ReplicaSet, old: ReplicaSet | undefined): void {
  if (spec === undefined) return problems.required("spec");
  problems.nonNegative("spec.replicas", spec.replicas);
  problems.nonNegative("spec.minReadySeconds", spec.minReadySeconds);
  requiredSelector(problems, "spec.selector", spec.selector, "deployment");
  validateTemplate(problems, "spec.template", spec.template, spec.selector, "ReplicaSet");
  immutableSelector(problems, spec.selector, old?.spec?.selector, old !== undefined);
}

export function validateReplicationController(problems: Problems, { spec }: ReplicationController): void {
  problems.nonNegative("spec.replicas", spec?.replicas);
  problems.nonNegative("spec.minReadySeconds", spec?.minReadySeconds);
  const selector = spec?.selector ?? {};
  if (Object.keys(selector).length === 0) problems.required("spec.selector");
  if (spec?.template === undefined) return problems.required("spec.template");
  validateTemplate(problems, "spec.template", spec.template, { matchLabels: selector }, "ReplicationController");
}

const setFields = [
  "replicas",
  "template",
  "updateStrategy",
  "minReadySeconds",
  "ordinals",
  "revisionHistoryLimit",
  "persistentVolumeClaimRetentionPolicy",
] as const;

export function validateStatefulSet(problems: Problems, { spec }: StatefulSet, old: StatefulSet | undefined): void {
  if (spec === undefined) return problems.required("spec");
  problems.nonNegative("spec.replicas", spec.replicas);
  problems.nonNegative("spec.minReadySeconds", spec.minReadySeconds);
  problems.nonNegative("spec.ordinals.start", spec.ordinals?.start);
  problems.nonNegative("spec.updateStrategy.rollingUpdate.partition", spec.updateStrategy?.rollingUpdate?.partition);
  if (old === undefined && spec.serviceName)
    problems.invalidEach("spec.serviceName", spec.serviceName, dnsSubdomain(spec.serviceName));
  requiredSelector(problems, "spec.selector", spec.selector, "statefulset");
  if (old === undefined)
    for (const [at, claim] of (spec.volumeClaimTemplates ?? []).entries())
      validateClaimSpec(problems, `spec.volumeClaimTemplates[${at}].spec`, claim.spec);
  // The volumes of its claims are there for its containers.
  const claimNames = new Set((spec.volumeClaimTemplates ?? []).map(({ metadata }) => metadata?.name ?? ""));
  const claims = [...claimNames].map((name) => ({ name, persistentVolumeClaim: { claimName: name } }));
  const own = (spec.template?.spec?.volumes ?? []).filter(({ name }) => !claimNames.has(name));
  const template = {
    ...spec.template,
    spec: { ...(spec.template?.spec ?? ({} as PodSpec)), volumes: [...claims, ...own] },
  };
  validateTemplate(problems, "spec.template", template, spec.selector, "StatefulSet");
  if (old?.spec === undefined) return;
  const comparable = { ...spec } as Record<string, unknown>;
  for (const name of setFields) comparable[name] = old.spec[name];
  if (!sameJson(comparable, old.spec))
    problems.forbidden(
      "spec",
      "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
    );
}

export function validateDaemonSet(problems: Problems, { spec }: DaemonSet, old: DaemonSet | undefined): void {
  if (spec === undefined) return problems.required("spec");
  if (spec.selector !== undefined) requiredSelector(problems, "spec.selector", spec.selector, "daemonset");
  validateTemplate(problems, "spec.template", spec.template, spec.selector, "DaemonSet");
  problems.nonNegative("spec.minReadySeconds", spec.minReadySeconds);
  problems.nonNegative("spec.revisionHistoryLimit", spec.revisionHistoryLimit);
  const rolling = spec.updateStrategy?.rollingUpdate;
  if (spec.updateStrategy?.type !== "RollingUpdate" && spec.updateStrategy?.type !== "OnDelete")
    problems.notSupported("spec.updateStrategy", goStrategy(spec.updateStrategy), ["RollingUpdate", "OnDelete"]);
  if (spec.updateStrategy?.type === "RollingUpdate" && rolling !== undefined) {
    const here = "spec.updateStrategy.rollingUpdate";
    intOrPercent(problems, `${here}.maxUnavailable`, rolling.maxUnavailable);
    intOrPercent(problems, `${here}.maxSurge`, rolling.maxSurge);
    if (amount(rolling.maxUnavailable) === 0 && amount(rolling.maxSurge) === 0)
      problems.required(`${here}.maxUnavailable`, "cannot be 0 when maxSurge is 0");
  }
  immutableSelector(problems, spec.selector, old?.spec?.selector, old !== undefined);
}

function validateJobSpec(problems: Problems, field: string, spec: NonNullable<Job["spec"]>): void {
  for (const name of [
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
  ] as const)
    problems.nonNegative(`${field}.${name}`, spec[name]);
  if (spec.completionMode === "Indexed" && spec.completions === undefined)
    problems.required(`${field}.completions`, "when completion mode is Indexed");
  validatePodTemplate(problems, `${field}.template`, spec.template ?? {});
  const policy = spec.template?.spec?.restartPolicy;
  if (policy === "Always")
    problems.required(`${field}.template.spec.restartPolicy`, 'valid values: "OnFailure", "Never"');
  if (spec.podFailurePolicy !== undefined && policy !== "Never")
    problems.invalid(
      `${field}.template.spec.restartPolicy`,
      policy,
      'only "Never" is supported when podFailurePolicy is specified',
    );
}

export function validateJob(problems: Problems, { spec }: Job, old: Job | undefined): void {
  if (spec === undefined) return problems.required("spec");
  validateJobSpec(problems, "spec", spec);
  if (spec.selector !== undefined) validateSelector(problems, "spec.selector", spec.selector);
  if (spec.selector !== undefined && !matches(spec.selector, spec.template?.metadata?.labels))
    problems.invalid(
      "spec.template.metadata.labels",
      spec.template?.metadata?.labels ?? null,
      "`selector` does not match template `labels`",
    );
  if (old?.spec === undefined) return;
  for (const name of ["selector", "completionMode", "backoffLimitPerIndex", "podFailurePolicy", "managedBy"] as const)
    if (!sameJson(spec[name], old.spec[name]))
      problems.invalid(`spec.${name}`, spec[name] ?? null, "field is immutable");
  if (
    spec.completions !== old.spec.completions &&
    !(spec.completionMode === "Indexed" && spec.completions === spec.parallelism)
  )
    problems.invalid("spec.completions", spec.completions ?? null, "field is immutable");
  const suspended = old.spec.suspend === true;
  if (!suspended && !sameJson(spec.template, old.spec.template))
    problems.invalid("spec.template", spec.template ?? null, "field is immutable");
}

/** A macro or five fields; the controller's own parser knows more. */
function looksLikeCron(schedule: string): boolean {
  if (/^@(?:yearly|annually|monthly|weekly|daily|midnight|hourly)$/.test(schedule) || /^@every \S+$/.test(schedule))
    return true;
  const fields = schedule.trim().split(/\s+/);
  return fields.length === 5 && fields.every((field) => /^[\d*?,/\-A-Za-z]+$/.test(field));
}

export function validateCronJob(problems: Problems, { spec, metadata }: CronJob, old: CronJob | undefined): void {
  if (spec === undefined) return problems.required("spec");
  if (old === undefined && (metadata?.name ?? "").length > 52)
    problems.invalid("metadata.name", metadata?.name, "must be no more than 52 characters");
  if (!spec.schedule) problems.required("spec.schedule");
  else {
    if (!looksLikeCron(spec.schedule))
      problems.invalid(
        "spec.schedule",
        spec.schedule,
        `expected exactly 5 fields, found ${spec.schedule.trim().split(/\s+/).length}: [${spec.schedule.trim()}]`,
      );
    if (/^(?:TZ|CRON_TZ)=/.test(spec.schedule))
      problems.invalid(
        "spec.schedule",
        spec.schedule,
        "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
      );
  }
  for (const name of ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] as const)
    problems.nonNegative(`spec.${name}`, spec[name]);
  if (spec.timeZone !== undefined && !isTimeZone(spec.timeZone))
    problems.invalid("spec.timeZone", spec.timeZone, `unknown time zone ${spec.timeZone}`);
  if (spec.jobTemplate?.spec !== undefined) validateJobSpec(problems, "spec.jobTemplate.spec", spec.jobTemplate.spec);
}

function isTimeZone(name: string): boolean {
  try {
    return (
      name !== "" &&
      name.toLowerCase() !== "local" &&
      new Intl.DateTimeFormat("en", { timeZone: name }).format(0) !== ""
    );
  } catch {
    return false;
  }
}

import type { KubeObject } from "../object.ts";
import type { ObjectSchema, SchemaType } from "../schema.ts";
import { scheme } from "../scheme.ts";
import { validateConfigMap, validateNamespace, validateNode, validateSecret } from "./data-kinds.ts";
import { validateObjectMeta } from "./object-meta.ts";
import {
  validateAutoscaler,
  validateBudget,
  validateClaim,
  validateIngress,
  validateNetworkPolicy,
  validatePriorityClass,
  validateRole,
  validateRoleBinding,
  validateStorageClass,
  validateVolume,
} from "./other-kinds.ts";
import { validatePodCreate, validatePodUpdate } from "./pod.ts";
import { type FieldProblem, Problems } from "./problems.ts";
import { validateService } from "./service.ts";
import {
  validateCronJob,
  validateDaemonSet,
  validateDeployment,
  validateJob,
  validateReplicaSet,
  validateReplicationController,
  validateStatefulSet,
} from "./workloads.ts";

export type { FieldProblem } from "./problems.ts";

type Rule = (problems: Problems, object: never, old: never) => void;

const rules: Record<string, Rule> = {
  "/ConfigMap": validateConfigMap,
  "/Secret": validateSecret,
  "/Namespace": validateNamespace,
  "/Node": validateNode,
  "/Service": validateService,
  "/PersistentVolume": validateVolume,
  "/PersistentVolumeClaim": validateClaim,
  "/ReplicationController": validateReplicationController,
  "apps/Deployment": validateDeployment,
  "apps/ReplicaSet": validateReplicaSet,
  "apps/StatefulSet": validateStatefulSet,
  "apps/DaemonSet": validateDaemonSet,
  "batch/Job": validateJob,
  "batch/CronJob": validateCronJob,
  "rbac.authorization.k8s.io/Role": validateRole,
  "rbac.authorization.k8s.io/ClusterRole": validateRole,
  "rbac.authorization.k8s.io/RoleBinding": validateRoleBinding,
  "rbac.authorization.k8s.io/ClusterRoleBinding": validateRoleBinding,
  "networking.k8s.io/Ingress": validateIngress,
  "networking.k8s.io/NetworkPolicy": validateNetworkPolicy,
  "storage.k8s.io/StorageClass": validateStorageClass,
  "policy/PodDisruptionBudget": validateBudget,
  "autoscaling/HorizontalPodAutoscaler": validateAutoscaler,
  "scheduling.k8s.io/PriorityClass": validatePriorityClass,
};

/** Which types hold an enumeration somewhere, so that the others are not walked. */
const holdsEnums = new Map<ObjectSchema, boolean>();

function hasEnum(type: SchemaType): boolean {
  switch (type.kind) {
    case "string":
      return type.enum !== undefined;
    case "list":
      return hasEnum(type.items);
    case "map":
      return hasEnum(type.values);
    case "object": {
      const known = holdsEnums.get(type.object);
      if (known !== undefined) return known;
      // A type that names itself is walked when anything else in it says so.
      holdsEnums.set(type.object, false);
      const result = [...type.object.fields.values()].some((field) => hasEnum(field.type));
      holdsEnums.set(type.object, result);
      return result;
    }
    default:
      return false;
  }
}

/** Enumerations whose rules are told in words of their own. */
const ownWords = new Set([
  "v1.NodeSelectorOperator",
  "v1.TolerationOperator",
  "v1.TaintEffect",
  "v1.DeploymentStrategyType",
  "v1.DaemonSetUpdateStrategyType",
  "v1.PersistentVolumeAccessMode",
  "v1.RestartPolicy",
  "v1.DNSPolicy",
]);

function checkEnums(problems: Problems, field: string, value: unknown, type: SchemaType): void {
  if (value === undefined || value === null || !hasEnum(type)) return;
  if (type.kind === "string") {
    if (value !== "" && !ownWords.has(type.go) && type.enum?.includes(value as string) === false)
      problems.notSupported(
        field,
        value,
        type.enum.filter((each) => each !== ""),
      );
  } else if (type.kind === "list") {
    if (Array.isArray(value))
      for (const [at, item] of value.entries()) checkEnums(problems, `${field}[${at}]`, item, type.items);
  } else if (type.kind === "map") {
    for (const key in value as object)
      checkEnums(problems, `${field}[${key}]`, (value as Record<string, unknown>)[key], type.values);
  } else if (type.kind === "object") {
    for (const [name, child] of type.object.fields)
      checkEnums(
        problems,
        field === "" ? name : `${field}.${name}`,
        (value as Record<string, unknown>)[name],
        child.type,
      );
  }
}

/**
 * What is wrong with a new (`old` undefined) or changed object of a built-in kind, after defaulting: its
 * metadata, its enumerations, and the rules of its kind. `subresource` is what a change came through.
 */
export function validateKind(object: KubeObject, old: KubeObject | undefined, subresource = ""): FieldProblem[] {
  const { apiVersion = "", kind = "" } = object;
  const slash = apiVersion.indexOf("/");
  const group = slash === -1 ? "" : apiVersion.slice(0, slash);
  const problems = new Problems();
  validateObjectMeta(problems, group, kind, object, old);
  const schema = scheme.kind(group, apiVersion.slice(slash + 1), kind);
  if (schema === undefined || subresource === "status") return problems.list;
  for (const [name, field] of schema.fields)
    if (name !== "metadata" && name !== "status")
      checkEnums(problems, name, (object as Record<string, unknown>)[name], field.type);
  if (group === "" && kind === "Pod") {
    if (old === undefined) validatePodCreate(problems, object);
    else if (subresource === "") validatePodUpdate(problems, object, old);
    return problems.list;
  }
  rules[`${group}/${kind}`]?.(problems, object as never, old as never);
  return problems.list;
}

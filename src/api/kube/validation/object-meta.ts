import type { KubeObject, ObjectMeta } from "../object.ts";
import { dnsLabel, dnsSubdomain, labelValueForm, pathSegment, qualifiedName } from "./names.ts";
import type { Problems } from "./problems.ts";

type NameRule = (name: string) => string[];

/** Kinds whose names have another form than a DNS subdomain. */
const nameRules: Record<string, NameRule> = {
  "/Namespace": dnsLabel,
  "/Service": dnsLabel,
  "rbac.authorization.k8s.io/Role": pathSegment,
  "rbac.authorization.k8s.io/ClusterRole": pathSegment,
  "rbac.authorization.k8s.io/RoleBinding": pathSegment,
  "rbac.authorization.k8s.io/ClusterRoleBinding": pathSegment,
  "apps/StatefulSet": dnsLabel,
};

const maxAnnotationBytes = 256 * 1024;

export function validateLabels(problems: Problems, field: string, labels: Record<string, string> | undefined): void {
  for (const key in labels) {
    problems.invalidEach(field, key, qualifiedName(key));
    problems.invalidEach(field, labels[key], labelValueForm(labels[key] ?? ""));
  }
}

export function validateAnnotations(
  problems: Problems,
  field: string,
  annotations: Record<string, string> | undefined,
): void {
  let bytes = 0;
  for (const key in annotations) {
    problems.invalidEach(field, key, qualifiedName(key.toLowerCase()));
    bytes += Buffer.byteLength(key) + Buffer.byteLength(annotations[key] ?? "");
  }
  if (bytes > maxAnnotationBytes) problems.tooLong(field, maxAnnotationBytes);
}

function validateOwners(problems: Problems, field: string, owners: ObjectMeta["ownerReferences"]): void {
  let controller: string | undefined;
  for (const owner of owners ?? []) {
    const version = owner.apiVersion?.includes("/")
      ? owner.apiVersion.slice(owner.apiVersion.indexOf("/") + 1)
      : owner.apiVersion;
    if (!version) problems.invalid(`${field}.apiVersion`, owner.apiVersion ?? "", "version must not be empty");
    for (const name of ["kind", "name", "uid"] as const)
      if (!owner[name]) problems.invalid(`${field}.${name}`, owner[name] ?? "", "must not be empty");
    if (owner.apiVersion === "v1" && owner.kind === "Event")
      problems.invalid(field, owner, "/v1, Kind=Event is disallowed from being an owner");
    if (owner.controller !== true) continue;
    const name = `${owner.kind}/${owner.name}`;
    if (controller !== undefined)
      problems.invalid(
        field,
        owners,
        `Only one reference can have Controller set to true. Found "true" in references for ${controller} and ${name}`,
      );
    else controller = name;
  }
}

function validateFinalizers(problems: Problems, field: string, finalizers: readonly string[] | undefined): void {
  for (const finalizer of finalizers ?? []) problems.invalidEach(field, finalizer, qualifiedName(finalizer));
  if (finalizers?.includes("orphan") && finalizers.includes("foregroundDeletion"))
    problems.invalid(field, finalizers, "finalizer orphan and foregroundDeletion cannot be both set");
}

/** Rules of metadata that hold for every kind (apimachinery, ValidateObjectMeta and ValidateObjectMetaUpdate). */
export function validateObjectMeta(
  problems: Problems,
  group: string,
  kind: string,
  object: KubeObject,
  old: KubeObject | undefined,
): void {
  const meta = object.metadata ?? {};
  const before = old?.metadata;
  if (before === undefined) {
    const rule = nameRules[`${group}/${kind}`] ?? dnsSubdomain;
    if (!meta.name) problems.required("metadata.name", "name or generateName is required");
    else problems.invalidEach("metadata.name", meta.name, rule(meta.name));
  } else {
    if (meta.name !== before.name) problems.invalid("metadata.name", meta.name, "field is immutable");
    if (before.deletionTimestamp !== undefined) {
      const added = (meta.finalizers ?? []).filter((finalizer) => !before.finalizers?.includes(finalizer)).toSorted();
      if (added.length > 0)
        problems.forbidden(
          "metadata.finalizers",
          `no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map((each) => JSON.stringify(each)).join(", ")}}`,
        );
    }
  }
  validateLabels(problems, "metadata.labels", meta.labels);
  validateAnnotations(problems, "metadata.annotations", meta.annotations);
  validateOwners(problems, "metadata.ownerReferences", meta.ownerReferences);
  validateFinalizers(problems, "metadata.finalizers", meta.finalizers);
}

/** The rules of further kinds that people meet most often. */
import { compareQuantities, parseQuantity, tryParseQuantity } from "#base/quantity.ts";
import type {
  ClusterRole,
  ClusterRoleBinding,
  HorizontalPodAutoscaler,
  Ingress,
  NetworkPolicy,
  PersistentVolume,
  PersistentVolumeClaim,
  PodDisruptionBudget,
  PriorityClass,
  Role,
  RoleBinding,
  StorageClass,
} from "../generated/types.ts";
import { validatePortNumberOrName } from "./container.ts";
import { dnsLabel, dnsSubdomain, pathSegment, percent } from "./names.ts";
import type { Problems } from "./problems.ts";
import { sameJson } from "./same-json.ts";
import { validateSelector } from "./selector.ts";

const accessModes = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

export function validateRole(problems: Problems, role: Role | ClusterRole): void {
  for (const [at, rule] of (role.rules ?? []).entries()) {
    const here = `rules[${at}]`;
    if ((rule.verbs ?? []).length === 0) problems.required(`${here}.verbs`, "verbs must contain at least one value");
    if ((rule.nonResourceURLs ?? []).length > 0) {
      if (role.metadata?.namespace)
        problems.invalid(
          `${here}.nonResourceURLs`,
          rule.nonResourceURLs,
          "namespaced rules cannot apply to non-resource URLs",
        );
      if ((rule.apiGroups ?? []).length + (rule.resources ?? []).length + (rule.resourceNames ?? []).length > 0)
        problems.invalid(
          `${here}.nonResourceURLs`,
          rule.nonResourceURLs,
          "rules cannot apply to both regular resources and non-resource URLs",
        );
      continue;
    }
    if ((rule.apiGroups ?? []).length === 0)
      problems.required(`${here}.apiGroups`, "resource rules must supply at least one api group");
    if ((rule.resources ?? []).length === 0)
      problems.required(`${here}.resources`, "resource rules must supply at least one resource");
  }
}

export function validateRoleBinding(
  problems: Problems,
  binding: RoleBinding | ClusterRoleBinding,
  old: RoleBinding | ClusterRoleBinding | undefined,
): void {
  const { roleRef } = binding;
  const isCluster = binding.kind === "ClusterRoleBinding";
  if (roleRef?.apiGroup !== "rbac.authorization.k8s.io")
    problems.notSupported("roleRef.apiGroup", roleRef?.apiGroup ?? "", ["rbac.authorization.k8s.io"]);
  const kinds = isCluster ? ["ClusterRole"] : ["ClusterRole", "Role"];
  if (!kinds.includes(roleRef?.kind ?? ""))
    problems.notSupported("roleRef.kind", roleRef?.kind ?? "", kinds.toReversed());
  if (!roleRef?.name) problems.required("roleRef.name");
  else problems.invalidEach("roleRef.name", roleRef.name, pathSegment(roleRef.name));
  for (const [at, subject] of (binding.subjects ?? []).entries()) {
    const here = `subjects[${at}]`;
    if (!subject.name) problems.required(`${here}.name`);
    if (subject.kind === "ServiceAccount") {
      if (subject.name) problems.invalidEach(`${here}.name`, subject.name, dnsSubdomain(subject.name));
      if (subject.apiGroup) problems.notSupported(`${here}.apiGroup`, subject.apiGroup, [""]);
      if (isCluster && !subject.namespace) problems.required(`${here}.namespace`);
    } else if (subject.kind === "User" || subject.kind === "Group") {
      if (subject.apiGroup !== "rbac.authorization.k8s.io")
        problems.notSupported(`${here}.apiGroup`, subject.apiGroup ?? "", ["rbac.authorization.k8s.io"]);
    } else problems.notSupported(`${here}.kind`, subject.kind ?? "", ["ServiceAccount", "User", "Group"]);
  }
  if (old !== undefined && !sameJson(old.roleRef, roleRef))
    problems.invalid(
      "roleRef",
      { APIGroup: roleRef?.apiGroup ?? "", Kind: roleRef?.kind ?? "", Name: roleRef?.name ?? "" },
      "cannot change roleRef",
    );
}

type Backend = NonNullable<NonNullable<Ingress["spec"]>["defaultBackend"]>;

function validateBackend(problems: Problems, field: string, backend: Backend | undefined): void {
  const { service, resource } = backend ?? {};
  if (service !== undefined && resource !== undefined)
    return problems.invalid(field, "", "cannot set both resource and service backends");
  if (service === undefined && resource === undefined)
    return problems.invalid(field, "", "resource or service backend is required");
  if (service === undefined) return;
  if (!service.name) problems.required(`${field}.service.name`);
  else problems.invalidEach(`${field}.service.name`, service.name, dnsLabel(service.name));
  const { port } = service;
  if (port?.name && port.number) problems.invalid(field, "", "cannot set both port name & port number");
  else if (port?.name) validatePortNumberOrName(problems, `${field}.service.port.name`, port.name);
  else if (port?.number) validatePortNumberOrName(problems, `${field}.service.port.number`, port.number);
  else problems.required(field, "port name or number is required");
}

const pathTypes = ["Exact", "ImplementationSpecific", "Prefix"];

export function validateIngress(problems: Problems, { spec }: Ingress): void {
  const rules = spec?.rules ?? [];
  for (const [at, tls] of (spec?.tls ?? []).entries()) {
    for (const [index, host] of (tls.hosts ?? []).entries())
      problems.invalidEach(
        `spec.tls[${at}].hosts[${index}]`,
        host,
        dnsSubdomain(host.startsWith("*.") ? host.slice(2) : host),
      );
    if (tls.secretName)
      problems.invalidEach(`spec.tls[${at}].secretName`, tls.secretName, dnsSubdomain(tls.secretName));
  }
  if (rules.length === 0 && spec?.defaultBackend === undefined)
    problems.invalid("spec", null, "either `defaultBackend` or `rules` must be specified");
  if (spec?.defaultBackend !== undefined) validateBackend(problems, "spec.defaultBackend", spec.defaultBackend);
  for (const [at, rule] of rules.entries()) {
    const here = `spec.rules[${at}]`;
    if (rule.host) {
      const host = rule.host.startsWith("*.") ? rule.host.slice(2) : rule.host;
      if (/^\d+\.\d+\.\d+\.\d+$/.test(rule.host))
        problems.invalid(`${here}.host`, rule.host, "must be a DNS name, not an IP address");
      else problems.invalidEach(`${here}.host`, rule.host, dnsSubdomain(host));
    }
    if (rule.http === undefined) continue;
    const paths = rule.http.paths ?? [];
    if (paths.length === 0) problems.required(`${here}.http.paths`);
    for (const [index, path] of paths.entries()) {
      const there = `${here}.http.paths[${index}]`;
      if (!path.pathType) {
        problems.required(`${there}.pathType`, "pathType must be specified");
        continue;
      }
      if (!pathTypes.includes(path.pathType)) problems.notSupported(`${there}.pathType`, path.pathType, pathTypes);
      else if ((path.pathType === "Exact" || path.pathType === "Prefix") && !path.path?.startsWith("/"))
        problems.invalid(`${there}.path`, path.path ?? "", "must be an absolute path");
      validateBackend(problems, `${there}.backend`, path.backend);
    }
  }
}

export function validateNetworkPolicy(problems: Problems, { spec }: NetworkPolicy): void {
  validateSelector(problems, "spec.podSelector", spec?.podSelector);
  for (const [direction, peers] of [
    ["ingress", "from"],
    ["egress", "to"],
  ] as const) {
    for (const [at, rule] of (spec?.[direction] ?? []).entries()) {
      const here = `spec.${direction}[${at}]`;
      for (const [index, peer] of (
        ((rule as Record<string, unknown>)[peers] as
          | { ipBlock?: { cidr: string }; podSelector?: object; namespaceSelector?: object }[]
          | undefined) ?? []
      ).entries()) {
        const there = `${here}.${peers}[${index}]`;
        if (peer.ipBlock !== undefined && (peer.podSelector !== undefined || peer.namespaceSelector !== undefined))
          problems.forbidden(there, "may not specify both ipBlock and another peer");
        if (Object.keys(peer).length === 0) problems.required(there, "must specify a peer");
        if (peer.ipBlock !== undefined && !/^[\da-fA-F.:]+\/\d+$/.test(peer.ipBlock.cidr ?? ""))
          problems.invalid(
            `${there}.ipBlock.cidr`,
            peer.ipBlock.cidr,
            "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
          );
      }
    }
  }
}

type ClaimSpec = NonNullable<PersistentVolumeClaim["spec"]>;

/** Checks a claim's spec, in a claim or in a StatefulSet's template. */
export function validateClaimSpec(problems: Problems, field: string, spec: ClaimSpec | undefined): void {
  const modes = spec?.accessModes ?? [];
  if (modes.length === 0) problems.required(`${field}.accessModes`, "at least 1 access mode is required");
  for (const mode of modes)
    if (!accessModes.includes(mode)) problems.notSupported(`${field}.accessModes`, mode, accessModes);
  if (modes.includes("ReadWriteOncePod") && modes.length > 1)
    problems.forbidden(`${field}.accessModes`, "may not use ReadWriteOncePod with other access modes");
  const storage = spec?.resources?.requests?.["storage"];
  const size = storage === undefined ? undefined : tryParseQuantity(storage);
  if (storage === undefined) problems.required(`${field}.resources[storage]`);
  else if (size !== undefined && size.nano <= 0n)
    problems.invalid(`${field}.resources[storage]`, storage, "must be greater than zero");
  if (spec?.storageClassName)
    problems.invalidEach(`${field}.storageClassName`, spec.storageClassName, dnsSubdomain(spec.storageClassName));
}

export function validateClaim(
  problems: Problems,
  { spec }: PersistentVolumeClaim,
  old: PersistentVolumeClaim | undefined,
): void {
  validateClaimSpec(problems, "spec", spec);
  const before = old?.spec;
  if (before === undefined || spec === undefined) return;
  const comparable = {
    ...spec,
    resources: before.resources,
    volumeAttributesClassName: before.volumeAttributesClassName,
  } as ClaimSpec;
  // A volume and a class may still be given to a claim that has none.
  if (!before.volumeName) delete comparable.volumeName;
  if (before.storageClassName === undefined) delete comparable.storageClassName;
  if (!sameJson(comparable, before))
    problems.forbidden(
      "spec",
      "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n",
    );
  const size = tryParseQuantity(spec.resources?.requests?.["storage"] ?? "");
  const oldStorage = before.resources?.requests?.["storage"];
  if (size !== undefined && oldStorage !== undefined && compareQuantities(size, parseQuantity(oldStorage)) < 0)
    problems.forbidden("spec.resources.requests.storage", "field can not be less than previous value");
}

const volumePlain = new Set([
  "capacity",
  "accessModes",
  "claimRef",
  "persistentVolumeReclaimPolicy",
  "storageClassName",
  "mountOptions",
  "volumeMode",
  "nodeAffinity",
  "volumeAttributesClassName",
]);

export function validateVolume(
  problems: Problems,
  { spec }: PersistentVolume,
  old: PersistentVolume | undefined,
): void {
  if ((spec?.accessModes ?? []).length === 0) problems.required("spec.accessModes");
  for (const mode of spec?.accessModes ?? [])
    if (!accessModes.includes(mode)) problems.notSupported("spec.accessModes", mode, accessModes);
  if (spec?.capacity?.["storage"] === undefined) problems.required("spec.capacity");
  const sources = Object.keys(spec ?? {}).filter((name) => !volumePlain.has(name));
  if (sources.length === 0) problems.required("spec", "must specify a volume type");
  for (const extra of sources.slice(1)) problems.forbidden(`spec.${extra}`, "may not specify more than 1 volume type");
  if (spec?.local !== undefined && spec.nodeAffinity === undefined)
    problems.required("spec.nodeAffinity", "Local volume requires node affinity");
  if (old?.spec === undefined || spec === undefined) return;
  const source = sources[0] as keyof typeof spec | undefined;
  if (source !== undefined && !sameJson(spec[source], old.spec[source]))
    problems.forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation\n");
  if (spec.volumeMode !== old.spec.volumeMode)
    problems.invalid("spec.volumeMode", spec.volumeMode ?? null, "field is immutable");
}

export function validateStorageClass(problems: Problems, object: StorageClass, old: StorageClass | undefined): void {
  if (!object.provisioner) problems.required("provisioner");
  if (old === undefined) return;
  if (!sameJson(object.parameters, old.parameters))
    problems.forbidden("parameters", "updates to parameters are forbidden.");
  if (object.provisioner !== old.provisioner)
    problems.forbidden("provisioner", "updates to provisioner are forbidden.");
  if (object.reclaimPolicy !== old.reclaimPolicy)
    problems.forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden.");
  if (object.volumeBindingMode !== old.volumeBindingMode)
    problems.invalid("volumeBindingMode", object.volumeBindingMode ?? null, "field is immutable");
}

export function validateBudget(problems: Problems, { spec }: PodDisruptionBudget): void {
  if (spec?.minAvailable !== undefined && spec.maxUnavailable !== undefined)
    problems.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set");
  for (const name of ["minAvailable", "maxUnavailable"] as const) {
    const value = spec?.[name];
    if (typeof value === "string") problems.invalidEach(`spec.${name}`, value, percent(value));
    else problems.nonNegative(`spec.${name}`, value);
  }
  validateSelector(problems, "spec.selector", spec?.selector);
}

export function validateAutoscaler(problems: Problems, { spec }: HorizontalPodAutoscaler): void {
  const { minReplicas, maxReplicas = 0, scaleTargetRef } = spec ?? {};
  if (minReplicas !== undefined && minReplicas < 1)
    problems.invalid("spec.minReplicas", minReplicas, "must be greater than or equal to 1");
  if (maxReplicas < 1) problems.invalid("spec.maxReplicas", maxReplicas, "must be greater than 0");
  if (minReplicas !== undefined && maxReplicas < minReplicas)
    problems.invalid("spec.maxReplicas", maxReplicas, "must be greater than or equal to `minReplicas`");
  if (!scaleTargetRef?.kind) problems.required("spec.scaleTargetRef.kind");
  if (!scaleTargetRef?.name) problems.required("spec.scaleTargetRef.name");
}

export function validatePriorityClass(problems: Problems, object: PriorityClass, old: PriorityClass | undefined): void {
  const { name = "" } = object.metadata ?? {};
  if (old === undefined) {
    const known = name === "system-node-critical" || name === "system-cluster-critical";
    if (name.startsWith("system-") && !known)
      problems.forbidden(
        "metadata.name",
        "priority class names with 'system-' prefix are reserved for system use only. error: " +
          name +
          " is not a known system priority class",
      );
    else if (!known && (object.value ?? 0) > 1_000_000_000)
      problems.forbidden("value", "maximum allowed value of a user defined priority is 1000000000");
    return;
  }
  if (object.value !== old.value) problems.forbidden("value", "may not be changed in an update.");
  if (object.preemptionPolicy !== old.preemptionPolicy)
    problems.invalid("preemptionPolicy", object.preemptionPolicy ?? null, "field is immutable");
}

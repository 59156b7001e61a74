import type {
  Container,
  EphemeralContainer,
  NodeSelectorTerm,
  PodAffinityTerm,
  PodSpec,
  PodTemplateSpec,
  Toleration,
} from "../generated/types.ts";
import { validateContainer, type ContainerScope, validateProbesAndLifecycle } from "./container.ts";
import { dnsLabel, dnsSubdomain, inclusiveRange, ipAddress, labelValueForm, qualifiedName } from "./names.ts";
import { validateTaintEffect } from "./data-kinds.ts";
import { validateAnnotations, validateLabels } from "./object-meta.ts";
import type { Problems } from "./problems.ts";
import { validateSelector } from "./selector.ts";
import { validateVolumes } from "./volumes.ts";

const initOnly = "may not be set for init containers without restartPolicy=Always";

function validateHostPorts(
  problems: Problems,
  field: string,
  containers: readonly Container[],
  seen: Set<string>,
): void {
  for (const [at, container] of containers.entries()) {
    for (const [index, port] of (container.ports ?? []).entries()) {
      if (!port.hostPort) continue;
      const key = `${port.protocol}/${port.hostIP ?? ""}/${port.hostPort}`;
      if (seen.has(key)) problems.duplicate(`${field}[${at}].ports[${index}].hostPort`, key);
      seen.add(key);
    }
  }
}

function validateContainers(problems: Problems, field: string, spec: PodSpec, scope: ContainerScope): void {
  const names = new Set<string>();
  const containers = spec.containers ?? [];
  if (containers.length === 0) problems.required(`${field}.containers`);
  for (const [at, container] of containers.entries()) {
    const here = `${field}.containers[${at}]`;
    validateContainer(problems, here, container, scope);
    if (names.has(container.name)) problems.duplicate(`${here}.name`, container.name);
    names.add(container.name);
    validateProbesAndLifecycle(problems, here, container);
  }
  validateHostPorts(problems, `${field}.containers`, containers, new Set());
  for (const [at, container] of (spec.initContainers ?? []).entries()) {
    const here = `${field}.initContainers[${at}]`;
    validateContainer(problems, here, container, scope);
    if (names.has(container.name)) problems.duplicate(`${here}.name`, container.name);
    names.add(container.name);
    validateHostPorts(problems, `${field}.initContainers`, [container], new Set());
    if (container.restartPolicy === "Always") validateProbesAndLifecycle(problems, here, container);
    else
      for (const name of ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] as const)
        if (container[name] !== undefined) problems.forbidden(`${here}.${name}`, initOnly);
  }
  for (const [at, container] of (spec.ephemeralContainers ?? []).entries())
    validateEphemeral(problems, `${field}.ephemeralContainers[${at}]`, container, scope, names);
}

const ephemeralForbidden = [
  "ports",
  "livenessProbe",
  "readinessProbe",
  "startupProbe",
  "lifecycle",
  "resizePolicy",
] as const;

function validateEphemeral(
  problems: Problems,
  here: string,
  container: EphemeralContainer,
  scope: ContainerScope,
  names: Set<string>,
): void {
  validateContainer(problems, here, container as Container, scope);
  if (names.has(container.name)) problems.duplicate(`${here}.name`, container.name);
  names.add(container.name);
  for (const name of ephemeralForbidden)
    if (container[name] !== undefined)
      problems.forbidden(`${here}.${name}`, "cannot be set for an Ephemeral Container");
  if (Object.keys(container.resources ?? {}).length > 0)
    problems.forbidden(`${here}.resources`, "cannot be set for an Ephemeral Container");
}

function validateTolerations(problems: Problems, field: string, tolerations: readonly Toleration[] | undefined): void {
  for (const [at, toleration] of (tolerations ?? []).entries()) {
    const here = `${field}[${at}]`;
    validateTaintEffect(problems, `${here}.effect`, toleration.effect, true);
    const { key, operator, value = "", effect, tolerationSeconds } = toleration;
    if (key) problems.invalidEach(`${here}.key`, key, qualifiedName(key));
    else if (operator !== "Exists")
      problems.invalid(
        `${here}.operator`,
        operator ?? "",
        'operator must be Exists when `key` is empty, which means "match all values and all keys"',
      );
    if (tolerationSeconds !== undefined && effect !== "NoExecute")
      problems.invalid(`${here}.effect`, effect ?? "", "effect must be 'NoExecute' when `tolerationSeconds` is set");
    if (operator === undefined || operator === "Equal") {
      const wrong = labelValueForm(value);
      if (wrong.length > 0) problems.invalid(`${here}.operator`, value, wrong.join(";"));
    } else if (operator === "Exists") {
      if (value !== "") problems.invalid(`${here}.operator`, value, "value must be empty when `operator` is 'Exists'");
    } else problems.notSupported(`${here}.operator`, operator, ["Equal", "Exists"]);
  }
}

const nodeOperators = new Set<string>(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]);

function validateNodeTerm(problems: Problems, field: string, term: NodeSelectorTerm): void {
  for (const [at, rule] of (term.matchExpressions ?? []).entries()) {
    const here = `${field}.matchExpressions[${at}]`;
    const values = rule.values ?? [];
    if (!nodeOperators.has(rule.operator))
      problems.invalid(`${here}.operator`, rule.operator ?? "", "not a valid selector operator");
    if ((rule.operator === "In" || rule.operator === "NotIn") && values.length === 0)
      problems.required(`${here}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
    if ((rule.operator === "Exists" || rule.operator === "DoesNotExist") && values.length > 0)
      problems.forbidden(`${here}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    if ((rule.operator === "Gt" || rule.operator === "Lt") && values.length !== 1)
      problems.required(`${here}.values`, "must be specified single value when `operator` is 'Lt' or 'Gt'");
    for (const [index, value] of values.entries())
      problems.invalidEach(`${here}.values[${index}]`, value, labelValueForm(value));
    problems.invalidEach(`${here}.key`, rule.key, qualifiedName(rule.key ?? ""));
  }
}

function validatePodTerm(problems: Problems, field: string, term: PodAffinityTerm): void {
  validateSelector(problems, `${field}.labelSelector`, term.labelSelector);
  if (!term.topologyKey) problems.required(`${field}.topologyKey`, "can not be empty");
  problems.invalidEach(`${field}.topologyKey`, term.topologyKey ?? "", qualifiedName(term.topologyKey ?? ""));
}

function validateAffinity(problems: Problems, field: string, affinity: PodSpec["affinity"]): void {
  const node = affinity?.nodeAffinity;
  const required = node?.requiredDuringSchedulingIgnoredDuringExecution;
  const there = `${field}.nodeAffinity`;
  if (required !== undefined) {
    const terms = required.nodeSelectorTerms ?? [];
    if (terms.length === 0)
      problems.required(
        `${there}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms`,
        "must have at least one node selector term",
      );
    for (const [at, term] of terms.entries())
      validateNodeTerm(
        problems,
        `${there}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[${at}]`,
        term,
      );
  }
  for (const [at, term] of (node?.preferredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
    const here = `${there}.preferredDuringSchedulingIgnoredDuringExecution[${at}]`;
    if (term.weight <= 0 || term.weight > 100)
      problems.invalid(`${here}.weight`, term.weight, "must be in the range 1-100");
    validateNodeTerm(problems, `${here}.preference`, term.preference ?? {});
  }
  for (const name of ["podAffinity", "podAntiAffinity"] as const) {
    const pods = affinity?.[name];
    for (const [at, term] of (pods?.requiredDuringSchedulingIgnoredDuringExecution ?? []).entries())
      validatePodTerm(problems, `${field}.${name}.requiredDuringSchedulingIgnoredDuringExecution[${at}]`, term);
    for (const [at, term] of (pods?.preferredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
      const here = `${field}.${name}.preferredDuringSchedulingIgnoredDuringExecution[${at}]`;
      if (term.weight <= 0 || term.weight > 100)
        problems.invalid(`${here}.weight`, term.weight, "must be in the range 1-100");
      validatePodTerm(problems, `${here}.podAffinityTerm`, term.podAffinityTerm);
    }
  }
}

function validateSpread(problems: Problems, field: string, spec: PodSpec): void {
  for (const [at, rule] of (spec.topologySpreadConstraints ?? []).entries()) {
    const here = `${field}[${at}]`;
    if (rule.maxSkew <= 0) problems.invalid(`${here}.maxSkew`, rule.maxSkew, "must be greater than zero");
    if (!rule.topologyKey) problems.required(`${here}.topologyKey`, "can not be empty");
    if (!rule.whenUnsatisfiable)
      problems.notSupported(`${here}.whenUnsatisfiable`, "", ["DoNotSchedule", "ScheduleAnyway"]);
    validateSelector(problems, `${here}.labelSelector`, rule.labelSelector);
    const isRepeated = spec.topologySpreadConstraints
      ?.slice(at + 1)
      .some((other) => other.topologyKey === rule.topologyKey && other.whenUnsatisfiable === rule.whenUnsatisfiable);
    if (isRepeated === true)
      problems.duplicate(
        `${here}.{topologyKey, whenUnsatisfiable}`,
        `{${rule.topologyKey}, ${rule.whenUnsatisfiable}}`,
      );
  }
}

function validateNetwork(problems: Problems, field: string, spec: PodSpec): void {
  if (spec.hostNetwork === true) {
    for (const list of ["containers", "initContainers"] as const)
      for (const [at, container] of (spec[list] ?? []).entries())
        for (const [index, port] of (container.ports ?? []).entries())
          if (port.hostPort !== port.containerPort)
            problems.invalid(
              `${field}.${list}[${at}].ports[${index}].hostPort`,
              port.hostPort ?? 0,
              "must match `containerPort` when `hostNetwork` is true",
            );
    if (spec.hostUsers === false) problems.forbidden(`${field}.hostNetwork`, "when `hostUsers` is false");
  }
  const dns = spec.dnsConfig;
  if (spec.dnsPolicy === "None" && (dns?.nameservers ?? []).length === 0)
    problems.required(
      `${field}.dnsConfig.nameservers`,
      "must provide at least one DNS nameserver when `dnsPolicy` is None",
    );
  if ((dns?.nameservers ?? []).length > 3)
    problems.invalid(`${field}.dnsConfig.nameservers`, dns?.nameservers, "must not have more than 3 nameservers");
  for (const [at, search] of (dns?.searches ?? []).entries())
    if (search !== ".")
      problems.invalidEach(
        `${field}.dnsConfig.searches[${at}]`,
        search,
        dnsSubdomain(search.replace(/\.$/, "").replace(/^_/, "")),
      );
  for (const [at, server] of (dns?.nameservers ?? []).entries())
    problems.invalidEach(`${field}.dnsConfig.nameservers[${at}]`, server, ipAddress(server));
  for (const [at, alias] of (spec.hostAliases ?? []).entries())
    problems.invalidEach(`${field}.hostAliases[${at}].ip`, alias.ip ?? "", ipAddress(alias.ip ?? ""));
  for (const [at, alias] of (spec.hostAliases ?? []).entries())
    for (const [index, name] of (alias.hostnames ?? []).entries())
      problems.invalidEach(`${field}.hostAliases[${at}].hostnames[${index}]`, name, dnsSubdomain(name));
}

function validateSecurity(problems: Problems, field: string, security: PodSpec["securityContext"]): void {
  for (const name of ["runAsUser", "runAsGroup", "fsGroup"] as const) {
    const value = security?.[name];
    if (value !== undefined && (value < 0 || value > 2147483647))
      problems.invalid(`${field}.${name}`, value, inclusiveRange(0, 2147483647));
  }
  for (const [at, group] of (security?.supplementalGroups ?? []).entries())
    if (group < 0 || group > 2147483647)
      problems.invalid(`${field}.supplementalGroups[${at}]`, group, inclusiveRange(0, 2147483647));
  const names = new Set<string>();
  for (const [at, sysctl] of (security?.sysctls ?? []).entries()) {
    const here = `${field}.sysctls[${at}].name`;
    if (!sysctl.name) problems.required(here);
    else if (names.has(sysctl.name)) problems.duplicate(here, sysctl.name);
    names.add(sysctl.name);
  }
}

// In upstream's order, which is seen in the message.
const restartPolicies: readonly string[] = ["Always", "OnFailure", "Never"];
const dnsPolicies: readonly string[] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];

/** Checks a pod's spec, in a pod or in a template (upstream's ValidatePodSpec). */
export function validatePodSpec(problems: Problems, field: string, spec: PodSpec): void {
  const volumes = validateVolumes(problems, `${field}.volumes`, spec.volumes);
  const resourceClaims = new Set((spec.resourceClaims ?? []).map(({ name }) => name));
  validateContainers(problems, field, spec, { volumes, resourceClaims });
  if (spec.restartPolicy && !restartPolicies.includes(spec.restartPolicy))
    problems.notSupported(`${field}.restartPolicy`, spec.restartPolicy, restartPolicies);
  if (spec.dnsPolicy && !dnsPolicies.includes(spec.dnsPolicy))
    problems.notSupported(`${field}.dnsPolicy`, spec.dnsPolicy, dnsPolicies);
  validateNetwork(problems, field, spec);
  validateLabels(problems, `${field}.nodeSelector`, spec.nodeSelector);
  validateSecurity(problems, `${field}.securityContext`, spec.securityContext);
  validateAffinity(problems, `${field}.affinity`, spec.affinity);
  for (const [at, gate] of (spec.readinessGates ?? []).entries())
    problems.invalidEach(
      `${field}.readinessGates[${at}].conditionType`,
      gate.conditionType,
      qualifiedName(gate.conditionType),
    );
  validateSpread(problems, `${field}.topologySpreadConstraints`, spec);
  if (spec.serviceAccountName)
    problems.invalidEach(`${field}.serviceAccountName`, spec.serviceAccountName, dnsSubdomain(spec.serviceAccountName));
  if (spec.nodeName) problems.invalidEach(`${field}.nodeName`, spec.nodeName, dnsSubdomain(spec.nodeName));
  const deadline = spec.activeDeadlineSeconds;
  if (deadline !== undefined && (deadline < 1 || deadline > 2147483647))
    problems.invalid(`${field}.activeDeadlineSeconds`, deadline, inclusiveRange(1, 2147483647));
  if (spec.hostname) problems.invalidEach(`${field}.hostname`, spec.hostname, dnsLabel(spec.hostname));
  if (spec.subdomain) problems.invalidEach(`${field}.subdomain`, spec.subdomain, dnsLabel(spec.subdomain));
  validateTolerations(problems, `${field}.tolerations`, spec.tolerations);
  if (spec.priorityClassName)
    problems.invalidEach(`${field}.priorityClassName`, spec.priorityClassName, dnsSubdomain(spec.priorityClassName));
  if (spec.runtimeClassName)
    problems.invalidEach(`${field}.runtimeClassName`, spec.runtimeClassName, dnsSubdomain(spec.runtimeClassName));
}

/** Checks a template (upstream's ValidatePodTemplateSpec). */
export function validatePodTemplate(problems: Problems, field: string, template: PodTemplateSpec): void {
  validateLabels(problems, `${field}.labels`, template.metadata?.labels);
  validateAnnotations(problems, `${field}.annotations`, template.metadata?.annotations);
  validatePodSpec(problems, `${field}.spec`, template.spec ?? ({} as PodSpec));
  if ((template.spec?.ephemeralContainers ?? []).length > 0)
    problems.forbidden(`${field}.spec.ephemeralContainers`, "ephemeral containers not allowed in pod template");
}

import { compareQuantities, parseQuantity, tryParseQuantity } from "#base/quantity.ts";
import type {
  Container,
  EnvVar,
  LifecycleHandler,
  Probe,
  ProbeHandler,
  ResourceRequirements,
} from "../generated/types.ts";
import {
  configMapKey,
  dnsLabel,
  dnsSubdomain,
  envVarName,
  httpHeaderName,
  portName,
  portNumber,
  qualifiedName,
} from "./names.ts";
import type { Problems } from "./problems.ts";

/** What a container may refer to in its pod. */
export interface ContainerScope {
  volumes: ReadonlyMap<string, { claim: boolean }>;
  resourceClaims: ReadonlySet<string>;
}

const fieldPaths = [
  "metadata.name",
  "metadata.namespace",
  "metadata.uid",
  "spec.nodeName",
  "spec.serviceAccountName",
  "status.hostIP",
  "status.hostIPs",
  "status.podIP",
  "status.podIPs",
];
const resourcePaths = [
  "limits.cpu",
  "limits.ephemeral-storage",
  "limits.memory",
  "requests.cpu",
  "requests.ephemeral-storage",
  "requests.memory",
];
const standardResources = new Set(["cpu", "memory", "ephemeral-storage"]);

export function validatePortNumberOrName(problems: Problems, field: string, port: number | string | undefined): void {
  if (typeof port === "string") problems.invalidEach(field, port, portName(port));
  else problems.invalidEach(field, port ?? 0, portNumber(port));
}

function validatePorts(problems: Problems, field: string, container: Container): void {
  const names = new Set<string>();
  for (const [at, port] of (container.ports ?? []).entries()) {
    const here = `${field}[${at}]`;
    if (port.name) {
      const wrong = portName(port.name);
      problems.invalidEach(`${here}.name`, port.name, wrong);
      if (wrong.length === 0 && names.has(port.name)) problems.duplicate(`${here}.name`, port.name);
      names.add(port.name);
    }
    if (!port.containerPort) problems.required(`${here}.containerPort`);
    else problems.invalidEach(`${here}.containerPort`, port.containerPort, portNumber(port.containerPort));
    if (port.hostPort) problems.invalidEach(`${here}.hostPort`, port.hostPort, portNumber(port.hostPort));
  }
}

function validateFieldPath(problems: Problems, field: string, path: string | undefined): void {
  if (!path) problems.required(`${field}.fieldPath`);
  else if (/^metadata\.(?:labels|annotations)\['.*'\]$/.test(path)) {
    const [, list, key = ""] = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(path) ?? [];
    problems.invalidEach(
      field,
      list === "annotations" ? key.toLowerCase() : key,
      qualifiedName(list === "annotations" ? key.toLowerCase() : key),
    );
  } else if (!/^[\w.[\]'/-]+$/.test(path))
    problems.invalid(`${field}.fieldPath`, path, "error converting fieldPath: field label not supported: " + path);
  else if (!fieldPaths.includes(path)) {
    const known = ["metadata.labels", "metadata.annotations"].includes(path) || /^(spec|status|metadata)\./.test(path);
    if (known) problems.notSupported(`${field}.fieldPath`, path, fieldPaths);
    else problems.invalid(`${field}.fieldPath`, path, `error converting fieldPath: field label not supported: ${path}`);
  }
}

function validateEnv(problems: Problems, field: string, env: readonly EnvVar[]): void {
  for (const [at, variable] of env.entries()) {
    const here = `${field}[${at}]`;
    if (!variable.name) problems.required(`${here}.name`);
    else problems.invalidEach(`${here}.name`, variable.name, envVarName(variable.name));
    const from = variable.valueFrom;
    if (from === undefined) continue;
    const there = `${here}.valueFrom`;
    const sources = Object.keys(from).length;
    if (sources === 0)
      problems.invalid(
        there,
        "",
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
      );
    else if (variable.value) problems.invalid(there, "", "may not be specified when `value` is not empty");
    else if (sources > 1) problems.invalid(there, "", "may not have more than one field specified at a time");
    if (from.fieldRef !== undefined) validateFieldPath(problems, `${there}.fieldRef`, from.fieldRef.fieldPath);
    if (from.resourceFieldRef !== undefined) {
      const { resource } = from.resourceFieldRef;
      if (!resource) problems.required(`${there}.resourceFieldRef.resource`);
      else if (!resourcePaths.includes(resource) && !/^(?:limits|requests)\.hugepages-/.test(resource))
        problems.notSupported(`${there}.resourceFieldRef.resource`, resource, resourcePaths);
    }
    for (const name of ["configMapKeyRef", "secretKeyRef"] as const) {
      const ref = from[name];
      if (ref === undefined) continue;
      problems.invalidEach(`${there}.${name}.name`, ref.name ?? "", dnsSubdomain(ref.name ?? ""));
      if (!ref.key) problems.required(`${there}.${name}.key`);
      else problems.invalidEach(`${there}.${name}.key`, ref.key, configMapKey(ref.key));
    }
  }
}

function validateEnvFrom(problems: Problems, field: string, container: Container): void {
  for (const [at, source] of (container.envFrom ?? []).entries()) {
    const here = `${field}[${at}]`;
    if (source.prefix) problems.invalidEach(`${here}.prefix`, source.prefix, envVarName(source.prefix));
    const both = source.configMapRef !== undefined && source.secretRef !== undefined;
    if (source.configMapRef === undefined && source.secretRef === undefined)
      problems.invalid(here, "", "must specify one of: `configMapRef` or `secretRef`");
    else if (both) problems.invalid(here, "", "may not have more than one field specified at a time");
    if (source.configMapRef !== undefined && !source.configMapRef.name) problems.required(`${here}.configMapRef.name`);
    if (source.secretRef !== undefined && !source.secretRef.name) problems.required(`${here}.secretRef.name`);
  }
}

/** A relative path without `..`. */
export function validateDescendingPath(problems: Problems, field: string, path: string): void {
  if (path.startsWith("/")) problems.invalid(field, path, "must be a relative path");
  if (path.split("/").includes("..")) problems.invalid(field, path, "must not contain '..'");
}

function validateMounts(problems: Problems, field: string, container: Container, scope: ContainerScope): void {
  const paths = new Set<string>();
  const devices = container.volumeDevices ?? [];
  for (const [at, mount] of (container.volumeMounts ?? []).entries()) {
    const here = `${field}.volumeMounts[${at}]`;
    if (!mount.name) problems.required(`${here}.name`);
    if (!scope.volumes.has(mount.name)) problems.notFound(`${here}.name`, mount.name);
    if (!mount.mountPath) problems.required(`${here}.mountPath`);
    if (paths.has(mount.mountPath)) problems.invalid(`${here}.mountPath`, mount.mountPath, "must be unique");
    paths.add(mount.mountPath);
    if (devices.some(({ name }) => name === mount.name))
      problems.invalid(`${here}.name`, mount.name, "must not already exist in volumeDevices");
    if (mount.subPath) validateDescendingPath(problems, `${field}.volumeMounts.subPath`, mount.subPath);
    if (mount.subPathExpr) {
      if (mount.subPath)
        problems.invalid(`${here}.subPathExpr`, mount.subPathExpr, "subPathExpr and subPath are mutually exclusive");
      validateDescendingPath(problems, `${field}.volumeMounts.subPathExpr`, mount.subPathExpr);
    }
    if (mount.mountPropagation === "Bidirectional" && container.securityContext?.privileged !== true)
      problems.forbidden(
        `${field}.volumeMounts.mountPropagation`,
        "Bidirectional mount propagation is available only to privileged containers",
      );
  }
  for (const [at, device] of devices.entries()) {
    const here = `${field}.volumeDevices[${at}]`;
    if (!device.name) problems.required(`${here}.name`);
    const volume = scope.volumes.get(device.name);
    if (volume === undefined) problems.notFound(`${here}.name`, device.name);
    else if (!volume.claim)
      problems.invalid(
        `${here}.name`,
        device.name,
        "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
      );
    if (!device.devicePath) problems.required(`${here}.devicePath`);
  }
}

function isNativeOrQualified(name: string): string[] {
  const wrong = qualifiedName(name);
  if (wrong.length > 0) return wrong;
  if (!name.includes("/") && !standardResources.has(name) && !name.startsWith("hugepages-"))
    return ["must be a standard resource for containers"];
  return [];
}

/** Fractions and more than the limit are allowed only for these. */
const allowsOvercommit = (name: string): boolean => !name.includes("/") && !name.startsWith("hugepages-");

export function validateResources(
  problems: Problems,
  field: string,
  resources: ResourceRequirements | undefined,
  claims: ReadonlySet<string>,
): void {
  const { limits = {}, requests = {} } = resources ?? {};
  for (const [list, values] of [
    ["limits", limits],
    ["requests", requests],
  ] as const) {
    for (const name in values) {
      const here = `${field}.${list}[${name}]`;
      const quantity = tryParseQuantity(values[name] ?? "");
      if (
        !name.includes("/") &&
        !standardResources.has(name) &&
        !name.startsWith("hugepages-") &&
        qualifiedName(name).length === 0
      ) {
        problems.invalid(here, name, "must be a standard resource type or fully qualified");
        problems.invalid(here, name, "must be a standard resource for containers");
      } else problems.invalidEach(here, name, isNativeOrQualified(name));
      if (quantity === undefined) continue;
      if (quantity.nano < 0n) problems.invalid(here, values[name], "must be greater than or equal to 0");
      if (!standardResources.has(name) && quantity.nano % 1_000_000_000n !== 0n)
        problems.invalid(here, values[name], "must be an integer");
    }
  }
  for (const name in requests) {
    const limit = limits[name];
    if (limit === undefined) {
      if (!allowsOvercommit(name))
        problems.required(`${field}.limits`, "Limit must be set for non overcommitable resources");
      continue;
    }
    const order = compareQuantities(parseQuantity(requests[name] ?? "0"), parseQuantity(limit));
    if (order !== 0 && !allowsOvercommit(name))
      problems.invalid(`${field}.requests`, requests[name], `must be equal to ${name} limit of ${limit}`);
    else if (order > 0)
      problems.invalid(`${field}.requests`, requests[name], `must be less than or equal to ${name} limit of ${limit}`);
  }
  for (const [at, claim] of (resources?.claims ?? []).entries()) {
    if (!claim.name) problems.required(`${field}.claims[${at}]`);
    else if (!claims.has(claim.name)) problems.notFound(`${field}.claims[${at}]`, claim.name);
  }
}

function validateHandler(problems: Problems, field: string, handler: ProbeHandler & LifecycleHandler): void {
  let given = 0;
  for (const kind of ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] as const) {
    if (handler[kind] === undefined) continue;
    if (given++ > 0) {
      problems.forbidden(`${field}.${kind}`, "may not specify more than 1 handler type");
      continue;
    }
    const here = `${field}.${kind}`;
    if (kind === "exec" && (handler.exec?.command ?? []).length === 0) problems.required(`${here}.command`);
    if (kind === "httpGet" && handler.httpGet !== undefined) {
      if (!handler.httpGet.path) problems.required(`${here}.path`);
      validatePortNumberOrName(problems, `${here}.port`, handler.httpGet.port);
      for (const header of handler.httpGet.httpHeaders ?? [])
        problems.invalidEach(`${here}.httpHeaders`, header.name, httpHeaderName(header.name));
    }
    if (kind === "tcpSocket") validatePortNumberOrName(problems, `${here}.port`, handler.tcpSocket?.port);
    if (kind === "grpc") validatePortNumberOrName(problems, `${here}.port`, handler.grpc?.port);
  }
  if (given === 0) problems.required(field, "must specify a handler type");
}

function validateProbe(problems: Problems, field: string, probe: Probe | undefined, mustSucceedOnce: boolean): void {
  if (probe === undefined) return;
  validateHandler(problems, field, probe);
  for (const name of [
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
  ] as const)
    problems.nonNegative(`${field}.${name}`, probe[name]);
  if (probe.terminationGracePeriodSeconds !== undefined) {
    if (!mustSucceedOnce)
      problems.invalid(
        `${field}.terminationGracePeriodSeconds`,
        probe.terminationGracePeriodSeconds,
        "must not be set for readinessProbes",
      );
    else if (probe.terminationGracePeriodSeconds <= 0)
      problems.invalid(
        `${field}.terminationGracePeriodSeconds`,
        probe.terminationGracePeriodSeconds,
        "must be greater than 0",
      );
  }
  if (mustSucceedOnce && probe.successThreshold !== undefined && probe.successThreshold !== 1)
    problems.invalid(`${field}.successThreshold`, probe.successThreshold, "must be 1");
}

export function validateProbesAndLifecycle(problems: Problems, field: string, container: Container): void {
  if (container.lifecycle?.postStart !== undefined)
    validateHandler(problems, `${field}.lifecycle.postStart`, container.lifecycle.postStart);
  if (container.lifecycle?.preStop !== undefined)
    validateHandler(problems, `${field}.lifecycle.preStop`, container.lifecycle.preStop);
  validateProbe(problems, `${field}.livenessProbe`, container.livenessProbe, true);
  validateProbe(problems, `${field}.readinessProbe`, container.readinessProbe, false);
  validateProbe(problems, `${field}.startupProbe`, container.startupProbe, true);
}

/** What holds for containers, init containers and ephemeral containers alike. */
export function validateContainer(
  problems: Problems,
  field: string,
  container: Container,
  scope: ContainerScope,
): void {
  if (!container.name) problems.required(`${field}.name`);
  else problems.invalidEach(`${field}.name`, container.name, dnsLabel(container.name));
  if (!container.image) problems.required(`${field}.image`);
  else if (container.image !== container.image.trim())
    problems.invalid(`${field}.image`, container.image, "must not have leading or trailing whitespace");
  validatePorts(problems, `${field}.ports`, container);
  validateEnv(problems, `${field}.env`, container.env ?? []);
  validateEnvFrom(problems, `${field}.envFrom`, container);
  validateMounts(problems, field, container, scope);
  validateResources(problems, `${field}.resources`, container.resources, scope.resourceClaims);
  const security = container.securityContext;
  if (security === undefined) return;
  problems.nonNegative(`${field}.securityContext.runAsUser`, security.runAsUser);
  problems.nonNegative(`${field}.securityContext.runAsGroup`, security.runAsGroup);
  if (security.allowPrivilegeEscalation === false) {
    if (security.privileged === true)
      problems.invalid(
        `${field}.securityContext`,
        security,
        "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
      );
    if (security.capabilities?.add?.includes("SYS_ADMIN"))
      problems.invalid(
        `${field}.securityContext`,
        security,
        "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
      );
  }
}

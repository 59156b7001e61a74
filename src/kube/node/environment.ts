import { GantryError } from "#base/errors.ts";
import { type DownwardFacts, containerResourceField, podField, selectedContainer } from "./downward.ts";
import type { ConfigMap, Container, EnvVar, ConfigMapKeySelector, Pod, Secret, Service } from "./pod-types.ts";

/** Where values come from. `configMap` and `secret` throw `not-found` in the API's words. */
export interface EnvironmentSources {
  configMap(namespace: string, name: string): Promise<ConfigMap>;
  secret(namespace: string, name: string): Promise<Secret>;
  /** The services of a namespace. */
  services(namespace: string): Service[];
}

/**
 * Replaces `$(NAME)` by its value; `$$` is one dollar; an unknown name stays as it stands
 * (kubernetes, third_party/forked/golang/expansion).
 */
export function expandVariables(text: string, lookup: (name: string) => string | undefined): string {
  let out = "";
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== "$" || at + 1 >= text.length) {
      out += text[at];
      continue;
    }
    const next = text[at + 1];
    if (next === "$") {
      out += "$";
      at++;
    } else if (next === "(") {
      const end = text.indexOf(")", at + 2);
      if (end === -1) {
        out += "$(";
        at++;
        continue;
      }
      const name = text.slice(at + 2, end);
      out += lookup(name) ?? `$(${name})`;
      at = end;
    } else {
      out += `$${next}`;
      at++;
    }
  }
  return out;
}

const variableName = (name: string): string => name.toUpperCase().replaceAll("-", "_");

/** `NAME_SERVICE_HOST`, `NAME_PORT_80_TCP_ADDR`… for services that have an address (kubelet, envvars.FromServices). */
export function serviceEnvironment(services: readonly Service[]): Map<string, string> {
  const out = new Map<string, string>();
  const sorted = [...services].sort((a, b) => ((a.metadata?.name ?? "") < (b.metadata?.name ?? "") ? -1 : 1));
  for (const service of sorted) {
    const { clusterIP, ports = [] } = service.spec ?? {};
    if (!clusterIP || clusterIP === "None" || ports.length === 0) continue;
    const prefix = variableName(service.metadata?.name ?? "");
    const host = clusterIP.includes(":") ? `[${clusterIP}]` : clusterIP;
    out.set(`${prefix}_SERVICE_HOST`, clusterIP);
    out.set(`${prefix}_SERVICE_PORT`, String(ports[0]?.port));
    for (const port of ports) {
      if (port.name) out.set(`${prefix}_SERVICE_PORT_${variableName(port.name)}`, String(port.port));
    }
    for (const [index, port] of ports.entries()) {
      const protocol = port.protocol ?? "TCP";
      const url = `${protocol.toLowerCase()}://${host}:${port.port}`;
      if (index === 0) out.set(`${prefix}_PORT`, url);
      const portPrefix = `${prefix}_PORT_${port.port}_${protocol}`;
      out.set(portPrefix, url);
      out.set(`${portPrefix}_PROTO`, protocol.toLowerCase());
      out.set(`${portPrefix}_PORT`, String(port.port));
      out.set(`${portPrefix}_ADDR`, clusterIP);
    }
  }
  return out;
}

/** What a container may see: its namespace's services when links are on, and always the API's. */
function visibleServices(pod: Pod, sources: EnvironmentSources): Map<string, string> {
  const namespace = pod.metadata?.namespace ?? "";
  const visible = new Map<string, Service>();
  for (const service of sources.services("default")) {
    if (service.metadata?.name === "kubernetes") visible.set("kubernetes", service);
  }
  if (pod.spec?.enableServiceLinks !== false) {
    for (const service of sources.services(namespace)) visible.set(service.metadata?.name ?? "", service);
  }
  return serviceEnvironment([...visible.values()]);
}

/**
 * All variables of a container, in the API's order of precedence: envFrom, then env, over the services'.
 * Throws `not-found` and `invalid` with the kubelet's messages, for CreateContainerConfigError.
 */
export async function containerEnvironment(
  pod: Pod,
  container: Container,
  sources: EnvironmentSources,
  facts: DownwardFacts,
): Promise<Map<string, string>> {
  const result = new Map<string, string>();
  const services = visibleServices(pod, sources);
  await addEnvFrom(pod, container, sources, result);
  for (const variable of container.env ?? []) {
    const value = await resolve(
      pod,
      container,
      variable,
      sources,
      facts,
      (name) => result.get(name) ?? services.get(name),
    );
    if (value !== undefined) result.set(variable.name, value);
  }
  for (const [name, value] of services) if (!result.has(name)) result.set(name, value);
  return result;
}

async function addEnvFrom(
  pod: Pod,
  container: Container,
  sources: EnvironmentSources,
  result: Map<string, string>,
): Promise<void> {
  const namespace = pod.metadata?.namespace ?? "";
  for (const { prefix = "", configMapRef, secretRef } of container.envFrom ?? []) {
    if (configMapRef !== undefined) {
      const map = await optional(configMapRef.optional, () => sources.configMap(namespace, configMapRef.name ?? ""));
      for (const [key, value] of Object.entries(map?.data ?? {})) result.set(prefix + key, value);
    }
    if (secretRef !== undefined) {
      const secret = await optional(secretRef.optional, () => sources.secret(namespace, secretRef.name ?? ""));
      for (const [key, value] of Object.entries(secret?.data ?? {})) result.set(prefix + key, decode(value));
    }
  }
}

async function resolve(
  pod: Pod,
  container: Container,
  variable: EnvVar,
  sources: EnvironmentSources,
  facts: DownwardFacts,
  lookup: (name: string) => string | undefined,
): Promise<string | undefined> {
  const from = variable.valueFrom;
  if (from === undefined) return expandVariables(variable.value ?? "", lookup);
  const namespace = pod.metadata?.namespace ?? "";
  if (from.fieldRef !== undefined) return podField(pod, from.fieldRef, facts);
  if (from.resourceFieldRef !== undefined) {
    const { containerName } = from.resourceFieldRef;
    const target = containerName ? selectedContainer(pod, from.resourceFieldRef) : container;
    return containerResourceField(target, from.resourceFieldRef, facts);
  }
  if (from.configMapKeyRef !== undefined) {
    const selector = from.configMapKeyRef;
    const map = await optional(selector.optional, () => sources.configMap(namespace, selector.name ?? ""));
    return map === undefined ? undefined : pick(selector, map.data, "ConfigMap", namespace);
  }
  if (from.secretKeyRef !== undefined) {
    const selector = from.secretKeyRef;
    const secret = await optional(selector.optional, () => sources.secret(namespace, selector.name ?? ""));
    if (secret === undefined) return undefined;
    const value = pick(selector, secret.data, "Secret", namespace);
    return value === undefined ? undefined : decode(value);
  }
  throw new GantryError(
    "unsupported",
    `the source of environment variable ${variable.name} is not supported on this node`,
  );
}

function pick(
  selector: ConfigMapKeySelector,
  data: Record<string, string> | undefined,
  kind: "ConfigMap" | "Secret",
  namespace: string,
): string | undefined {
  if (data !== undefined && Object.hasOwn(data, selector.key)) return data[selector.key];
  if (selector.optional === true) return undefined;
  throw new GantryError("not-found", `couldn't find key ${selector.key} in ${kind} ${namespace}/${selector.name}`);
}

const decode = (base64: string): string => Buffer.from(base64, "base64").toString("utf8");

async function optional<T>(isOptional: boolean | undefined, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (isOptional === true && error instanceof GantryError && error.code === "not-found") return undefined;
    throw error;
  }
}

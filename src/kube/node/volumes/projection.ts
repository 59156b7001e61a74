import { GantryError, hasCode } from "#base/errors.ts";
import { type DownwardFacts, containerResourceField, podField, selectedContainer } from "../downward.ts";
import type { ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, Volume } from "../pod-types.ts";
import type { ProjectedFile } from "./atomic-writer.ts";

export interface ProjectionSources {
  configMap(namespace: string, name: string): Promise<ConfigMap>;
  secret(namespace: string, name: string): Promise<Secret>;
  /** A token bound to the pod. */
  token(pod: Pod, audience: string | undefined, expirationSeconds: number): Promise<string>;
}

const defaultMode = 0o644;
const defaultTokenSeconds = 3600;

/** Which objects a volume shows, so that its pod is told when they change. */
export function volumeReferences(volume: Volume): { kind: "configmaps" | "secrets"; name: string }[] {
  const out: { kind: "configmaps" | "secrets"; name: string }[] = [];
  if (volume.configMap?.name) out.push({ kind: "configmaps", name: volume.configMap.name });
  if (volume.secret?.secretName) out.push({ kind: "secrets", name: volume.secret.secretName });
  for (const { configMap, secret } of volume.projected?.sources ?? []) {
    if (configMap?.name) out.push({ kind: "configmaps", name: configMap.name });
    if (secret?.name) out.push({ kind: "secrets", name: secret.name });
  }
  return out;
}

/** The files of a configMap, secret, downwardAPI or projected volume. Throws `not-found` and `invalid`. */
export async function projectVolume(
  pod: Pod,
  volume: Volume,
  sources: ProjectionSources,
  facts: DownwardFacts,
): Promise<Map<string, ProjectedFile>> {
  const files = new Map<string, ProjectedFile>();
  const namespace = pod.metadata?.namespace ?? "";
  if (volume.configMap !== undefined) {
    const { name = "", items, optional, defaultMode: mode = defaultMode } = volume.configMap;
    addConfigMap(files, await sourceOf(optional, () => sources.configMap(namespace, name)), items, optional, mode);
  } else if (volume.secret !== undefined) {
    const { secretName = "", items, optional, defaultMode: mode = defaultMode } = volume.secret;
    addSecret(files, await sourceOf(optional, () => sources.secret(namespace, secretName)), items, optional, mode);
  } else if (volume.downwardAPI !== undefined) {
    addDownward(files, pod, volume.downwardAPI.items, facts, volume.downwardAPI.defaultMode ?? defaultMode);
  } else if (volume.projected !== undefined) {
    await addSources(files, pod, volume, sources, facts);
  }
  return files;
}

async function addSources(
  files: Map<string, ProjectedFile>,
  pod: Pod,
  volume: Volume,
  sources: ProjectionSources,
  facts: DownwardFacts,
): Promise<void> {
  const namespace = pod.metadata?.namespace ?? "";
  const mode = volume.projected?.defaultMode ?? defaultMode;
  for (const source of volume.projected?.sources ?? []) {
    if (source.configMap !== undefined) {
      const { name = "", items, optional } = source.configMap;
      addConfigMap(files, await sourceOf(optional, () => sources.configMap(namespace, name)), items, optional, mode);
    } else if (source.secret !== undefined) {
      const { name = "", items, optional } = source.secret;
      addSecret(files, await sourceOf(optional, () => sources.secret(namespace, name)), items, optional, mode);
    } else if (source.downwardAPI !== undefined) {
      addDownward(files, pod, source.downwardAPI.items, facts, mode);
    } else if (source.serviceAccountToken !== undefined) {
      const { audience, expirationSeconds = defaultTokenSeconds, path } = source.serviceAccountToken;
      const token = await sources.token(pod, audience, expirationSeconds);
      files.set(path, { data: Buffer.from(token), ...tokenOwnership(pod, mode) });
    } else {
      const kind = Object.keys(source)[0] ?? "an empty source";
      throw new GantryError("unsupported", `projected volume source ${kind} is not supported on this node`);
    }
  }
}

/** A token is for the pod's user alone when all containers share one (kubelet, projected.go). */
function tokenOwnership(pod: Pod, mode: number): { mode: number; uid?: number } {
  if (pod.spec?.securityContext?.fsGroup !== undefined) return { mode: 0o600 };
  const shared = pod.spec?.securityContext?.runAsUser;
  const containers = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
  const users = new Set(containers.map((container) => container.securityContext?.runAsUser ?? shared));
  const [user] = users;
  return users.size === 1 && user !== undefined ? { mode: 0o600, uid: user } : { mode };
}

async function sourceOf<T>(optional: boolean | undefined, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (optional === true && hasCode(error, "not-found")) return undefined;
    throw error;
  }
}

function addConfigMap(
  files: Map<string, ProjectedFile>,
  map: ConfigMap | undefined,
  items: KeyToPath[] | undefined,
  optional: boolean | undefined,
  mode: number,
): void {
  if (map === undefined) return;
  const values = new Map<string, Uint8Array>();
  for (const [key, value] of Object.entries(map.data ?? {})) values.set(key, Buffer.from(value));
  for (const [key, value] of Object.entries(map.binaryData ?? {})) values.set(key, Buffer.from(value, "base64"));
  addItems(files, values, items, optional, mode, "configmap");
}

function addSecret(
  files: Map<string, ProjectedFile>,
  secret: Secret | undefined,
  items: KeyToPath[] | undefined,
  optional: boolean | undefined,
  mode: number,
): void {
  if (secret === undefined) return;
  const values = new Map<string, Uint8Array>();
  for (const [key, value] of Object.entries(secret.data ?? {})) values.set(key, Buffer.from(value, "base64"));
  addItems(files, values, items, optional, mode, "secret");
}

function addItems(
  files: Map<string, ProjectedFile>,
  values: ReadonlyMap<string, Uint8Array>,
  items: KeyToPath[] | undefined,
  optional: boolean | undefined,
  mode: number,
  kind: string,
): void {
  if (items === undefined || items.length === 0) {
    for (const [key, data] of values) files.set(key, { data, mode });
    return;
  }
  for (const item of items) {
    const data = values.get(item.key);
    if (data !== undefined) files.set(item.path, { data, mode: item.mode ?? mode });
    else if (optional !== true) throw new GantryError("not-found", `references non-existent ${kind} key: ${item.key}`);
  }
}

function addDownward(
  files: Map<string, ProjectedFile>,
  pod: Pod,
  items: DownwardAPIVolumeFile[] | undefined,
  facts: DownwardFacts,
  mode: number,
): void {
  for (const item of items ?? []) {
    let text = "";
    if (item.fieldRef !== undefined) text = podField(pod, item.fieldRef, facts);
    else if (item.resourceFieldRef !== undefined) {
      text = containerResourceField(selectedContainer(pod, item.resourceFieldRef), item.resourceFieldRef, facts);
    }
    files.set(item.path, { data: Buffer.from(text), mode: item.mode ?? mode });
  }
}

import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { randomHex } from "#base/ids.ts";
import { GantryError } from "#base/errors.ts";

interface Cluster {
  server: string;
  "certificate-authority-data"?: string;
  [key: string]: unknown;
}

interface User {
  "client-certificate-data"?: string;
  "client-key-data"?: string;
  token?: string;
  [key: string]: unknown;
}

interface Context {
  cluster: string;
  user: string;
  namespace?: string;
  [key: string]: unknown;
}

/** A kubeconfig file (client-go, clientcmd/api/v1). What we do not know is kept as it is. */
export interface Kubeconfig {
  apiVersion: "v1";
  kind: "Config";
  clusters: { name: string; cluster: Cluster }[];
  users: { name: string; user: User }[];
  contexts: { name: string; context: Context }[];
  "current-context"?: string;
  [key: string]: unknown;
}

/** What one instance's entry is made of. */
export interface KubeconfigEntry {
  /** Name of the instance: the entry's context, cluster and user are `gantry-<name>`. */
  instance: string;
  server: string;
  caPem: string;
  certPem: string;
  keyPem: string;
}

const base64 = (pem: string): string => Buffer.from(pem).toString("base64");

/** `gantry-<instance>`. */
export function contextName(instance: string): string {
  return `gantry-${instance}`;
}

/** A kubeconfig with one context only. */
export function kubeconfigFor(entry: KubeconfigEntry): Kubeconfig {
  const name = contextName(entry.instance);
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name, cluster: { server: entry.server, "certificate-authority-data": base64(entry.caPem) } }],
    users: [
      { name, user: { "client-certificate-data": base64(entry.certPem), "client-key-data": base64(entry.keyPem) } },
    ],
    contexts: [{ name, context: { cluster: name, user: name } }],
    "current-context": name,
  };
}

/** `into` with the entries of `from` in the place of its own of the same names. */
export function mergeKubeconfig(into: Kubeconfig | undefined, from: Kubeconfig, makeCurrent: boolean): Kubeconfig {
  if (into === undefined) return makeCurrent ? from : withoutCurrent(from);
  const merged: Kubeconfig = {
    ...into,
    clusters: replaceByName(into.clusters, from.clusters),
    users: replaceByName(into.users, from.users),
    contexts: replaceByName(into.contexts, from.contexts),
  };
  if (makeCurrent && from["current-context"] !== undefined) merged["current-context"] = from["current-context"];
  return merged;
}

/** `config` without the instance's context, cluster and user; the current context is unset when it was that one. */
export function removeFromKubeconfig(config: Kubeconfig, instance: string): Kubeconfig {
  const name = contextName(instance);
  const other = (item: { name: string }): boolean => item.name !== name;
  const left: Kubeconfig = {
    ...config,
    clusters: config.clusters.filter(other),
    users: config.users.filter(other),
    contexts: config.contexts.filter(other),
  };
  if (left["current-context"] === name) left["current-context"] = "";
  return left;
}

/** Undefined when there is no file, or an empty one. Throws `invalid` for one that is no kubeconfig. */
export async function readKubeconfig(path: string): Promise<Kubeconfig | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const { load } = await import("js-yaml");
  let value: unknown;
  try {
    value = text.trim() === "" ? undefined : load(text);
  } catch (cause) {
    throw new GantryError("invalid", `${path} is not YAML.`, { cause });
  }
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "object" || Array.isArray(value))
    throw new GantryError("invalid", `${path} is not a kubeconfig file.`);
  const config = value as Partial<Kubeconfig>;
  return {
    ...config,
    apiVersion: "v1",
    kind: "Config",
    clusters: config.clusters ?? [],
    users: config.users ?? [],
    contexts: config.contexts ?? [],
  };
}

/** Writes the file atomically with mode 0600; the owner of an existing file is kept. */
export async function writeKubeconfig(path: string, config: Kubeconfig): Promise<void> {
  const { dump } = await import("js-yaml");
  await mkdir(dirname(path), { recursive: true });
  const owner = await stat(path).catch(() => undefined);
  const temporary = `${path}.${randomHex(4)}`;
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(dump(config));
      if (owner !== undefined) await file.chown(owner.uid, owner.gid).catch(() => {});
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Puts an instance's context into the file at `path`, which is made when it is not there. */
export async function addToKubeconfigFile(path: string, entry: KubeconfigEntry, makeCurrent: boolean): Promise<void> {
  await writeKubeconfig(path, mergeKubeconfig(await readKubeconfig(path), kubeconfigFor(entry), makeCurrent));
}

/** Takes an instance's context out of the file at `path`, when it is there. */
export async function removeFromKubeconfigFile(path: string, instance: string): Promise<void> {
  const config = await readKubeconfig(path);
  if (config === undefined || !config.contexts.some(({ name }) => name === contextName(instance))) return;
  await writeKubeconfig(path, removeFromKubeconfig(config, instance));
}

function replaceByName<T extends { name: string }>(into: readonly T[], from: readonly T[]): T[] {
  const names = new Set(from.map(({ name }) => name));
  return [...into.filter(({ name }) => !names.has(name)), ...from];
}

function withoutCurrent(config: Kubeconfig): Kubeconfig {
  return { ...config, "current-context": "" };
}

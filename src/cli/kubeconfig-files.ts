import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { GantryError, errorMessage } from "#base/errors.ts";
import { writeFileAtomicSync } from "#host/files.ts";
import type { InstanceConfig } from "#daemon/instance-config.ts";
import { instancePaths } from "#daemon/instance-paths.ts";
import { dump, load } from "js-yaml";

interface NamedEntry {
  name: string;
  [key: string]: unknown;
}

/** A kubeconfig file (client-go, clientcmd/api/v1.Config). Fields that we do not know stay. */
interface Kubeconfig {
  apiVersion: "v1";
  kind: "Config";
  clusters: NamedEntry[];
  users: NamedEntry[];
  contexts: NamedEntry[];
  "current-context": string;
  preferences?: object;
  [key: string]: unknown;
}

function contextName(config: InstanceConfig): string {
  return `gantry-${config.name}`;
}

function adminKubeconfig(config: InstanceConfig): Kubeconfig {
  const name = contextName(config);
  const { pki } = instancePaths(config);
  const base64 = (file: string): string => readFileSync(join(pki, file)).toString("base64");
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name,
        cluster: { server: `https://127.0.0.1:${config.apiPort}`, "certificate-authority-data": base64("ca.crt") },
      },
    ],
    users: [{ name, user: { "client-certificate-data": base64("admin.crt"), "client-key-data": base64("admin.key") } }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    "current-context": name,
  };
}

/** Writes the administrator's kubeconfig of the instance, mode 0600. */
export function writeAdminKubeconfig(config: InstanceConfig): void {
  writeFileAtomicSync(instancePaths(config).kubeconfig, dump(adminKubeconfig(config)), { mode: 0o600 });
}

/** The user's own kubeconfig: the first file of $KUBECONFIG that is not an instance's own, or ~/.kube/config. */
function userKubeconfigPath(config: InstanceConfig): string {
  const own = instancePaths(config).kubeconfig;
  const named = (process.env["KUBECONFIG"] ?? "").split(":").find((path) => path !== "" && path !== own);
  return named ?? join(homedir(), ".kube/config");
}

function readKubeconfig(path: string): Kubeconfig {
  const empty: Kubeconfig = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [],
    users: [],
    contexts: [],
    "current-context": "",
  };
  if (!existsSync(path)) return empty;
  let parsed: unknown;
  try {
    parsed = load(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new GantryError(
      "invalid",
      `${path} is no kubeconfig that can be read: ${errorMessage(cause)}. Mend it, or point KUBECONFIG elsewhere.`,
      { cause },
    );
  }
  if (parsed === null || parsed === undefined) return empty;
  const file = parsed as Partial<Kubeconfig>;
  return {
    ...empty,
    ...file,
    clusters: file.clusters ?? [],
    users: file.users ?? [],
    contexts: file.contexts ?? [],
  } as Kubeconfig;
}

function writeKubeconfig(path: string, file: Kubeconfig): void {
  const folder = dirname(path);
  const isNew = !existsSync(folder);
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  // Under sudo the file is the calling user's, in that user's home or not at all.
  const owner = existsSync(path) ? statSync(path) : undefined;
  writeFileAtomicSync(path, dump(file), { mode: owner === undefined ? 0o600 : owner.mode & 0o777 });
  if (owner !== undefined && process.getuid?.() === 0) chownSync(path, owner.uid, owner.gid);
  if (isNew && owner === undefined) return;
}

function without(file: Kubeconfig, name: string): Kubeconfig {
  const others = (entries: NamedEntry[]): NamedEntry[] => entries.filter((entry) => entry.name !== name);
  return { ...file, clusters: others(file.clusters), users: others(file.users), contexts: others(file.contexts) };
}

/** Puts the instance's context into the user's kubeconfig, and makes it current when asked. Everything else stays. */
export function mergeUserKubeconfig(config: InstanceConfig, options: { makeCurrent: boolean }): void {
  const path = userKubeconfigPath(config);
  const before = readKubeconfig(path);
  const own = adminKubeconfig(config);
  const rest = without(before, contextName(config));
  const after: Kubeconfig = {
    ...rest,
    clusters: [...rest.clusters, ...own.clusters],
    users: [...rest.users, ...own.users],
    contexts: [...rest.contexts, ...own.contexts],
    "current-context": options.makeCurrent ? contextName(config) : before["current-context"],
  };
  if (JSON.stringify(after) !== JSON.stringify(before)) writeKubeconfig(path, after);
}

/** Takes the instance's context out of the user's kubeconfig again. */
export function unmergeUserKubeconfig(config: InstanceConfig): void {
  const path = userKubeconfigPath(config);
  if (!existsSync(path)) return;
  const before = readKubeconfig(path);
  const after = without(before, contextName(config));
  if (after["current-context"] === contextName(config)) after["current-context"] = after.contexts[0]?.name ?? "";
  // A file in which nothing is left was ours.
  if (after.clusters.length + after.users.length + after.contexts.length === 0) {
    rmSync(path);
    return;
  }
  if (JSON.stringify(after) !== JSON.stringify(before)) writeKubeconfig(path, after);
}

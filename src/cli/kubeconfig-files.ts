import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import type { InstanceConfig } from "#daemon/instance-config.ts";
import { instancePaths } from "#daemon/instance-paths.ts";
import {
  type KubeconfigEntry,
  addToKubeconfigFile,
  kubeconfigFor,
  readKubeconfig,
  removeFromKubeconfigFile,
  writeKubeconfig,
} from "#kube/client/kubeconfig.ts";

function entryOf(config: InstanceConfig): KubeconfigEntry {
  const { pki } = instancePaths(config);
  const read = (file: string): string => readFileSync(join(pki, file), "utf8");
  return {
    instance: config.name,
    server: `https://127.0.0.1:${config.apiPort}`,
    caPem: read("ca.crt"),
    certPem: read("admin.crt"),
    keyPem: read("admin.key"),
  };
}

/** Writes the administrator's kubeconfig of the instance, mode 0600. */
export async function writeAdminKubeconfig(config: InstanceConfig): Promise<void> {
  await writeKubeconfig(instancePaths(config).kubeconfig, kubeconfigFor(entryOf(config)));
}

/** The user's own kubeconfig: the first file of $KUBECONFIG that is not the instance's own, or ~/.kube/config. */
function userKubeconfigPath(config: InstanceConfig): string {
  const own = instancePaths(config).kubeconfig;
  const named = (process.env["KUBECONFIG"] ?? "").split(":").find((path) => path !== "" && path !== own);
  return named ?? join(homedir(), ".kube/config");
}

/** Puts the instance's context into the user's kubeconfig, and makes it current when asked. Everything else stays. */
export async function mergeUserKubeconfig(config: InstanceConfig, options: { makeCurrent: boolean }): Promise<void> {
  await addToKubeconfigFile(userKubeconfigPath(config), entryOf(config), options.makeCurrent);
}

/** Takes the instance's context out of the user's kubeconfig again. A file in which nothing is left was ours. */
export async function unmergeUserKubeconfig(config: InstanceConfig): Promise<void> {
  const path = userKubeconfigPath(config);
  await removeFromKubeconfigFile(path, config.name);
  const left = await readKubeconfig(path);
  if (left !== undefined && left.clusters.length + left.users.length + left.contexts.length === 0) await rm(path);
}

import { join } from "node:path";
import type { InstanceConfig } from "./instance-config.ts";

/** Every file and folder of an instance that more than one process knows. */
export interface InstancePaths {
  /** `instance.json`: what makes the instance; written once. */
  config: string;
  pki: string;
  /** The administrator's kubeconfig, mode 0600. */
  kubeconfig: string;
  store: string;
  engine: string;
  /** Pod volumes and the node agent's state. */
  kubelet: string;
  podLogs: string;
  logs: string;
  log: (process: DaemonName) => string;
  pid: (process: DaemonName) => string;
}

/** The daemons of one instance on one machine. */
export type DaemonName = "control" | "node";

export const daemonNames: readonly DaemonName[] = ["control", "node"];

export function instancePaths(config: Pick<InstanceConfig, "root" | "runDir">): InstancePaths {
  const { root, runDir } = config;
  return {
    config: join(root, "instance.json"),
    pki: join(root, "pki"),
    kubeconfig: join(root, "kubeconfig"),
    store: join(root, "control"),
    engine: join(root, "engine"),
    kubelet: join(root, "kubelet"),
    podLogs: join(root, "pod-logs"),
    logs: join(root, "logs"),
    log: (process) => join(root, "logs", `${process}.log`),
    pid: (process) => join(runDir, `${process}.pid`),
  };
}

/** Where an instance keeps its data unless `--root` says otherwise. */
export function defaultRoot(name: string): string {
  return name === "default" ? "/var/lib/gantry" : `/var/lib/gantry-${name}`;
}

/** Sockets and pid files of an instance. */
export function instanceRunDir(name: string): string {
  return `/run/gantry/${name}`;
}

/** A copy of `instance.json` that the daemons leave where they run: it finds an instance whose own one is lost. */
export function runningConfigFile(config: Pick<InstanceConfig, "runDir">): string {
  return join(config.runDir, "instance.json");
}

/** The node process's bare pid, for systemd. */
export function mainPidFile(config: Pick<InstanceConfig, "runDir">): string {
  return join(config.runDir, "gantry.pid");
}

/** Where the node process takes orders from the command line. Root only. */
export function nodeAdminSocket(config: Pick<InstanceConfig, "runDir">): string {
  return join(config.runDir, "node-admin.sock");
}

/** Where CRI clients (crictl, critest, a kubelet) find the engine. Root only. */
export function criSocket(config: Pick<InstanceConfig, "runDir">): string {
  return `${config.runDir}/cri.sock`;
}

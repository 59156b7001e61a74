/**
 * The pod-runtime port: all that the node agent asks of what runs containers. Shaped after CRI v1
 * (k8s.io/cri-api, runtime/v1), so that the engine, and later any CRI runtime over gRPC, can stand behind it.
 * Every call is safe to repeat. Errors are GantryErrors: `not-found`, `invalid`, `unavailable`, `internal`.
 */
import type { Duplex, Readable } from "node:stream";
import type { IdMapping } from "#base/id-mapping.ts";

export interface PodSandboxConfig {
  metadata: { name: string; namespace: string; uid: string; attempt: number };
  hostname: string;
  /** Folder for container logs: `<logDirectory>/<container's logPath>`. */
  logDirectory: string;
  dns: { servers: string[]; searches: string[]; options: string[] };
  hostAliases: { ip: string; hostnames: string[] }[];
  portMappings: { protocol: "tcp" | "udp" | "sctp"; containerPort: number; hostPort: number; hostIp?: string }[];
  labels: Record<string, string>;
  annotations: Record<string, string>;
  hostNetwork: boolean;
  hostPid: boolean;
  hostIpc: boolean;
  shareProcessNamespace: boolean;
  sysctls: Record<string, string>;
  /** Of the pod's own user namespace; absent: the machine's. */
  userNamespace?: IdMapping;
  /** Relative to the engine's cgroup root, e.g. `kubepods/burstable/pod<uid>`. */
  cgroupParent: string;
  resources?: ContainerResources;
  /** Who rules over the sandbox: absent for our node agent, `cri` for a client of the CRI socket. */
  owner?: "cri";
}

export interface ContainerResources {
  cpuShares?: number;
  /** Microseconds per period of 100,000; absent or -1: no limit. */
  cpuQuota?: number;
  cpuPeriod?: number;
  memoryLimitBytes?: number;
  oomScoreAdj?: number;
  pidsLimit?: number;
  cpusetCpus?: string;
  cpusetMems?: string;
  /** Memory and swap together; absent: as much as the memory. */
  memorySwapLimitBytes?: number;
}

export interface ContainerMount {
  /** Empty where an image is mounted. */
  hostPath: string;
  /** In place of `hostPath`: an image of the machine, read-only, or the folder or file `subPath` of it. */
  image?: { id: string; subPath?: string };
  containerPath: string;
  readOnly: boolean;
  /** What is mounted below is read-only, too. Needs Linux 5.12. */
  recursiveReadOnly?: boolean;
  propagation: "private" | "host-to-container" | "bidirectional";
  /** Files have on disk the ids that the pod's user namespace has inside. */
  idMapped?: boolean;
}

export interface ContainerSecurity {
  privileged: boolean;
  runAsUser?: number;
  runAsGroup?: number;
  /** In place of `runAsUser`: a name from the image's passwd. */
  runAsUserName?: string;
  supplementalGroups: number[];
  /** `strict`: without the groups that the image gives the user. Default: `merge`. */
  supplementalGroupsPolicy?: "merge" | "strict";
  readOnlyRootFilesystem: boolean;
  noNewPrivileges: boolean;
  capabilitiesAdd: string[];
  capabilitiesDrop: string[];
  /** `runtime/default`, `unconfined` or `localhost/<path>`. */
  seccompProfile: string;
  /** `unconfined`, or the name of a profile that the kernel has. Absent: the engine's own, where the kernel has AppArmor. */
  apparmorProfile?: string;
  /** Absent: the engine's own list. */
  maskedPaths?: string[];
  readonlyPaths?: string[];
  /** The container's process namespace when it is not the sandbox's: its own, or another container's. */
  pidNamespace?: "own" | { containerId: string };
}

export interface PodContainerConfig {
  metadata: { name: string; attempt: number };
  /** The id that `imageStatus`/`pullImage` gave. */
  imageId: string;
  /** As the pod names it, for status. */
  image: string;
  /** Overrides the image's entrypoint when not empty. */
  command: string[];
  args: string[];
  workingDir?: string;
  env: { name: string; value: string }[];
  mounts: ContainerMount[];
  devices: { hostPath: string; containerPath: string; permissions: string }[];
  labels: Record<string, string>;
  annotations: Record<string, string>;
  /** Relative to the sandbox's log directory. Lines in CRI format (kubelet, "cri logging"). */
  logPath: string;
  stdin: boolean;
  stdinOnce: boolean;
  tty: boolean;
  stopSignal?: string;
  resources: ContainerResources;
  security: ContainerSecurity;
}

export type SandboxState = "ready" | "not-ready";
export type RuntimeContainerState = "created" | "running" | "exited" | "unknown";

export interface PodSandboxStatus {
  id: string;
  metadata: PodSandboxConfig["metadata"];
  state: SandboxState;
  createdAt: number;
  /** Empty on the host network. */
  ips: string[];
  /** The network namespace as a file, "" on the host network. */
  netnsPath: string;
  /** Which namespaces are the machine's, and whether containers share their processes'. */
  namespaces?: Pick<
    PodSandboxConfig,
    "hostNetwork" | "hostPid" | "hostIpc" | "shareProcessNamespace" | "userNamespace"
  >;
  /** As given when it was made, and changed since. */
  resources?: ContainerResources;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

export interface PodContainerStatus {
  id: string;
  sandboxId: string;
  metadata: PodContainerConfig["metadata"];
  state: RuntimeContainerState;
  /** Milliseconds since the epoch; 0 when not yet. */
  createdAt: number;
  startedAt: number;
  finishedAt: number;
  exitCode: number;
  /** `Completed`, `Error`, `OOMKilled`, `ContainerCannotRun`… */
  reason: string;
  message: string;
  image: string;
  imageId: string;
  /** `name@sha256:…` when known, else the id. */
  imageRef: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  logPath: string;
  pid: number;
  mounts?: ContainerMount[];
  resources?: ContainerResources;
  /** Of its first process; known once it was started. */
  user?: { uid: number; gid: number; supplementalGroups: number[] };
}

export interface RuntimeImage {
  id: string;
  repoTags: string[];
  repoDigests: string[];
  sizeBytes: number;
  /** From the image config's User. */
  uid?: number;
  username?: string;
}

export interface ContainerUsage {
  containerId: string;
  timestamp: number;
  cpuNanoseconds: number;
  memoryWorkingSetBytes: number;
  memoryUsageBytes: number;
  rssBytes: number;
  writableLayerBytes: number;
  /** Absent where a runtime does not tell. */
  details?: UsageDetails;
}

/** What metrics tell beyond the usual; fields that the kernel does not count are absent. */
export interface UsageDetails {
  cpuUserNanoseconds: number;
  cpuKernelNanoseconds: number;
  cpuPeriods: number;
  cpuThrottledPeriods: number;
  cpuThrottledNanoseconds: number;
  memoryCacheBytes?: number;
  memorySwapBytes?: number;
  memoryMappedBytes?: number;
  memoryMaxBytes?: number;
  memoryFailures: number;
  /** 0 is no limit. */
  memoryLimitBytes: number;
  pageFaults?: number;
  majorPageFaults?: number;
  tasks: number;
  /** Of the container's network namespace; none for the machine's. */
  interfaces: {
    name: string;
    rxBytes: number;
    rxPackets: number;
    rxErrors: number;
    rxDropped: number;
    txBytes: number;
    txPackets: number;
    txErrors: number;
    txDropped: number;
  }[];
}

/** The two ways of a running exec or attach; `resize` is for a TTY. */
export interface RuntimeStreams {
  stdin?: Readable;
  stdout?: (chunk: Uint8Array) => void | Promise<void>;
  stderr?: (chunk: Uint8Array) => void | Promise<void>;
  /** Yields new sizes until the session ends. */
  resize?: AsyncIterable<{ width: number; height: number }>;
  signal: AbortSignal;
}

/** What changed: the node agent reconciles the pod named by `sandboxId`. */
export interface RuntimeEvent {
  type:
    | "container-created"
    | "container-started"
    | "container-exited"
    | "container-removed"
    | "sandbox-changed"
    | "container-oom";
  sandboxId: string;
  containerId?: string;
}

export interface PodRuntime {
  /** Name and version for `kubectl get nodes -o wide`, e.g. `gantry://0.1.0`. */
  version(): Promise<{ name: string; version: string }>;
  /** Undefined when ready; else why not. */
  notReadyReason(): Promise<string | undefined>;
  /** Why pods cannot have user namespaces of their own on this machine; undefined when they can. */
  userNamespacesReason(): Promise<string | undefined>;

  runPodSandbox(config: PodSandboxConfig): Promise<string>;
  stopPodSandbox(id: string): Promise<void>;
  removePodSandbox(id: string): Promise<void>;
  podSandboxStatus(id: string): Promise<PodSandboxStatus>;
  listPodSandboxes(): Promise<PodSandboxStatus[]>;
  /**
   * Takes note of a sandbox's changed resources. As in CRI, whoever asks has set the pod's cgroup already. Throws
   * `not-found`, and `conflict` for a sandbox that is stopped.
   */
  updatePodSandboxResources(id: string, resources: ContainerResources): Promise<void>;

  createContainer(sandboxId: string, config: PodContainerConfig): Promise<string>;
  startContainer(id: string): Promise<void>;
  /** SIGTERM (or the stop signal), then SIGKILL after the time; returns when it has exited. */
  stopContainer(id: string, timeoutSeconds: number): Promise<void>;
  removeContainer(id: string): Promise<void>;
  containerStatus(id: string): Promise<PodContainerStatus>;
  listContainers(): Promise<PodContainerStatus[]>;
  updateContainerResources(id: string, resources: ContainerResources): Promise<void>;
  reopenContainerLog(id: string): Promise<void>;

  /** Runs a command to its end and collects output (probes, hooks). Rejects with `timeout` after the time. */
  execSync(
    id: string,
    command: string[],
    timeoutSeconds: number,
  ): Promise<{ exitCode: number; stdout: Uint8Array; stderr: Uint8Array }>;
  /** Interactive exec; resolves with the exit code. */
  exec(id: string, command: string[], tty: boolean, streams: RuntimeStreams): Promise<number>;
  attach(id: string, tty: boolean, streams: RuntimeStreams): Promise<void>;
  /** A connection to a port inside the sandbox's network namespace (on its loopback). */
  portForward(sandboxId: string, port: number, signal: AbortSignal): Promise<Duplex>;

  /** Undefined when the image is not there. Resolves names like `docker inspect` does. */
  imageStatus(image: string): Promise<RuntimeImage | undefined>;
  /** Returns the image's id. `auth` is one entry of a dockerconfigjson. */
  pullImage(
    image: string,
    auth?: { username?: string; password?: string; auth?: string; identityToken?: string },
  ): Promise<string>;
  listImages(): Promise<RuntimeImage[]>;
  removeImage(image: string): Promise<void>;
  imageFsInfo(): Promise<{
    /** The folder with images and writable layers. */
    path?: string;
    usedBytes: number;
    capacityBytes: number;
    availableBytes: number;
    inodesUsed: number;
    inodes: number;
    inodesFree: number;
  }>;

  stats(containerIds?: string[]): Promise<ContainerUsage[]>;
  /** Ends when the signal aborts. */
  events(signal: AbortSignal): AsyncIterable<RuntimeEvent>;
}

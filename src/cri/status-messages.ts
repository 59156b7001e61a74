import type {
  ContainerResources,
  ContainerUsage,
  PodContainerStatus,
  PodSandboxConfig,
  PodSandboxStatus,
} from "#api/pod-runtime.ts";

/** CRI counts time in nanoseconds. */
export function nanoseconds(milliseconds: number): number {
  return milliseconds * 1_000_000;
}

const containerStates: Record<PodContainerStatus["state"], string> = {
  created: "CONTAINER_CREATED",
  running: "CONTAINER_RUNNING",
  exited: "CONTAINER_EXITED",
  unknown: "CONTAINER_UNKNOWN",
};

export function containerState(status: PodContainerStatus): string {
  return containerStates[status.state];
}

export function sandboxState(status: PodSandboxStatus): string {
  return status.state === "ready" ? "SANDBOX_READY" : "SANDBOX_NOTREADY";
}

const propagations = {
  private: "PROPAGATION_PRIVATE",
  "host-to-container": "PROPAGATION_HOST_TO_CONTAINER",
  bidirectional: "PROPAGATION_BIDIRECTIONAL",
};

function resourcesMessage(resources: ContainerResources): object {
  return {
    cpuPeriod: resources.cpuPeriod ?? 0,
    cpuQuota: resources.cpuQuota ?? 0,
    cpuShares: resources.cpuShares ?? 0,
    memoryLimitInBytes: resources.memoryLimitBytes ?? 0,
    memorySwapLimitInBytes: resources.memorySwapLimitBytes ?? 0,
    oomScoreAdj: resources.oomScoreAdj ?? 0,
    cpusetCpus: resources.cpusetCpus ?? "",
    cpusetMems: resources.cpusetMems ?? "",
  };
}

/** A `Container`, for lists. */
export function containerMessage(status: PodContainerStatus): object {
  return {
    id: status.id,
    podSandboxId: status.sandboxId,
    metadata: status.metadata,
    image: { image: status.image, userSpecifiedImage: status.image },
    imageRef: status.imageId,
    imageId: status.imageId,
    state: containerState(status),
    createdAt: nanoseconds(status.createdAt),
    labels: status.labels,
    annotations: status.annotations,
  };
}

/** A `ContainerStatus`. */
export function containerStatusMessage(status: PodContainerStatus): object {
  return {
    id: status.id,
    metadata: status.metadata,
    state: containerState(status),
    createdAt: nanoseconds(status.createdAt),
    startedAt: nanoseconds(status.startedAt),
    finishedAt: nanoseconds(status.finishedAt),
    exitCode: status.exitCode,
    image: { image: status.image, userSpecifiedImage: status.image },
    imageRef: status.imageId,
    imageId: status.imageId,
    reason: status.reason,
    message: status.message,
    labels: status.labels,
    annotations: status.annotations,
    mounts: (status.mounts ?? []).map(
      ({ hostPath, image, containerPath, readOnly, recursiveReadOnly, propagation }) => ({
        hostPath,
        ...(image === undefined ? {} : { image: { image: image.id }, imageSubPath: image.subPath ?? "" }),
        containerPath,
        readonly: readOnly,
        recursiveReadOnly: recursiveReadOnly === true,
        propagation: propagations[propagation],
      }),
    ),
    logPath: status.logPath,
    ...(status.user === undefined ? {} : { user: { linux: status.user } }),
    resources: { linux: resourcesMessage(status.resources ?? {}) },
  };
}

/** A `PodSandbox`, for lists. */
export function sandboxMessage(status: PodSandboxStatus): object {
  const { id, metadata, labels, annotations } = status;
  return { id, metadata, state: sandboxState(status), createdAt: nanoseconds(status.createdAt), labels, annotations };
}

function namespaceOptions(
  config: Pick<PodSandboxConfig, "hostNetwork" | "hostPid" | "hostIpc" | "shareProcessNamespace" | "userNamespace">,
) {
  return {
    network: config.hostNetwork ? "NODE" : "POD",
    pid: config.hostPid ? "NODE" : config.shareProcessNamespace ? "POD" : "CONTAINER",
    ipc: config.hostIpc ? "NODE" : "POD",
    usernsOptions: config.userNamespace === undefined ? { mode: "NODE" } : { mode: "POD", ...config.userNamespace },
  };
}

/** A `PodSandboxStatus`. */
export function sandboxStatusMessage(status: PodSandboxStatus): object {
  const [ip = "", ...more] = status.ips;
  return {
    ...sandboxMessage(status),
    network: { ip, additionalIps: more.map((other) => ({ ip: other })) },
    ...(status.namespaces === undefined
      ? {}
      : { linux: { namespaces: { options: namespaceOptions(status.namespaces) } } }),
  };
}

/** A `ContainerStats`; usage is absent for a container that does not run. */
export function containerStatsMessage(
  status: PodContainerStatus,
  usage: ContainerUsage | undefined,
  mountpoint: string,
): object {
  const { id, metadata, labels, annotations } = status;
  const attributes = { id, metadata, labels, annotations };
  if (usage === undefined) return { attributes };
  const timestamp = nanoseconds(usage.timestamp);
  return {
    attributes,
    cpu: { timestamp, usageCoreNanoSeconds: { value: usage.cpuNanoseconds } },
    memory: {
      timestamp,
      workingSetBytes: { value: usage.memoryWorkingSetBytes },
      usageBytes: { value: usage.memoryUsageBytes },
      rssBytes: { value: usage.rssBytes },
    },
    writableLayer: {
      timestamp,
      fsId: { mountpoint },
      usedBytes: { value: usage.writableLayerBytes },
    },
  };
}

/** A `PodSandboxStats`: the sum of its containers, which are in it, too. */
export function sandboxStatsMessage(
  status: PodSandboxStatus,
  containers: readonly { status: PodContainerStatus; usage: ContainerUsage }[],
  now: number,
  mountpoint: string,
): object {
  const { id, metadata, labels, annotations } = status;
  const sum = (of: (usage: ContainerUsage) => number): { value: number } => ({
    value: containers.reduce((total, { usage }) => total + of(usage), 0),
  });
  const timestamp = nanoseconds(now);
  return {
    attributes: { id, metadata, labels, annotations },
    linux: {
      cpu: { timestamp, usageCoreNanoSeconds: sum((usage) => usage.cpuNanoseconds) },
      memory: {
        timestamp,
        workingSetBytes: sum((usage) => usage.memoryWorkingSetBytes),
        usageBytes: sum((usage) => usage.memoryUsageBytes),
        rssBytes: sum((usage) => usage.rssBytes),
      },
      ...networkUsage(timestamp, containers[0]?.usage),
      process: { timestamp, processCount: sum((usage) => usage.details?.tasks ?? 0) },
      containers: containers.map((container) => containerStatsMessage(container.status, container.usage, mountpoint)),
    },
  };
}

/** The network that a pod's containers share; empty on the machine's, and while no container runs. */
function networkUsage(timestamp: number, usage: ContainerUsage | undefined): object {
  const [first, ...others] = (usage?.details?.interfaces ?? []).map(
    ({ name, rxBytes, rxErrors, txBytes, txErrors }) => ({
      name,
      rxBytes: { value: rxBytes },
      rxErrors: { value: rxErrors },
      txBytes: { value: txBytes },
      txErrors: { value: txErrors },
    }),
  );
  return first === undefined ? {} : { network: { timestamp, defaultInterface: first, interfaces: others } };
}

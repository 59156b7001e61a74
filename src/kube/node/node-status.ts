import type { Node, NodeCondition } from "#api/kube/generated/types.ts";
import type { RuntimeImage } from "#api/pod-runtime.ts";
import type { MachineFacts } from "./node-facts.ts";
import { apiTime } from "./pod-status.ts";

export interface NodeSpecFacts {
  nodeName: string;
  nodeIp: string;
  podCidr?: string;
  kubeletPort: number;
  kubeletVersion: string;
  maxPods: number;
  labels: Record<string, string>;
  machine: MachineFacts;
}

export interface NodeHealth {
  /** Undefined when ready. */
  notReadyReason: string | undefined;
  memoryPressure: boolean;
  diskPressure: boolean;
  pidPressure: boolean;
}

const maxImages = 50;

/** The Node object as this machine registers itself. */
export function nodeObject(facts: NodeSpecFacts): Node {
  const { nodeName, machine } = facts;
  const node: Node = {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name: nodeName,
      labels: {
        "beta.kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine.architecture,
        "kubernetes.io/hostname": nodeName,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": "gantry",
        ...facts.labels,
      },
      annotations: { "volumes.kubernetes.io/controller-managed-attach-detach": "true" },
    },
    spec: {},
  };
  if (facts.podCidr !== undefined) node.spec = { podCIDR: facts.podCidr, podCIDRs: [facts.podCidr] };
  return node;
}

function resources(facts: NodeSpecFacts): Record<string, string> {
  const { machine, maxPods } = facts;
  return {
    cpu: String(machine.cpus),
    "ephemeral-storage": `${Math.floor(machine.ephemeralStorageBytes / 1024)}Ki`,
    ...machine.hugepages,
    memory: `${Math.floor(machine.memoryBytes / 1024)}Ki`,
    pods: String(maxPods),
  };
}

/** The status that the node reports. Transition times are kept where nothing changed. */
export function nodeStatus(
  facts: NodeSpecFacts,
  health: NodeHealth,
  runtime: { name: string; version: string },
  images: readonly RuntimeImage[],
  previous: readonly NodeCondition[],
  now: number,
): NonNullable<Node["status"]> {
  const { machine } = facts;
  const at = apiTime(now);
  const condition = (type: string, status: "True" | "False", reason: string, message: string): NodeCondition => {
    const old = previous.find((one) => one.type === type);
    const lastTransitionTime = old !== undefined && old.status === status ? old.lastTransitionTime : at;
    return { type, status, reason, message, lastHeartbeatTime: at, lastTransitionTime };
  };
  const pressure = (type: string, is: boolean, has: string, bad: string, yes: string, no: string): NodeCondition =>
    condition(type, is ? "True" : "False", is ? bad : has, is ? yes : no);
  return {
    capacity: resources(facts),
    allocatable: resources(facts),
    conditions: [
      pressure(
        "MemoryPressure",
        health.memoryPressure,
        "KubeletHasSufficientMemory",
        "KubeletHasInsufficientMemory",
        "kubelet has insufficient memory available",
        "kubelet has sufficient memory available",
      ),
      pressure(
        "DiskPressure",
        health.diskPressure,
        "KubeletHasNoDiskPressure",
        "KubeletHasDiskPressure",
        "kubelet has disk pressure",
        "kubelet has no disk pressure",
      ),
      pressure(
        "PIDPressure",
        health.pidPressure,
        "KubeletHasSufficientPID",
        "KubeletHasInsufficientPID",
        "kubelet has insufficient PID available",
        "kubelet has sufficient PID available",
      ),
      health.notReadyReason === undefined
        ? condition("Ready", "True", "KubeletReady", "kubelet is posting ready status")
        : condition("Ready", "False", "KubeletNotReady", health.notReadyReason),
    ],
    addresses: [
      { type: "InternalIP", address: facts.nodeIp },
      { type: "Hostname", address: facts.nodeName },
    ],
    daemonEndpoints: { kubeletEndpoint: { Port: facts.kubeletPort } },
    nodeInfo: {
      machineID: machine.machineId,
      systemUUID: machine.systemUuid,
      bootID: machine.bootId,
      kernelVersion: machine.kernelVersion,
      osImage: machine.osImage,
      containerRuntimeVersion: runtime.version.includes("://")
        ? runtime.version
        : `${runtime.name}://${runtime.version}`,
      kubeletVersion: facts.kubeletVersion,
      kubeProxyVersion: "",
      operatingSystem: "linux",
      architecture: machine.architecture,
    },
    images: [...images]
      .sort((a, b) => b.sizeBytes - a.sizeBytes)
      .slice(0, maxImages)
      .map(({ repoTags, repoDigests, sizeBytes }) => ({ names: [...repoDigests, ...repoTags].slice(0, 5), sizeBytes }))
      .filter(({ names }) => names.length > 0),
  };
}

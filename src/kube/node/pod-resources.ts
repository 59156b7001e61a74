import type { ContainerResources } from "#api/pod-runtime.ts";
import type { Container, Pod, ResourceRequirements } from "./pod-types.ts";
import { isSidecar } from "./pod-types.ts";
import { quantityCeil, quantityMilli, quantityValue } from "./quantity-value.ts";

export type QosClass = "Guaranteed" | "Burstable" | "BestEffort";

const cpuPeriod = 100_000;
const minShares = 2;
const maxShares = 262_144;
const minQuota = 1_000;

const isSet = (value: string | number | undefined): value is string | number =>
  value !== undefined && quantityValue(value) > 0;

/** The pod's quality of service (kubernetes, qos.ComputePodQOS): only cpu and memory count. */
export function qosClass(pod: Pod): QosClass {
  if (pod.status?.qosClass) return pod.status.qosClass as QosClass;
  const podLevel = pod.spec?.resources;
  if (podLevel !== undefined && (podLevel.limits !== undefined || podLevel.requests !== undefined)) {
    return qosOf([podLevel]);
  }
  const containers = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
  return qosOf(containers.map((container) => container.resources ?? {}));
}

function qosOf(all: ResourceRequirements[]): QosClass {
  let any = false;
  let guaranteed = true;
  for (const { limits = {}, requests = {} } of all) {
    for (const name of ["cpu", "memory"]) {
      const limit = limits[name];
      const request = requests[name] ?? limit;
      if (isSet(limit) || isSet(request)) any = true;
      if (!isSet(limit) || !isSet(request) || quantityValue(limit) !== quantityValue(request)) guaranteed = false;
    }
  }
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}

/** `kubepods/pod<uid>`, with the class between for the two lesser ones. */
export function podCgroup(pod: Pod): string {
  const uid = `pod${pod.metadata?.uid}`;
  switch (qosClass(pod)) {
    case "Guaranteed":
      return `kubepods/${uid}`;
    case "Burstable":
      return `kubepods/burstable/${uid}`;
    case "BestEffort":
      return `kubepods/besteffort/${uid}`;
  }
}

function shares(milli: number): number {
  return milli === 0 ? minShares : Math.min(Math.max(Math.floor((milli * 1024) / 1000), minShares), maxShares);
}

function quota(milli: number): number {
  return Math.max(Math.floor((milli * cpuPeriod) / 1000), minQuota);
}

/** cgroup values of one container (kubelet, linuxContainerResources). `nodeMemoryBytes` scales oomScoreAdj. */
export function containerResources(pod: Pod, container: Container, nodeMemoryBytes: number): ContainerResources {
  const { limits = {}, requests = {} } = container.resources ?? {};
  const cpuLimit = isSet(limits.cpu) ? quantityMilli(limits.cpu) : undefined;
  const cpuRequest = requests.cpu === undefined ? (cpuLimit ?? 0) : quantityMilli(requests.cpu);
  const memoryLimit = isSet(limits.memory) ? quantityCeil(limits.memory) : undefined;
  const out: ContainerResources = {
    cpuShares: shares(cpuRequest),
    oomScoreAdj: oomScoreAdjust(pod, container, nodeMemoryBytes),
  };
  if (cpuLimit !== undefined) {
    out.cpuPeriod = cpuPeriod;
    out.cpuQuota = quota(cpuLimit);
  }
  if (memoryLimit !== undefined) out.memoryLimitBytes = memoryLimit;
  return out;
}

/** The pod cgroup's own values: sums of the containers', limits only where every container has one. */
export function podResources(pod: Pod): ContainerResources {
  const regular = pod.spec?.containers ?? [];
  const sidecars = (pod.spec?.initContainers ?? []).filter(isSidecar);
  const once = (pod.spec?.initContainers ?? []).filter((container) => !isSidecar(container));
  const together = [...regular, ...sidecars];
  const requestMilli = (container: Container): number => {
    const { requests = {}, limits = {} } = container.resources ?? {};
    return quantityMilli(requests.cpu ?? limits.cpu ?? 0);
  };
  const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
  const request = Math.max(sum(together.map(requestMilli)), ...once.map(requestMilli), 0);
  const out: ContainerResources = { cpuShares: shares(request) };
  const limitOf = (name: string, convert: (value: string | number) => number): number | undefined => {
    const podLimit = pod.spec?.resources?.limits?.[name];
    if (isSet(podLimit)) return convert(podLimit);
    if (![...together, ...once].every((container) => isSet(container.resources?.limits?.[name]))) return undefined;
    const value = (container: Container): number => convert(container.resources?.limits?.[name] as string);
    return Math.max(sum(together.map(value)), ...once.map(value), 0);
  };
  const cpu = limitOf("cpu", quantityMilli);
  const memory = limitOf("memory", quantityCeil);
  if (cpu !== undefined && cpu > 0) {
    out.cpuPeriod = cpuPeriod;
    out.cpuQuota = quota(cpu);
  }
  if (memory !== undefined && memory > 0) out.memoryLimitBytes = memory;
  return out;
}

/** -997 for guaranteed, 1000 for best effort, between by the share of memory requested (kubelet, qos/policy.go). */
function oomScoreAdjust(pod: Pod, container: Container, nodeMemoryBytes: number): number {
  switch (qosClass(pod)) {
    case "Guaranteed":
      return -997;
    case "BestEffort":
      return 1000;
    case "Burstable": {
      const { requests = {}, limits = {} } = container.resources ?? {};
      const request = quantityCeil(requests.memory ?? limits.memory ?? 0);
      const score = 1000 - Math.floor((1000 * request) / Math.max(nodeMemoryBytes, 1));
      // Never as safe as guaranteed, never as exposed as best effort.
      return Math.min(Math.max(score, 3), 999);
    }
  }
}

import { readFileSync } from "node:fs";
import type { ContainerUsage, PodContainerStatus } from "#api/pod-runtime.ts";
import { memInfo } from "../node-facts.ts";
import type { Pod } from "../pod-types.ts";
import { runtimeLabels } from "../runtime-view.ts";

export interface UsageSample {
  usage: ContainerUsage;
  /** Rate since the sample before; 0 for the first. */
  nanoCores: number;
}

/** Turns counters into rates: keeps the last sample of each container. */
export class UsageRates {
  #last = new Map<string, ContainerUsage>();

  next(usages: readonly ContainerUsage[]): Map<string, UsageSample> {
    const out = new Map<string, UsageSample>();
    for (const usage of usages) {
      const before = this.#last.get(usage.containerId);
      const ms = before === undefined ? 0 : usage.timestamp - before.timestamp;
      const nanoCores =
        before === undefined || ms <= 0 ? 0 : ((usage.cpuNanoseconds - before.cpuNanoseconds) / ms) * 1000;
      out.set(usage.containerId, { usage, nanoCores: Math.max(0, Math.round(nanoCores)) });
    }
    this.#last = new Map(usages.map((usage) => [usage.containerId, usage]));
    return out;
  }
}

interface NodeUsage {
  cpuNanoseconds: number;
  memoryWorkingSetBytes: number;
  memoryAvailableBytes: number;
}

/** The whole machine's, from /proc. */
export function machineUsage(): NodeUsage {
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (
    readFileSync("/proc/stat", "utf8").split("\n")[0] ?? ""
  )
    .split(/\s+/)
    .map(Number);
  const meminfo = readFileSync("/proc/meminfo", "utf8");
  const available = memInfo(meminfo, "MemAvailable");
  // Ticks are hundredths of a second.
  const cpuNanoseconds = (user + nice + system + irq + softirq + steal) * 10_000_000;
  return {
    cpuNanoseconds,
    memoryWorkingSetBytes: memInfo(meminfo, "MemTotal") - available,
    memoryAvailableBytes: available,
  };
}

function stats(
  time: string,
  nanoCores: number,
  usage: {
    cpuNanoseconds: number;
    memoryWorkingSetBytes: number;
    memoryUsageBytes?: number;
    rssBytes?: number;
    memoryAvailableBytes?: number;
  },
): Record<string, unknown> {
  return {
    cpu: { time, usageNanoCores: nanoCores, usageCoreNanoSeconds: usage.cpuNanoseconds },
    memory: {
      time,
      workingSetBytes: usage.memoryWorkingSetBytes,
      ...(usage.memoryAvailableBytes === undefined ? {} : { availableBytes: usage.memoryAvailableBytes }),
      ...(usage.memoryUsageBytes === undefined ? {} : { usageBytes: usage.memoryUsageBytes }),
      ...(usage.rssBytes === undefined ? {} : { rssBytes: usage.rssBytes }),
    },
  };
}

/** `/stats/summary` (kubelet, stats/v1alpha1.Summary). */
export function statsSummary(
  nodeName: string,
  startTime: string,
  pods: readonly Pod[],
  containers: readonly PodContainerStatus[],
  samples: ReadonlyMap<string, UsageSample>,
  node: NodeUsage & { nanoCores: number },
  now: number,
): Record<string, unknown> {
  const time = new Date(now).toISOString();
  return {
    node: { nodeName, startTime, ...stats(time, node.nanoCores, node) },
    pods: pods.map((pod) => {
      const mine = containers.filter(
        (one) =>
          one.state === "running" && one.labels[runtimeLabels.podUid] === pod.metadata?.uid && samples.has(one.id),
      );
      const used = mine.map((one) => ({ status: one, sample: samples.get(one.id) as UsageSample }));
      const sum = (read: (sample: UsageSample) => number): number =>
        used.reduce((total, { sample }) => total + read(sample), 0);
      return {
        podRef: { name: pod.metadata?.name, namespace: pod.metadata?.namespace, uid: pod.metadata?.uid },
        startTime: pod.status?.startTime ?? pod.metadata?.creationTimestamp,
        containers: used.map(({ status, sample }) => ({
          name: status.labels[runtimeLabels.containerName],
          startTime: new Date(status.startedAt).toISOString(),
          ...stats(time, sample.nanoCores, sample.usage),
          rootfs: { time, usedBytes: sample.usage.writableLayerBytes },
        })),
        ...stats(
          time,
          sum((one) => one.nanoCores),
          {
            cpuNanoseconds: sum((one) => one.usage.cpuNanoseconds),
            memoryWorkingSetBytes: sum((one) => one.usage.memoryWorkingSetBytes),
            memoryUsageBytes: sum((one) => one.usage.memoryUsageBytes),
            rssBytes: sum((one) => one.usage.rssBytes),
          },
        ),
      };
    }),
  };
}

/** `/metrics/resource`: what the metrics server reads, in Prometheus' text form. */
export function resourceMetrics(
  containers: readonly PodContainerStatus[],
  usages: readonly ContainerUsage[],
  node: NodeUsage,
  now: number,
): string {
  const byId = new Map(usages.map((usage) => [usage.containerId, usage]));
  const running = containers.filter((one) => one.state === "running" && byId.has(one.id));
  const lines: string[] = [];
  const metric = (name: string, type: string, help: string, rows: [string, number, number?][]): void => {
    lines.push(`# HELP ${name} [STABLE] ${help}`, `# TYPE ${name} ${type}`);
    for (const [labels, value, at] of rows) lines.push(`${name}${labels} ${value}${at === undefined ? "" : ` ${at}`}`);
  };
  const labelsOf = (one: PodContainerStatus): string =>
    `{container="${one.labels[runtimeLabels.containerName]}",namespace="${one.labels[runtimeLabels.podNamespace]}",pod="${one.labels[runtimeLabels.podName]}"}`;
  const rows = (read: (usage: ContainerUsage) => number): [string, number, number][] =>
    running.map((one) => {
      const usage = byId.get(one.id) as ContainerUsage;
      return [labelsOf(one), read(usage), usage.timestamp];
    });
  const podRows = (read: (usage: ContainerUsage) => number): [string, number, number][] => {
    const sums = new Map<string, number>();
    for (const one of running) {
      const key = `{namespace="${one.labels[runtimeLabels.podNamespace]}",pod="${one.labels[runtimeLabels.podName]}"}`;
      sums.set(key, (sums.get(key) ?? 0) + read(byId.get(one.id) as ContainerUsage));
    }
    return [...sums].map(([key, value]) => [key, value, now]);
  };
  const seconds = (usage: ContainerUsage): number => usage.cpuNanoseconds / 1e9;
  const memory = (usage: ContainerUsage): number => usage.memoryWorkingSetBytes;
  metric(
    "container_cpu_usage_seconds_total",
    "counter",
    "Cumulative cpu time consumed by the container in core-seconds",
    rows(seconds),
  );
  metric("container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes", rows(memory));
  metric(
    "container_start_time_seconds",
    "gauge",
    "Start time of the container since unix epoch in seconds",
    running.map((one) => [labelsOf(one), one.startedAt / 1000]),
  );
  metric("node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds", [
    ["", node.cpuNanoseconds / 1e9, now],
  ]);
  metric("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes", [
    ["", node.memoryWorkingSetBytes, now],
  ]);
  metric(
    "pod_cpu_usage_seconds_total",
    "counter",
    "Cumulative cpu time consumed by the pod in core-seconds",
    podRows(seconds),
  );
  metric("pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes", podRows(memory));
  metric("resource_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise", [
    ["", 0],
  ]);
  return `${lines.join("\n")}\n`;
}

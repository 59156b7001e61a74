import type { ContainerUsage, PodContainerStatus, PodSandboxStatus, UsageDetails } from "#api/pod-runtime.ts";
import { nanoseconds } from "./status-messages.ts";

/** The labels that cAdvisor gives these metrics; the kubelet passes them on as they are. */
const labelKeys = ["container", "id", "image", "name", "namespace", "pod"] as const;

type MetricType = "COUNTER" | "GAUGE";
type Interface = UsageDetails["interfaces"][number];

interface Definition<T> {
  name: string;
  help: string;
  type: MetricType;
  /** Undefined where it cannot be known: there is no such metric then. */
  value: (from: T) => number | undefined;
}

const counter = <T>(name: string, help: string, value: Definition<T>["value"]): Definition<T> => {
  return { name, help, type: "COUNTER", value };
};
const gauge = <T>(name: string, help: string, value: Definition<T>["value"]): Definition<T> => {
  return { name, help, type: "GAUGE", value };
};
/** Values are whole numbers in CRI, so that seconds lose their fraction. */
const seconds = (nanos: number | undefined): number | undefined =>
  nanos === undefined ? undefined : Math.floor(nanos / 1e9);

const usageMetrics: Definition<ContainerUsage>[] = [
  counter("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", (usage) =>
    seconds(usage.cpuNanoseconds),
  ),
  counter("container_cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds.", (usage) =>
    seconds(usage.details?.cpuUserNanoseconds),
  ),
  counter("container_cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds.", (usage) =>
    seconds(usage.details?.cpuKernelNanoseconds),
  ),
  counter("container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.", (usage) => {
    return usage.details?.cpuPeriods;
  }),
  counter("container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.", (usage) => {
    return usage.details?.cpuThrottledPeriods;
  }),
  counter(
    "container_cpu_cfs_throttled_seconds_total",
    "Total time duration the container has been throttled.",
    (usage) => seconds(usage.details?.cpuThrottledNanoseconds),
  ),
  gauge("container_memory_usage_bytes", "Current memory usage in bytes, including all memory.", (usage) => {
    return usage.memoryUsageBytes;
  }),
  gauge("container_memory_working_set_bytes", "Current working set in bytes.", (usage) => usage.memoryWorkingSetBytes),
  gauge("container_memory_rss", "Size of RSS in bytes.", (usage) => usage.rssBytes),
  gauge("container_memory_cache", "Number of bytes of page cache memory.", (usage) => usage.details?.memoryCacheBytes),
  gauge("container_memory_swap", "Container swap usage in bytes.", (usage) => usage.details?.memorySwapBytes),
  gauge("container_memory_mapped_file", "Size of memory mapped files in bytes.", (usage) => {
    return usage.details?.memoryMappedBytes;
  }),
  gauge("container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes.", (usage) => {
    return usage.details?.memoryMaxBytes;
  }),
  counter("container_memory_failcnt", "Number of memory usage hits limits.", (usage) => usage.details?.memoryFailures),
  gauge("container_spec_memory_limit_bytes", "Memory limit for the container; 0 is no limit.", (usage) => {
    return usage.details?.memoryLimitBytes;
  }),
  gauge("container_fs_usage_bytes", "Number of bytes of the writable layer.", (usage) => usage.writableLayerBytes),
  gauge("container_processes", "Number of processes and threads running inside the container.", (usage) => {
    return usage.details?.tasks;
  }),
];

const faultMetric = "container_memory_failures_total";
const faultHelp = "Cumulative count of memory allocation failures.";
const faults: readonly [label: string, of: (details: UsageDetails) => number | undefined][] = [
  ["pgfault", ({ pageFaults }) => pageFaults],
  ["pgmajfault", ({ majorPageFaults }) => majorPageFaults],
];

const networkMetrics: Definition<Interface>[] = [
  counter("container_network_receive_bytes_total", "Cumulative count of bytes received.", (of) => of.rxBytes),
  counter("container_network_receive_packets_total", "Cumulative count of packets received.", (of) => of.rxPackets),
  counter("container_network_receive_errors_total", "Cumulative count of errors while receiving.", (of) => of.rxErrors),
  counter(
    "container_network_receive_packets_dropped_total",
    "Cumulative count of packets dropped while receiving.",
    (of) => of.rxDropped,
  ),
  counter("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted.", (of) => of.txBytes),
  counter("container_network_transmit_packets_total", "Cumulative count of packets transmitted.", (of) => of.txPackets),
  counter(
    "container_network_transmit_errors_total",
    "Cumulative count of errors while transmitting.",
    (of) => of.txErrors,
  ),
  counter(
    "container_network_transmit_packets_dropped_total",
    "Cumulative count of packets dropped while transmitting.",
    (of) => of.txDropped,
  ),
];

/** `ListMetricDescriptors`: every metric that `ListPodSandboxMetrics` may have. */
export function metricDescriptors(): { name: string; help: string; labelKeys: string[] }[] {
  return [
    ...usageMetrics.map(({ name, help }) => ({ name, help, labelKeys: [...labelKeys] })),
    { name: faultMetric, help: faultHelp, labelKeys: [...labelKeys, "failure_type", "scope"] },
    ...networkMetrics.map(({ name, help }) => ({ name, help, labelKeys: [...labelKeys, "interface"] })),
  ];
}

function metric(name: string, metricType: MetricType, timestamp: number, labelValues: string[], value: number): object {
  return { name, timestamp: nanoseconds(timestamp), metricType, labelValues, value: { value } };
}

function containerMetrics(sandbox: PodSandboxStatus, status: PodContainerStatus, usage: ContainerUsage): object[] {
  const { name, namespace } = sandbox.metadata;
  const labels = [status.metadata.name, status.id, status.image, status.metadata.name, namespace, name];
  const { details, timestamp } = usage;
  const one = ({ name: metricName, type, value }: Definition<ContainerUsage>): object[] => {
    const number = value(usage);
    return number === undefined ? [] : [metric(metricName, type, timestamp, labels, number)];
  };
  return [
    ...usageMetrics.flatMap(one),
    ...(details === undefined ? [] : faults).flatMap(([label, of]) => {
      const number = of(details as UsageDetails);
      if (number === undefined) return [];
      return [metric(faultMetric, "COUNTER", timestamp, [...labels, label, "container"], number)];
    }),
  ];
}

/** One `PodSandboxMetrics`: the network, which a pod's containers share, is the sandbox's own. */
export function sandboxMetrics(
  sandbox: PodSandboxStatus,
  containers: readonly { status: PodContainerStatus; usage: ContainerUsage }[],
): object {
  const { name, namespace } = sandbox.metadata;
  const labels = ["", sandbox.id, "", "", namespace, name];
  const first = containers[0]?.usage;
  return {
    podSandboxId: sandbox.id,
    metrics: (first?.details?.interfaces ?? []).flatMap((each) =>
      networkMetrics.map(({ name: metricName, type, value }) =>
        metric(metricName, type, (first as ContainerUsage).timestamp, [...labels, each.name], value(each) ?? 0),
      ),
    ),
    containerMetrics: containers.map(({ status, usage }) => ({
      containerId: status.id,
      metrics: containerMetrics(sandbox, status, usage),
    })),
  };
}

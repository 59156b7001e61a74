import type { RuntimeReading } from "#api/container-runtime.ts";
import type { NetworkStats } from "#api/docker/container-types.ts";
import type { UsageDetails } from "#api/pod-runtime.ts";

/** A cgroup's reading as the pod runtime tells it; version 1 counts a tree's in fields of their own, `total_…`. */
export function usageDetails(reading: RuntimeReading, interfaces: Record<string, NetworkStats>): UsageDetails {
  const { cpu, memory, pids } = reading;
  const stat = (...names: string[]): number | undefined =>
    names.map((name) => memory.stats[name]).find((value) => value !== undefined);
  const details: UsageDetails = {
    cpuUserNanoseconds: cpu.user,
    cpuKernelNanoseconds: cpu.kernel,
    cpuPeriods: cpu.periods,
    cpuThrottledPeriods: cpu.throttled,
    cpuThrottledNanoseconds: cpu.throttledTime,
    memoryFailures: memory.failures,
    // Without a limit the kernel says a number that no machine has.
    memoryLimitBytes: memory.limit > 0 && memory.limit < 2 ** 60 ? memory.limit : 0,
    tasks: pids.current,
    interfaces: Object.entries(interfaces).map(([name, counters]) => ({
      name,
      rxBytes: counters.rx_bytes,
      rxPackets: counters.rx_packets,
      rxErrors: counters.rx_errors,
      rxDropped: counters.rx_dropped,
      txBytes: counters.tx_bytes,
      txPackets: counters.tx_packets,
      txErrors: counters.tx_errors,
      txDropped: counters.tx_dropped,
    })),
  };
  const optional: Partial<Record<keyof UsageDetails, number | undefined>> = {
    memoryCacheBytes: stat("total_cache", "cache", "file"),
    memorySwapBytes: stat("total_swap", "swap"),
    memoryMappedBytes: stat("total_mapped_file", "mapped_file", "file_mapped"),
    memoryMaxBytes: memory.max > 0 ? memory.max : undefined,
    pageFaults: stat("total_pgfault", "pgfault"),
    majorPageFaults: stat("total_pgmajfault", "pgmajfault"),
  };
  return Object.assign(
    details,
    Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
  );
}

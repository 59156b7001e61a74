import { readFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import type { ContainerRuntimePort, RuntimeReading } from "#api/container-runtime.ts";
import type { ContainerStats, CpuStats, NetworkStats } from "#api/docker/container-types.ts";
import type { Clock } from "#base/clock.ts";
import { errorCode } from "#base/errors.ts";
import type { Container } from "./container.ts";
import { rfc3339, zeroTime } from "./timestamps.ts";

export interface StatsParts {
  runtime: ContainerRuntimePort;
  clock: Clock;
}

const everyMs = 1000;
/** Of /proc/stat; Linux has had 100 for its users on all machines. */
const ticksPerSecond = 100;
const emptyCpu: CpuStats = {
  cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 },
  throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
};

/** CPU time of the whole machine in nanoseconds. */
function systemCpu(): number {
  const line = readFileSync("/proc/stat", "latin1").split("\n", 1)[0] ?? "";
  const fields = line.split(/\s+/).slice(1, 9).map(Number);
  return fields.reduce((sum, ticks) => sum + ticks, 0) * (1e9 / ticksPerSecond);
}

/** Interface counters as the process sees them. */
export function networkCounters(pid: number): Record<string, NetworkStats> {
  const out: Record<string, NetworkStats> = {};
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/net/dev`, "latin1");
  } catch {
    return out;
  }
  for (const line of text.split("\n").slice(2)) {
    const [name, rest] = line.split(":");
    if (name === undefined || rest === undefined || name.trim() === "lo") continue;
    const numbers = rest.trim().split(/\s+/).map(Number);
    const at = (index: number): number => numbers[index] ?? 0;
    out[name.trim()] = {
      rx_bytes: at(0),
      rx_packets: at(1),
      rx_errors: at(2),
      rx_dropped: at(3),
      tx_bytes: at(8),
      tx_packets: at(9),
      tx_errors: at(10),
      tx_dropped: at(11),
    };
  }
  return out;
}

function cpuOf(reading: RuntimeReading): CpuStats {
  const { cpu } = reading;
  return {
    cpu_usage: {
      total_usage: cpu.total,
      ...(cpu.perCpu.length > 0 ? { percpu_usage: cpu.perCpu } : {}),
      usage_in_kernelmode: cpu.kernel,
      usage_in_usermode: cpu.user,
    },
    system_cpu_usage: systemCpu(),
    online_cpus: availableParallelism(),
    throttling_data: { periods: cpu.periods, throttled_periods: cpu.throttled, throttled_time: cpu.throttledTime },
  };
}

async function readOnce(
  container: Container,
  parts: StatsParts,
  before: ContainerStats | undefined,
): Promise<ContainerStats> {
  const common = {
    name: container.record.Name,
    id: container.id,
    num_procs: 0,
    storage_stats: {},
    preread: before?.read ?? zeroTime,
    precpu_stats: before?.cpu_stats ?? emptyCpu,
  };
  if (!container.isRunning) {
    return {
      ...common,
      read: zeroTime,
      pids_stats: {},
      blkio_stats: emptyBlkio,
      cpu_stats: emptyCpu,
      memory_stats: {},
    };
  }
  const reading = await parts.runtime.read(container.id);
  const { memory, pids } = reading;
  const hasNetwork = container.hostConfig.NetworkMode !== "host";
  return {
    ...common,
    read: rfc3339(parts.clock.now()),
    pids_stats: { current: pids.current, ...(pids.limit > 0 ? { limit: pids.limit } : {}) },
    blkio_stats: { ...emptyBlkio, ...reading.blkio },
    cpu_stats: cpuOf(reading),
    memory_stats: {
      usage: memory.usage,
      ...(memory.max > 0 ? { max_usage: memory.max } : {}),
      stats: memory.stats,
      ...(memory.failures > 0 ? { failcnt: memory.failures } : {}),
      limit: memory.limit > 0 && memory.limit < totalmem() ? memory.limit : totalmem(),
    },
    ...(hasNetwork ? { networks: networkCounters(container.state.Pid) } : {}),
  };
}

const emptyBlkio: ContainerStats["blkio_stats"] = {
  io_service_bytes_recursive: null,
  io_serviced_recursive: null,
  io_queue_recursive: null,
  io_service_time_recursive: null,
  io_wait_time_recursive: null,
  io_merged_recursive: null,
  io_time_recursive: null,
  sectors_recursive: null,
};

/** `docker stats` of one container: an object a second, or one (two readings apart, unless `oneShot`). */
export async function* containerStats(
  container: Container,
  options: { stream: boolean; oneShot?: boolean; signal?: AbortSignal },
  parts: StatsParts,
): AsyncGenerator<ContainerStats> {
  let before: ContainerStats | undefined;
  const { signal } = options;
  for (;;) {
    if (container.isRemoving || signal?.aborted) return;
    let reading: ContainerStats;
    try {
      reading = await readOnce(container, parts, before);
    } catch (error) {
      // It ended in between.
      if (container.isRunning && errorCode(error) !== "not-found") throw error;
      reading = await readOnce(container, parts, undefined);
    }
    const isEnough = options.stream || options.oneShot === true || before !== undefined || !container.isRunning;
    if (isEnough) yield reading;
    if (isEnough && !options.stream) return;
    before = reading;
    try {
      await parts.clock.sleep(everyMs, signal);
    } catch {
      return;
    }
  }
}

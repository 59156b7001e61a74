import { statSync } from "node:fs";
import type { Resources, ThrottleDevice } from "#api/docker/container-types.ts";
import { GantryError } from "#base/errors.ts";
import { splitDevice } from "#host/file-metadata.ts";

function deviceNumbers(path: string): { major: number; minor: number } {
  try {
    return splitDevice(statSync(path, { bigint: true }).rdev);
  } catch (cause) {
    throw new GantryError("invalid", `stat ${path}: no such file or directory`, { cause });
  }
}

const throttle = (
  devices: ThrottleDevice[] | null | undefined,
): { major: number; minor: number; rate: number }[] | undefined =>
  devices?.length ? devices.map(({ Path, Rate }) => ({ ...deviceNumbers(Path), rate: Rate })) : undefined;

/** Leaves out what is undefined; undefined when nothing is left. */
function compact<T extends object>(value: T): Partial<T> | undefined {
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  return entries.length === 0 ? undefined : (Object.fromEntries(entries) as Partial<T>);
}

const positive = (value: number | null | undefined): number | undefined =>
  value !== undefined && value !== null && value > 0 ? value : undefined;

/** docker's limits as the OCI runtime spec's `linux.resources` (config-linux, "Control groups"), without devices. */
export function ociResources(resources: Resources): Record<string, unknown> {
  const memory = positive(resources.Memory);
  // docker: no swap value means as much swap as memory.
  const swap =
    resources.MemorySwap === -1
      ? -1
      : (positive(resources.MemorySwap) ?? (memory === undefined ? undefined : memory * 2));
  const swappiness = resources.MemorySwappiness;
  const period = positive(resources.CpuPeriod);
  const nano = positive(resources.NanoCpus);
  const quota = nano === undefined ? resources.CpuQuota || undefined : Math.round((nano * 100_000) / 1e9);
  return (
    compact({
      memory: compact({
        limit: memory,
        swap,
        reservation: positive(resources.MemoryReservation),
        swappiness: swappiness === undefined || swappiness === null || swappiness < 0 ? undefined : swappiness,
        disableOOMKiller: resources.OomKillDisable === true ? true : undefined,
      }),
      cpu: compact({
        shares: positive(resources.CpuShares),
        quota,
        period: nano === undefined ? period : 100_000,
        realtimePeriod: positive(resources.CpuRealtimePeriod),
        realtimeRuntime: positive(resources.CpuRealtimeRuntime),
        cpus: resources.CpusetCpus || undefined,
        mems: resources.CpusetMems || undefined,
      }),
      pids: positive(resources.PidsLimit) === undefined ? undefined : { limit: resources.PidsLimit },
      blockIO: compact({
        weight: positive(resources.BlkioWeight),
        weightDevice: resources.BlkioWeightDevice?.length
          ? resources.BlkioWeightDevice.map(({ Path, Weight }) => ({ ...deviceNumbers(Path), weight: Weight }))
          : undefined,
        throttleReadBpsDevice: throttle(resources.BlkioDeviceReadBps),
        throttleWriteBpsDevice: throttle(resources.BlkioDeviceWriteBps),
        throttleReadIOPSDevice: throttle(resources.BlkioDeviceReadIOps),
        throttleWriteIOPSDevice: throttle(resources.BlkioDeviceWriteIOps),
      }),
    }) ?? {}
  );
}

import { existsSync } from "node:fs";
import type { Resources } from "#api/docker/container-types.ts";
import { GantryError, errorMessage } from "#base/errors.ts";
import { cgroupVersion, readCgroupFile, writeCgroup, type Controller } from "#host/cgroup.ts";
import { ociResources } from "./cgroup-resources.ts";

type Write = [controller: Controller, file: string, value: string | number];

interface Limits {
  memory?: { limit?: number; swap?: number; reservation?: number };
  cpu?: { shares?: number; quota?: number; period?: number; cpus?: string; mems?: string };
  blockIO?: { weight?: number; weightDevice?: { major: number; minor: number; weight: number }[] };
}

/** `--pids-limit 0` and -1 take a limit away; one that is not given leaves what is there. */
function pidsLimit(resources: Resources): string | undefined {
  const limit = resources.PidsLimit;
  if (limit === undefined || limit === null) return undefined;
  return limit > 0 ? String(limit) : "max";
}

/** CPU shares (2 to 262144) as a v2 weight (1 to 10000), as OCI runtimes convert them. */
export function cpuWeight(shares: number): number {
  return Math.floor(1 + ((shares - 2) * 9999) / 262142);
}

/** A block I/O weight (10 to 1000) as version 2 has it without BFQ (1 to 10000), as OCI runtimes convert it. */
export function ioWeight(weight: number): number {
  return Math.floor(1 + ((weight - 10) * 9999) / 990);
}

/** Newer kernels have weights only with the BFQ scheduler, in files that OCI runtimes do not know in version 1. */
function blkioWeightFile(): string {
  return runtimeKnowsWeights() ? "blkio.weight" : "blkio.bfq.weight";
}

/** Whether the OCI runtime can set block I/O weights here; `setWeights` does it where it cannot. */
export function runtimeKnowsWeights(): boolean {
  return cgroupVersion === 2 || existsSync("/sys/fs/cgroup/blkio/blkio.weight");
}

/** Sets the block I/O weights of a container that was just created. Throws `invalid` with the kernel's word. */
export function setWeights(path: string, resources: Resources): void {
  const { blockIO } = ociResources(resources) as Limits;
  const devices = blockIO?.weightDevice ?? [];
  const writes: Write[] = [
    ...(blockIO?.weight === undefined ? [] : ([["blkio", blkioWeightFile(), blockIO.weight]] as Write[])),
    ...devices.map(({ major, minor, weight }): Write => [
      "blkio",
      `${blkioWeightFile()}_device`,
      `${major}:${minor} ${weight}`,
    ]),
  ];
  writeAll(path, writes);
}

function v1Writes(limits: Limits, currentSwap: number, pidsMax: string | undefined): Write[] {
  const writes: Write[] = [];
  const { memory, cpu, blockIO } = limits;
  const memoryWrites: Write[] = [];
  if (memory?.limit !== undefined) memoryWrites.push(["memory", "memory.limit_in_bytes", memory.limit]);
  if (memory?.swap !== undefined) {
    const swap: Write = ["memory", "memory.memsw.limit_in_bytes", memory.swap];
    // The kernel keeps memory <= memory+swap at every moment: the order depends on the direction.
    if (memory.swap === -1 || memory.swap > currentSwap) memoryWrites.unshift(swap);
    else memoryWrites.push(swap);
  }
  writes.push(...memoryWrites);
  if (memory?.reservation !== undefined) writes.push(["memory", "memory.soft_limit_in_bytes", memory.reservation]);
  if (cpu?.shares !== undefined) writes.push(["cpu", "cpu.shares", cpu.shares]);
  if (cpu?.period !== undefined) writes.push(["cpu", "cpu.cfs_period_us", cpu.period]);
  if (cpu?.quota !== undefined) writes.push(["cpu", "cpu.cfs_quota_us", cpu.quota]);
  if (cpu?.cpus !== undefined) writes.push(["cpuset", "cpuset.cpus", cpu.cpus]);
  if (cpu?.mems !== undefined) writes.push(["cpuset", "cpuset.mems", cpu.mems]);
  if (pidsMax !== undefined) writes.push(["pids", "pids.max", pidsMax]);
  if (blockIO?.weight !== undefined) writes.push(["blkio", blkioWeightFile(), blockIO.weight]);
  return writes;
}

function v2Writes(limits: Limits, hasBfq: boolean, pidsMax: string | undefined): Write[] {
  const writes: Write[] = [];
  const { memory, cpu, blockIO } = limits;
  if (memory?.limit !== undefined) writes.push(["memory", "memory.max", memory.limit]);
  if (memory?.swap !== undefined)
    writes.push([
      "memory",
      "memory.swap.max",
      memory.swap === -1 ? "max" : Math.max(0, memory.swap - (memory.limit ?? 0)),
    ]);
  if (memory?.reservation !== undefined) writes.push(["memory", "memory.low", memory.reservation]);
  if (cpu?.shares !== undefined) writes.push(["cpu", "cpu.weight", cpuWeight(cpu.shares)]);
  if (cpu?.quota !== undefined || cpu?.period !== undefined) {
    const quota = cpu.quota === undefined || cpu.quota < 0 ? "max" : cpu.quota;
    writes.push(["cpu", "cpu.max", `${quota} ${cpu.period ?? 100_000}`]);
  }
  if (cpu?.cpus !== undefined) writes.push(["cpuset", "cpuset.cpus", cpu.cpus]);
  if (cpu?.mems !== undefined) writes.push(["cpuset", "cpuset.mems", cpu.mems]);
  if (pidsMax !== undefined) writes.push(["pids", "pids.max", pidsMax]);
  if (blockIO?.weight !== undefined) {
    if (hasBfq) writes.push(["blkio", "io.bfq.weight", blockIO.weight]);
    else writes.push(["blkio", "io.weight", ioWeight(blockIO.weight)]);
  }
  return writes;
}

/**
 * Changes the limits of a running container at once (`docker update`). Throws `invalid` with the kernel's
 * word for what it refused, e.g. less memory than is in use.
 */
export function updateCgroup(path: string, resources: Resources): void {
  const limits = ociResources(resources) as Limits;
  const currentSwap = Number(readCgroupFile(path, "memory", "memory.memsw.limit_in_bytes") ?? Number.POSITIVE_INFINITY);
  const pidsMax = pidsLimit(resources);
  const hasBfq = readCgroupFile(path, "blkio", "io.bfq.weight") !== undefined;
  const writes = cgroupVersion === 2 ? v2Writes(limits, hasBfq, pidsMax) : v1Writes(limits, currentSwap, pidsMax);
  writeAll(path, writes);
}

function writeAll(path: string, writes: readonly Write[]): void {
  for (const [controller, file, value] of writes) {
    try {
      writeCgroup(path, controller, file, value);
    } catch (cause) {
      // A kernel without swap accounting has no such file: docker warns at creation and goes on.
      if (file === "memory.memsw.limit_in_bytes" && (cause as NodeJS.ErrnoException).code === "ENOENT") continue;
      throw new GantryError("invalid", `failed to write ${value}: write ${file}: ${errorMessage(cause)}`, { cause });
    }
  }
}

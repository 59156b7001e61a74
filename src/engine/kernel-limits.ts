import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** What the kernel can limit, as `docker info` has it. */
export type KernelLimits = Record<
  | "MemoryLimit"
  | "SwapLimit"
  | "CpuCfsPeriod"
  | "CpuCfsQuota"
  | "CPUShares"
  | "CPUSet"
  | "PidsLimit"
  | "OomKillDisable",
  boolean
>;

/**
 * Looks below `root`, the machine's cgroup mount. In version 2 the root has no files for limits: `own`, the path of
 * any other group, tells whether swap is accounted.
 */
export function kernelLimits(version: 1 | 2, root = "/sys/fs/cgroup", own = ownCgroup()): KernelLimits {
  if (version === 1) {
    const has = (controller: string, file: string): boolean => existsSync(join(root, controller, file));
    return {
      MemoryLimit: has("memory", "memory.limit_in_bytes"),
      SwapLimit: has("memory", "memory.memsw.limit_in_bytes"),
      CpuCfsPeriod: has("cpu", "cpu.cfs_period_us"),
      CpuCfsQuota: has("cpu", "cpu.cfs_quota_us"),
      CPUShares: has("cpu", "cpu.shares"),
      CPUSet: has("cpuset", "cpuset.cpus"),
      PidsLimit: existsSync(join(root, "pids")),
      OomKillDisable: has("memory", "memory.oom_control"),
    };
  }
  const file = join(root, "cgroup.controllers");
  const controllers = new Set(existsSync(file) ? readFileSync(file, "latin1").trim().split(" ") : []);
  const isRoot = own === "/" || own === "";
  return {
    MemoryLimit: controllers.has("memory"),
    SwapLimit: controllers.has("memory") && (isRoot || existsSync(join(root, own, "memory.swap.max"))),
    CpuCfsPeriod: controllers.has("cpu"),
    CpuCfsQuota: controllers.has("cpu"),
    CPUShares: controllers.has("cpu"),
    CPUSet: controllers.has("cpuset"),
    PidsLimit: controllers.has("pids"),
    OomKillDisable: false,
  };
}

function ownCgroup(): string {
  return /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "latin1"))?.[1] ?? "";
}

const words: Partial<Record<keyof KernelLimits, string>> = {
  MemoryLimit: "WARNING: No memory limit support",
  SwapLimit: "WARNING: No swap limit support",
  CpuCfsPeriod: "WARNING: No cpu cfs period support",
  CpuCfsQuota: "WARNING: No cpu cfs quota support",
  CPUShares: "WARNING: No cpu shares support",
  CPUSet: "WARNING: No cpuset support",
};

/** docker's warning for each limit that is missing, and for none that is there. */
export function limitWarnings(limits: KernelLimits): string[] {
  return Object.entries(words).flatMap(([key, text]) => (limits[key as keyof KernelLimits] ? [] : [text]));
}

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { HostConfig } from "#api/docker/container-types.ts";
import { cgroupVersion } from "#host/cgroup.ts";
import { kernelLimits } from "./kernel-limits.ts";

/** Which limits the kernel knows that not all kernels do. */
export interface LimitSupport {
  swap: boolean;
  swappiness: boolean;
  oomKillDisable: boolean;
  blkioWeight: boolean;
  blkioWeightDevice: boolean;
}

/** Looks below the machine's cgroup mount. */
export function limitSupport(version: 1 | 2 = cgroupVersion, root = "/sys/fs/cgroup"): LimitSupport {
  const { SwapLimit, OomKillDisable } = kernelLimits(version, root);
  const folder = version === 1 ? join(root, "blkio") : root;
  const hasInSome = (...names: string[]): boolean => {
    // Weights are files of all groups but the root.
    const groups = existsSync(folder) ? readdirSync(folder, { withFileTypes: true }) : [];
    const below = groups.filter((entry) => entry.isDirectory()).map((entry) => join(folder, entry.name));
    return [folder, ...below].some((group) => names.some((name) => existsSync(join(group, name))));
  };
  const weights = version === 1 ? ["blkio.weight", "blkio.bfq.weight"] : ["io.weight", "io.bfq.weight"];
  const deviceWeights = version === 1 ? ["blkio.weight_device", "blkio.bfq.weight_device"] : weights;
  return {
    swap: SwapLimit,
    swappiness: version === 1 && existsSync(join(root, "memory/memory.swappiness")),
    oomKillDisable: OomKillDisable,
    blkioWeight: hasInSome(...weights),
    blkioWeightDevice: hasInSome(...deviceWeights),
  };
}

/**
 * Takes limits out of `host` that this kernel does not know, as docker does, and returns its warnings (moby,
 * daemon/daemon_unix.go, verifyPlatformContainerResources).
 */
export function discardUnsupported(host: HostConfig, support: () => LimitSupport = limitSupport): string[] {
  const isAsked =
    (host.Memory ?? 0) > 0 ||
    (host.MemorySwappiness ?? -1) >= 0 ||
    host.OomKillDisable === true ||
    (host.BlkioWeight ?? 0) > 0 ||
    (host.BlkioWeightDevice ?? []).length > 0;
  if (!isAsked) return [];
  const kernel = support();
  const out: string[] = [];
  const missing = "or the cgroup is not mounted.";
  if ((host.Memory ?? 0) > 0 && host.MemorySwap !== -1 && !kernel.swap) {
    out.push(`Your kernel does not support swap limit capabilities ${missing} Memory limited without swap.`);
    host.MemorySwap = -1;
  }
  if ((host.MemorySwappiness ?? -1) >= 0 && !kernel.swappiness) {
    out.push(`Your kernel does not support memory swappiness capabilities ${missing} Memory swappiness discarded.`);
    host.MemorySwappiness = null;
  }
  if (host.OomKillDisable === true && !kernel.oomKillDisable) {
    out.push("Your kernel does not support OomKillDisable. OomKillDisable discarded.");
    host.OomKillDisable = null;
  }
  if (host.OomKillDisable === true && (host.Memory ?? 0) === 0) {
    out.push(
      "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.",
    );
  }
  if ((host.BlkioWeight ?? 0) > 0 && !kernel.blkioWeight) {
    out.push(`Your kernel does not support Block I/O weight ${missing} Weight discarded.`);
    host.BlkioWeight = 0;
  }
  if ((host.BlkioWeightDevice ?? []).length > 0 && !kernel.blkioWeightDevice) {
    out.push(`Your kernel does not support Block I/O weight_device ${missing} Weight-device discarded.`);
    host.BlkioWeightDevice = [];
  }
  return out;
}

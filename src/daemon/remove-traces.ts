import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { systemClock } from "#base/clock.ts";
import { createLogger } from "#base/log.ts";
import { defaultAppArmorProfile } from "#container/apparmor-profile.ts";
import { RuntimeNamespace } from "#container/runtime-namespace.ts";
import { removeUnusedProfile } from "#host/apparmor.ts";
import { cgroupProcesses, removeCgroup, thawAll } from "#host/cgroup.ts";
import { deleteLinks, listLinks } from "#host/links.ts";
import { listMounts, unmount } from "#host/mount.ts";
import { NetlinkSocket } from "#host/netlink-socket.ts";
import { run } from "#host/run.ts";
import { removeServiceTable } from "#kube/proxy/service-proxy.ts";
import { Networking } from "#network/networking.ts";
import type { InstanceConfig } from "./instance-config.ts";
import { daemonNames } from "./instance-paths.ts";
import { foreignDataRoots } from "./data-root.ts";
import { networkingInForce } from "./network-changes.ts";
import { networkingOptions, runtimeFolder, serviceTableName } from "./node-options.ts";

/** Monitors and what they started, by their arguments: also those whose cgroup is another's. */
function monitors(config: InstanceConfig): number[] {
  const found: number[] = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      if (readFileSync(`/proc/${entry}/comm`, "utf8") !== "conmon\n") continue;
      const words = readFileSync(`/proc/${entry}/cmdline`, "utf8").split("\0");
      if (words.some((word) => word.startsWith(`${config.runDir}/`) || word.startsWith(`${config.root}/`)))
        found.push(Number(entry));
    } catch {
      continue; // It has ended meanwhile.
    }
  }
  return found;
}

/** Daemons whose pid file is lost, by the title that they give themselves. */
function strayDaemons(config: InstanceConfig): number[] {
  const titles = daemonNames.map((name) => `gantryd ${name} ${config.name}`);
  return readdirSync("/proc").flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return [];
    try {
      const title = readFileSync(`/proc/${entry}/cmdline`, "utf8").replace(/\0+$/, "");
      return titles.includes(title) && statSync(`/proc/${entry}`).uid === 0 ? [Number(entry)] : [];
    } catch {
      return []; // It has ended meanwhile.
    }
  });
}

async function endProcesses(config: InstanceConfig): Promise<void> {
  const deadline = systemClock.monotonic() + 10_000;
  for (;;) {
    // What starts others first.
    const pids = [...strayDaemons(config), ...monitors(config), ...cgroupProcesses(config.cgroupParent)];
    if (pids.length === 0 || systemClock.monotonic() > deadline) return;
    thawAll(config.cgroupParent);
    for (const pid of pids) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        continue;
      }
    }
    await systemClock.sleep(20);
  }
}

/** Deepest first, and again while something is stacked on the same path. */
function unmountBelow(folders: readonly string[]): void {
  for (let round = 0; round < 20; round++) {
    const below = listMounts().filter((mounted) =>
      folders.some((folder) => mounted.target === folder || mounted.target.startsWith(`${folder}/`)),
    );
    if (below.length === 0) return;
    for (const mounted of below.reverse()) unmount(mounted.target);
  }
}

/** Links that bear the instance's prefix, whatever made them. */
async function removeLinks(config: InstanceConfig): Promise<void> {
  const socket = NetlinkSocket.open();
  try {
    const ours = new RegExp(`^${config.linkPrefix}(?![0-9])`);
    const names = (await listLinks(socket)).map(({ name }) => name).filter((name) => ours.test(name));
    await deleteLinks(socket, names);
  } finally {
    socket.close();
  }
}

/**
 * Removes everything of an instance from the kernel: processes, mounts, links, routes, tables, cgroups and the
 * run directory. Works whatever state a crash left, and also when there is nothing. The data root stays.
 */
export async function removeTraces(config: InstanceConfig): Promise<void> {
  await endProcesses(config);
  const options = networkingInForce(config) ?? networkingOptions(config);
  const roots = [config.root, ...foreignDataRoots(config), config.runDir];
  mkdirSync(options.stateDir, { recursive: true });
  const networking = new Networking(options, {
    log: createLogger({ level: "error", write: (line) => process.stderr.write(line) }),
  });
  try {
    await networking.removeAll();
  } finally {
    networking.close();
  }
  await removeLinks(config);
  await removeServiceTable(serviceTableName(config));
  for (const table of [config.nftTable, serviceTableName(config)])
    await run(["nft", "delete", "table", "inet", table], { okStatus: [0, 1] });
  unmountBelow(roots);
  new RuntimeNamespace(runtimeFolder(config), roots).remove();
  const deadline = systemClock.monotonic() + 5_000;
  while (!removeCgroup(config.cgroupParent) && systemClock.monotonic() < deadline) await systemClock.sleep(20);
  // Another instance, or a dockerd, loads it again when it starts a container.
  removeUnusedProfile(defaultAppArmorProfile);
  rmSync(config.runDir, { recursive: true, force: true });
  const parent = config.runDir.slice(0, config.runDir.lastIndexOf("/"));
  if (existsSync(parent) && readdirSync(parent).length === 0) rmSync(parent, { recursive: true });
}

import { lstatSync, readdirSync, statSync } from "node:fs";
import type { LaunchPlan, NamespacePlan, PlannedMount } from "#api/container-runtime.ts";
import { GantryError } from "#base/errors.ts";
import type { IdRange } from "#base/id-mapping.ts";
import { splitDevice } from "#host/file-metadata.ts";
import { isMounted } from "#host/mount.ts";
import { ociResources } from "./cgroup-resources.ts";
import { runtimeKnowsWeights } from "./cgroup-update.ts";
import { defaultMaskedPaths, defaultReadonlyPaths } from "./masked-paths.ts";
import { seccompProfile } from "./seccomp.ts";

/** Where the init of `--init` is put, as docker does. */
export const initPath = "/sbin/docker-init";

/** crun takes the compiled filter here (crun(1), "run.oci.seccomp_bpf_data"); runc compiles the profile. */
export const crunSeccompProgram = "run.oci.seccomp_bpf_data";

interface OciMount {
  destination: string;
  type: string;
  source: string;
  options: string[];
}

function defaultMounts(plan: LaunchPlan): OciMount[] {
  const { privileged } = plan;
  return [
    { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {
      destination: "/sys",
      type: "sysfs",
      source: "sysfs",
      options: ["nosuid", "noexec", "nodev", ...(privileged ? [] : ["ro"])],
    },
    {
      destination: "/sys/fs/cgroup",
      type: "cgroup",
      source: "cgroup",
      options: ["nosuid", "noexec", "nodev", ...(privileged ? [] : ["ro"])],
    },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
  ];
}

function mountsOf(plan: LaunchPlan): OciMount[] {
  const planned = new Set(plan.mounts.map((mount) => mount.destination));
  const defaults = defaultMounts(plan);
  if (plan.shmSize > 0) {
    defaults.push({
      destination: "/dev/shm",
      type: "tmpfs",
      source: "shm",
      options: ["nosuid", "noexec", "nodev", "mode=1777", `size=${plan.shmSize}`],
    });
  }
  return [
    ...defaults.flatMap((mount) => (planned.has(mount.destination) ? [] : borrowed(mount, plan.namespaces))),
    ...byDepth(plan.mounts),
  ];
}

/** The queues of the machine's ipc namespace cannot be mounted in a user namespace: they are shown where they are. */
function borrowed(mount: OciMount, { user, ipc }: NamespacePlan): OciMount[] {
  if (mount.type !== "mqueue" || user === undefined || ipc.kind !== "host") return [mount];
  const { destination } = mount;
  return isMounted(destination) ? [{ destination, type: "bind", source: destination, options: ["bind"] }] : [];
}

/** Outer folders first: a mount on `/a` must not cover one on `/a/b`. */
function byDepth(mounts: readonly PlannedMount[]): OciMount[] {
  const depth = (mount: PlannedMount): number => mount.destination.split("/").filter((part) => part !== "").length;
  return [...mounts]
    .sort((left, right) => depth(left) - depth(right))
    .map(({ destination, type, source, options }) => ({ destination, type, source, options }));
}

function namespacesOf(plan: NamespacePlan): { type: string; path?: string }[] {
  const out: { type: string; path?: string }[] = [{ type: "mount" }];
  for (const type of ["network", "pid", "ipc", "uts", "cgroup"] as const) {
    const choice = plan[type];
    if (choice.kind === "path") out.push({ type, path: choice.path });
    else if (choice.kind === "new") out.push({ type });
  }
  if (plan.user !== undefined) out.push({ type: "user", path: plan.user.path });
  return out;
}

/** runc wants the mapping of a namespace that it joins, too. */
function mappingsOf({ user }: NamespacePlan): Record<string, unknown> {
  if (user === undefined) return {};
  const list = (ranges: readonly IdRange[]): object[] =>
    ranges.map(({ containerId, hostId, length }) => ({ containerID: containerId, hostID: hostId, size: length }));
  return { uidMappings: list(user.mapping.uids), gidMappings: list(user.mapping.gids) };
}

interface OciDevice {
  path: string;
  type: string;
  major: number;
  minor: number;
  fileMode: number;
  uid: number;
  gid: number;
}

function deviceAt(hostPath: string, path: string): OciDevice | undefined {
  const stats = statSync(hostPath, { bigint: true, throwIfNoEntry: false });
  if (stats === undefined || (!stats.isCharacterDevice() && !stats.isBlockDevice())) return undefined;
  const { major, minor } = splitDevice(stats.rdev);
  return {
    path,
    type: stats.isBlockDevice() ? "b" : "c",
    major,
    minor,
    fileMode: Number(stats.mode & 0o777n),
    uid: Number(stats.uid),
    gid: Number(stats.gid),
  };
}

/** Devices below a folder of the host's. Terminals and shared memory are the container's own. */
function devicesBelow(hostFolder: string, folder: string): OciDevice[] {
  const own = new Set(["pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev"]);
  const out: OciDevice[] = [];
  for (const name of readdirSync(hostFolder)) {
    if (own.has(name) && hostFolder === "/dev") continue;
    const path = `${hostFolder}/${name}`;
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats?.isDirectory()) out.push(...devicesBelow(path, `${folder}/${name}`));
    else {
      const device = deviceAt(path, `${folder}/${name}`);
      if (device !== undefined) out.push(device);
    }
  }
  return out;
}

interface DeviceRule {
  allow: boolean;
  access: string;
  type?: string;
  major?: number;
  minor?: number;
}

/** What every container may use (moby, oci/defaults): null, zero, full, random, urandom, tty, console, ptmx, pts. */
const defaultDeviceRules: DeviceRule[] = [
  { allow: false, access: "rwm" },
  { allow: true, type: "c", access: "m" },
  { allow: true, type: "b", access: "m" },
  ...(
    [
      [1, 5],
      [1, 3],
      [1, 9],
      [1, 8],
      [5, 0],
      [5, 1],
      [1, 7],
      [5, 2],
      [136, undefined],
    ] as const
  ).map(([major, minor]) => ({
    allow: true,
    type: "c",
    major,
    ...(minor === undefined ? {} : { minor }),
    access: "rwm",
  })),
];

function customRule(text: string): DeviceRule {
  const match = /^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$/.exec(text);
  if (match === null) throw new GantryError("invalid", `invalid device cgroup rule format: '${text}'`);
  const number = (part: string): number | undefined => (part === "*" ? undefined : Number(part));
  const major = number(match[2] as string);
  const minor = number(match[3] as string);
  return {
    allow: true,
    type: match[1] as string,
    access: match[4] as string,
    ...(major === undefined ? {} : { major }),
    ...(minor === undefined ? {} : { minor }),
  };
}

/** A device of `--device`, or all below a folder. Throws in docker's words. */
function plannedDevices({ hostPath, containerPath }: LaunchPlan["devices"][number]): OciDevice[] {
  const stats = statSync(hostPath, { throwIfNoEntry: false });
  const single = deviceAt(hostPath, containerPath);
  if (single !== undefined) return [single];
  if (stats?.isDirectory()) return devicesBelow(hostPath, containerPath);
  const why = stats === undefined ? "no such file or directory" : "not a device node";
  throw new GantryError(
    "invalid",
    `error gathering device information while adding custom device "${hostPath}": ${why}`,
  );
}

function devicesOf(plan: LaunchPlan): { devices: OciDevice[]; rules: DeviceRule[] } {
  const devices: OciDevice[] = plan.privileged ? devicesBelow("/dev", "/dev") : [];
  const rules = plan.privileged ? [{ allow: true, access: "rwm" }] : [...defaultDeviceRules];
  for (const device of plan.devices) {
    // A privileged container has the machine's devices already, under their own names.
    if (plan.privileged && device.hostPath === device.containerPath) continue;
    for (const found of plannedDevices(device)) {
      devices.push(found);
      if (plan.privileged) continue;
      const { type, major, minor } = found;
      rules.push({ allow: true, type, major, minor, access: device.permissions });
    }
  }
  for (const text of plan.resources.DeviceCgroupRules ?? []) rules.push(customRule(text));
  return { devices, rules };
}

function deviceMounts({ devices, privileged }: LaunchPlan): OciMount[] {
  const all = privileged
    ? devicesBelow("/dev", "/dev").map(({ path }) => ({ hostPath: path, containerPath: path }))
    : [];
  return [...all, ...devices].map(({ hostPath, containerPath }) => ({
    destination: containerPath,
    type: "bind",
    source: hostPath,
    options: ["bind", "nosuid", "noexec"],
  }));
}

const rlimits = (plan: LaunchPlan): { type: string; soft: unknown; hard: unknown }[] =>
  (plan.resources.Ulimits ?? []).map(({ Name, Soft, Hard }) => ({
    type: `RLIMIT_${Name.toUpperCase()}`,
    soft: unlimitedIfNegative(Soft),
    hard: unlimitedIfNegative(Hard),
  }));

declare global {
  interface JSON {
    /** ES2026: text that goes into JSON as it is. */
    rawJSON(text: string): unknown;
  }
}

/** The runtime spec's limits are unsigned 64-bit numbers, which no JavaScript number is exact for; -1 is no limit. */
function unlimitedIfNegative(value: number): unknown {
  return value < 0 ? JSON.rawJSON("18446744073709551615") : value;
}

/** The OCI runtime spec of a launch (opencontainers/runtime-spec, config). */
export function buildSpec(plan: LaunchPlan, init: string | undefined): Record<string, unknown> {
  const { process } = plan;
  const { devices, rules } = devicesOf(plan);
  const mounts = mountsOf(plan);
  const isMapped = plan.namespaces.user !== undefined;
  // No device can be made in a user namespace: the machine's own is shown.
  if (isMapped) mounts.push(...deviceMounts(plan));
  const args = init === undefined ? process.args : [initPath, "--", ...process.args];
  if (init !== undefined) mounts.push({ destination: initPath, type: "bind", source: init, options: ["bind", "ro"] });
  // A profile that was asked for by name holds for a privileged container too, as with docker.
  const isUnconfined = plan.privileged && typeof plan.seccomp !== "object";
  const seccomp = seccompProfile(isUnconfined ? "unconfined" : plan.seccomp, process.capabilities);
  const capabilities = {
    bounding: process.capabilities,
    permitted: process.capabilities,
    effective: process.capabilities,
  };
  // A user that is not root has what it is allowed, but nothing in force, as docker starts it.
  const own = process.uid === 0 ? capabilities : { bounding: process.capabilities, permitted: [], effective: [] };
  return {
    ociVersion: "1.0.2",
    root: { path: plan.rootfs, readonly: plan.readonlyRootfs },
    ...(plan.namespaces.uts.kind === "new" ? { hostname: plan.hostname } : {}),
    ...(plan.namespaces.uts.kind === "new" && plan.domainname !== "" ? { domainname: plan.domainname } : {}),
    process: {
      terminal: process.tty,
      ...(process.consoleSize === undefined
        ? {}
        : { consoleSize: { height: process.consoleSize[0], width: process.consoleSize[1] } }),
      user: { uid: process.uid, gid: process.gid, additionalGids: process.additionalGids },
      args,
      env: process.env,
      cwd: process.cwd,
      capabilities: own,
      rlimits: rlimits(plan),
      noNewPrivileges: process.noNewPrivileges,
      ...(process.apparmorProfile === undefined ? {} : { apparmorProfile: process.apparmorProfile }),
      // In a user namespace only a process outside may lower it.
      ...(isMapped ? {} : { oomScoreAdj: plan.oomScoreAdj }),
    },
    mounts,
    annotations: {
      ...plan.annotations,
      ...(seccomp.program === undefined ? {} : { [crunSeccompProgram]: seccomp.program }),
    },
    linux: {
      cgroupsPath: plan.cgroupPath.startsWith("/") ? plan.cgroupPath : `/${plan.cgroupPath}`,
      namespaces: namespacesOf(plan.namespaces),
      ...mappingsOf(plan.namespaces),
      devices: isMapped ? [] : devices,
      resources: { ...newGroupResources(plan), devices: rules },
      sysctl: plan.sysctls,
      ...(plan.privileged
        ? {}
        : {
            maskedPaths: plan.maskedPaths ?? defaultMaskedPaths(),
            readonlyPaths: plan.readonlyPaths ?? defaultReadonlyPaths,
          }),
      ...(plan.rootfsPropagation === "" ? {} : { rootfsPropagation: plan.rootfsPropagation }),
      ...(seccomp.profile === undefined ? {} : { seccomp: seccomp.profile }),
    },
  };
}

/**
 * Limits without what the runtime cannot set on this machine, and without a swap limit of "unlimited": a new group
 * has that anyway, and a kernel without swap accounting has no file to write it to.
 */
function newGroupResources({ resources }: LaunchPlan): Record<string, unknown> {
  const limits = ociResources(
    runtimeKnowsWeights() ? resources : { ...resources, BlkioWeight: 0, BlkioWeightDevice: [] },
  );
  const memory = limits["memory"] as { swap?: number } | undefined;
  if (memory?.swap !== -1) return limits;
  const { swap: _unlimited, ...rest } = memory;
  return { ...limits, memory: rest };
}

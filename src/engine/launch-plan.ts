import { lstatSync, mkdirSync, readdirSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";
import type { HostConfig } from "#api/docker/container-types.ts";
import { GantryError } from "#base/errors.ts";
import { mappedRoot } from "#base/id-mapping.ts";
import { asFileOwner } from "#host/file-credentials.ts";
import { canSetMountAttributes, mountOf } from "#host/mount.ts";
import { capabilitySet } from "./capabilities.ts";
import { goBoolean } from "./filters.ts";
import type { Container, StoredMountPoint } from "./container.ts";
import { parseTmpfs, tmpfsOptions } from "./mount-spec.ts";
import { resolveUser } from "./passwd.ts";
import { resolveInRoot } from "#host/rooted-path.ts";
import type {
  DevicePlan,
  LaunchPlan,
  LogPlan,
  NamespacePlan,
  PlannedMount,
  ProcessPlan,
} from "#api/container-runtime.ts";

export interface LaunchPlanInput {
  container: Container;
  /** The mounted root. */
  rootfs: string;
  /** By destination: what stands in for a mount point's own source. */
  sources: ReadonlyMap<string, string>;
  netnsPath: string | undefined;
  /** From `--link`. */
  linkEnv: string[];
  /** Relative to the controllers' root, e.g. `gantry-default`. */
  cgroupParent: string;
  /** Sockets and namespaces of other containers and sandboxes. */
  namespaces: Omit<NamespacePlan, "network">;
  /** Where another container's or the sandbox's /dev/shm stands. */
  shmPath: string | undefined;
  log: LogPlan;
  defaultUlimits: HostConfig["Ulimits"];
  /** For containers that say neither yes nor no to an init. */
  defaultInit: boolean;
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const mebibyte = 1024 * 1024;

/** How a container is started, from its record: pure but for looking into the root and at devices. */
export function launchPlan(input: LaunchPlanInput): LaunchPlan {
  const { container, rootfs, netnsPath } = input;
  const { record, hostConfig: host } = container;
  const config = record.Config;
  const security = securityOptions(host);
  const privileged = host.Privileged === true;
  return {
    id: container.id,
    rootfs,
    readonlyRootfs: host.ReadonlyRootfs === true,
    hostname: host.UTSMode === "host" ? "" : (config.Hostname ?? ""),
    domainname: config.Domainname ?? "",
    process: processPlan(input),
    namespaces: {
      ...input.namespaces,
      network: netnsPath === undefined ? { kind: "host" } : { kind: "path", path: netnsPath },
    },
    mounts: mounts(input),
    shmSize: input.shmPath === undefined && host.IpcMode !== "none" ? host.ShmSize || 64 * mebibyte : 0,
    devices: devices(host.Devices ?? []),
    privileged,
    cgroupPath: `${host.CgroupParent || `${input.cgroupParent}/docker`}/${container.id}`.replace(/^\/+/, ""),
    resources: { ...host, Ulimits: mergeUlimits(host.Ulimits, input.defaultUlimits) },
    oomScoreAdj: host.OomScoreAdj ?? 0,
    sysctls: { ...networkSysctls(container), ...host.Sysctls },
    maskedPaths: privileged || security.systemPaths ? [] : (host.MaskedPaths ?? undefined),
    readonlyPaths: privileged || security.systemPaths ? [] : (host.ReadonlyPaths ?? undefined),
    seccomp: privileged ? "unconfined" : security.seccomp,
    rootfsPropagation: rootPropagation(container),
    init: host.Init ?? input.defaultInit,
    annotations: { ...host.Annotations },
    openStdin: config.OpenStdin === true,
    stdinOnce: config.StdinOnce === true,
    log: input.log,
  };
}

/**
 * What docker lets every container do in a network namespace of its own (moby, daemon/oci_linux.go): open ports below
 * 1024 without a capability, and ping without raw sockets, which the kernel grants no groups of a user namespace.
 */
function networkSysctls({ hostConfig, isPod, mapping }: Container): Record<string, string> {
  const mode = hostConfig.NetworkMode ?? "";
  if (isPod || mode === "host" || mode.startsWith("container:")) return {};
  return {
    ...(mapping === undefined ? { "net.ipv4.ping_group_range": "0 2147483647" } : {}),
    "net.ipv4.ip_unprivileged_port_start": "0",
  };
}

function mergeUlimits(own: HostConfig["Ulimits"], defaults: HostConfig["Ulimits"]): NonNullable<HostConfig["Ulimits"]> {
  const out = new Map((defaults ?? []).map((limit) => [limit.Name, limit]));
  for (const limit of own ?? []) out.set(limit.Name, limit);
  return [...out.values()];
}

interface SecurityOptions {
  noNewPrivileges: boolean;
  seccomp: LaunchPlan["seccomp"];
  systemPaths: boolean;
  /** Name of a profile, `unconfined`, or "" when none was named. */
  apparmor: string;
}

export function securityOptions(host: HostConfig): SecurityOptions {
  const out: SecurityOptions = { noNewPrivileges: false, seccomp: "default", systemPaths: false, apparmor: "" };
  for (const option of host.SecurityOpt ?? []) {
    const [, name = "", value = ""] = /^([^=:]+)(?:[=:]([\s\S]*))?$/.exec(option) ?? [];
    if (name === "no-new-privileges") {
      const isOn = option === name ? true : goBoolean(value);
      if (isOn === undefined) throw new GantryError("invalid", `invalid --security-opt 2: "${option}"`);
      out.noNewPrivileges = isOn;
    }
    if (name === "apparmor") out.apparmor = value;
    if (name === "systempaths" && value === "unconfined") out.systemPaths = true;
    if (name === "seccomp") {
      if (value === "unconfined") out.seccomp = "unconfined";
      else if (value !== "builtin" && value !== "default") {
        try {
          const profile = JSON.parse(value) as { defaultAction?: string; syscalls?: unknown[] | null } | null;
          // runc takes a profile without a default and without rules for none.
          const isEmpty = !profile?.defaultAction && (profile?.syscalls ?? []).length === 0;
          out.seccomp = isEmpty ? "unconfined" : { profile };
        } catch {
          throw new GantryError("invalid", `Decoding seccomp profile failed: ${value.slice(0, 80)}`);
        }
      }
    }
  }
  return out;
}

/** What an exec or the first process runs as. */
export function processPlan(input: Pick<LaunchPlanInput, "container" | "rootfs" | "linkEnv">): ProcessPlan {
  const { record, hostConfig: host } = input.container;
  const config = record.Config;
  const user = resolveUser(input.rootfs, config.User ?? "", host.GroupAdd ?? [], record.Gantry.pod?.strictGroups);
  const privileged = host.Privileged === true;
  const capabilities = capabilitySet({ add: host.CapAdd ?? [], drop: host.CapDrop ?? [], privileged });
  const size = host.ConsoleSize ?? [];
  return {
    args: [record.Path, ...record.Args],
    env: environment(config.Env ?? [], {
      hostname: config.Hostname ?? "",
      tty: config.Tty === true,
      home: user.home,
      linkEnv: input.linkEnv,
    }),
    cwd: config.WorkingDir || "/",
    uid: user.uid,
    gid: user.gid,
    additionalGids: user.additionalGids,
    tty: config.Tty === true,
    ...((size[0] ?? 0) > 0 ? { consoleSize: [size[0] as number, size[1] as number] as const } : {}),
    capabilities,
    noNewPrivileges: securityOptions(host).noNewPrivileges,
    ...(record.AppArmorProfile ? { apparmorProfile: record.AppArmorProfile } : {}),
  };
}

/** docker's order: its own variables, links, then the user's, of which the last of a name counts; `NAME` alone removes. */
export function environment(
  user: readonly string[],
  facts: { hostname: string; tty: boolean; home: string; linkEnv: readonly string[] },
): string[] {
  const base = [defaultPath, `HOSTNAME=${facts.hostname}`, ...(facts.tty ? ["TERM=xterm"] : []), ...facts.linkEnv];
  const out = new Map<string, string | undefined>();
  for (const text of [...base, ...user]) {
    const equals = text.indexOf("=");
    if (equals < 0) out.delete(text);
    else out.set(text.slice(0, equals), text.slice(equals + 1));
  }
  if (!out.has("HOME")) out.set("HOME", facts.home);
  return [...out].map(([name, value]) => `${name}=${value}`);
}

function devices(wanted: NonNullable<HostConfig["Devices"]>): DevicePlan[] {
  return wanted.flatMap(({ PathOnHost, PathInContainer, CgroupPermissions }) => {
    const stats = statSync(PathOnHost, { throwIfNoEntry: false });
    if (stats === undefined) {
      throw new GantryError(
        "internal",
        `error gathering device information while adding custom device "${PathOnHost}": no such file or directory`,
      );
    }
    const permissions = CgroupPermissions || "rwm";
    if (!/^[rwm]+$/.test(permissions)) throw new GantryError("invalid", `invalid device mode: ${permissions}`);
    if (stats.isDirectory()) {
      return readdirSync(PathOnHost).map((name) => ({
        hostPath: join(PathOnHost, name),
        containerPath: join(PathInContainer, name),
        permissions,
      }));
    }
    if (!stats.isCharacterDevice() && !stats.isBlockDevice()) {
      throw new GantryError(
        "internal",
        `error gathering device information while adding custom device "${PathOnHost}": not a device node`,
      );
    }
    return [{ hostPath: PathOnHost, containerPath: PathInContainer || PathOnHost, permissions }];
  });
}

function mounts(input: LaunchPlanInput): PlannedMount[] {
  const { container, rootfs } = input;
  const { record, hostConfig: host } = container;
  const out: PlannedMount[] = [];
  const taken = new Set(Object.keys(record.MountPoints));
  const tmpfs = parseTmpfs(host.Tmpfs);
  const writable = host.ReadonlyRootfs === true ? "ro" : "rw";
  const file = (source: string, destination: string): void => {
    if (source !== "" && !taken.has(destination)) {
      out.push({ type: "bind", source, destination, options: ["rbind", writable, "rprivate"] });
    }
  };
  file(record.ResolvConfPath, "/etc/resolv.conf");
  file(record.HostnamePath, "/etc/hostname");
  file(record.HostsPath, "/etc/hosts");
  if (input.shmPath !== undefined && !taken.has("/dev/shm")) {
    out.push({
      type: "bind",
      source: input.shmPath,
      destination: "/dev/shm",
      options: ["rbind", "rprivate", "nosuid", "noexec", "nodev"],
    });
  }
  // Outer mount points before those inside them.
  const points = Object.values(record.MountPoints).sort(
    (a, b) => a.Destination.split("/").length - b.Destination.split("/").length,
  );
  for (const point of points) {
    if (point.Type === "tmpfs") {
      const options = point.Spec?.TmpfsOptions;
      const list = tmpfsOptions([
        ...(options?.SizeBytes ? [`size=${options.SizeBytes}`] : []),
        ...(options?.Mode ? [`mode=${options.Mode.toString(8)}`] : []),
        ...(options?.Options ?? []).map((pair) => pair.join("=")),
        ...(point.RW ? [] : ["ro"]),
      ]);
      out.push(tmpfsMount(rootfs, point.Destination, list));
      continue;
    }
    const isFlat = point.Spec?.BindOptions?.NonRecursive === true;
    const propagation = point.Propagation || "rprivate";
    const source = input.sources.get(point.Destination) ?? point.Source;
    const options = [
      isFlat ? "bind" : "rbind",
      point.RW ? "rw" : readOnlyOption(point, source),
      // crun takes what is below along as soon as one option is recursive.
      isFlat ? propagation.replace(/^r/, "") : propagation,
    ];
    if (point.Type === "bind") checkPropagation(source, propagation);
    out.push({ type: "bind", source, destination: point.Destination, options });
  }
  for (const { destination, options } of tmpfs) out.push(tmpfsMount(rootfs, destination, options));
  if (host.ReadonlyRootfs !== true) makeWorkingFolder(rootfs, container);
  return out;
}

/** A mount passes on what is mounted in it only when its source does (moby, daemon/oci_linux.go). */
function checkPropagation(source: string, propagation: string): void {
  if (!/shared|slave/.test(propagation)) return;
  const { target, shared, slave } = mountOf(realpathSync(source));
  if (shared || (slave && propagation.endsWith("slave"))) return;
  const wanted = propagation.endsWith("slave") ? "shared or slave" : "shared";
  throw new GantryError("internal", `path ${source} is mounted on ${target} but it is not a ${wanted} mount`);
}

/** Since Docker 25 read-only holds for what is mounted below, too, where the kernel (5.12) can do it. */
function readOnlyOption({ Spec }: StoredMountPoint, source: string): "ro" | "rro" {
  const options = Spec?.BindOptions;
  if (options?.ReadOnlyNonRecursive === true) {
    if (options.ReadOnlyForceRecursive === true)
      throw new GantryError("invalid", "mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive");
    return "ro";
  }
  // Nothing is mounted below a file, and crun would open it as a folder.
  if (statSync(source, { throwIfNoEntry: false })?.isDirectory() === false) return "ro";
  if (canSetMountAttributes()) return "rro";
  if (options?.ReadOnlyForceRecursive === true)
    throw new GantryError("unsupported", "rro is not supported: kernel does not support mount_setattr (Linux 5.12)");
  return "ro";
}

/** A tmpfs has the mode of the folder that it covers, as runc makes it, unless one is asked for. */
function tmpfsMount(rootfs: string, destination: string, options: readonly string[]): PlannedMount {
  const isGiven = options.some((option) => option.startsWith("mode="));
  const covered = isGiven ? undefined : statSync(resolveInRoot(rootfs, destination), { throwIfNoEntry: false });
  const mode = covered?.isDirectory() === true ? covered.mode & 0o7777 : 0o755;
  return {
    type: "tmpfs",
    source: "tmpfs",
    destination,
    options: isGiven ? [...options] : [...options, `mode=${mode.toString(8)}`],
  };
}

/** docker makes the working directory when the image has none. */
function makeWorkingFolder(rootfs: string, container: Container): void {
  const folder = container.record.Config.WorkingDir;
  if (folder === undefined || folder === "" || folder === "/") return;
  const path = resolveInRoot(rootfs, folder);
  const stats = lstatSync(path, { throwIfNoEntry: false });
  const owner = container.mapping === undefined ? { uid: 0, gid: 0 } : mappedRoot(container.mapping);
  if (stats === undefined) asFileOwner(owner, () => mkdirSync(path, { recursive: true, mode: 0o755 }));
  else if (!stats.isDirectory()) {
    throw new GantryError("invalid", `Cannot mkdir: ${folder} is not a directory`);
  }
}

/** A mount can pass on what is mounted only when the root that it was made in can. */
function rootPropagation({ record }: Container): LaunchPlan["rootfsPropagation"] {
  const words = Object.values(record.MountPoints).map((point) => point.Propagation ?? "");
  if (words.some((word) => word.endsWith("shared"))) return "shared";
  return words.some((word) => word.endsWith("slave")) ? "slave" : "";
}

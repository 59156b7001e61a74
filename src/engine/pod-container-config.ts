import { hostname } from "node:os";
import { readFileSync } from "node:fs";
import type { ContainerCreateBody, HostConfig, MountSpec, Resources } from "#api/docker/container-types.ts";
import type { ContainerMount, ContainerResources, PodContainerConfig } from "#api/pod-runtime.ts";
import { GantryError } from "#base/errors.ts";
import { cgroupVersion } from "#host/cgroup.ts";
import { hasAppArmor, isProfileLoaded } from "#host/apparmor.ts";
import type { Image } from "#image/image-store.ts";
import type { SandboxRecord } from "./sandbox-store.ts";

const propagationOf: Record<ContainerMount["propagation"], string> = {
  private: "rprivate",
  "host-to-container": "rslave",
  bidirectional: "rshared",
};

/** A pod's limits in docker's words. */
export function resourcesOf(resources: ContainerResources): Resources {
  const period = resources.cpuPeriod ?? 100_000;
  return {
    ...(resources.cpuShares ? { CpuShares: resources.cpuShares } : {}),
    ...(resources.cpuQuota !== undefined && resources.cpuQuota > 0
      ? { CpuQuota: resources.cpuQuota, CpuPeriod: period }
      : {}),
    // Kubernetes has no swap limit of its own: none beyond the memory.
    ...(resources.memoryLimitBytes
      ? {
          Memory: resources.memoryLimitBytes,
          MemorySwap: resources.memorySwapLimitBytes || resources.memoryLimitBytes,
        }
      : {}),
    ...(resources.cpusetCpus ? { CpusetCpus: resources.cpusetCpus } : {}),
    ...(resources.cpusetMems ? { CpusetMems: resources.cpusetMems } : {}),
    ...(resources.pidsLimit ? { PidsLimit: resources.pidsLimit } : {}),
  };
}

/** A pod's mount in docker's words; unlike docker's own, it is read-only at its top alone unless asked otherwise. */
function mountSpec(mount: ContainerMount): MountSpec {
  const common = { Target: mount.containerPath, ReadOnly: mount.readOnly };
  if (mount.image !== undefined) {
    const { id, subPath } = mount.image;
    return { ...common, Type: "image", Source: id, ...(subPath ? { ImageOptions: { Subpath: subPath } } : {}) };
  }
  const depth = mount.recursiveReadOnly === true ? { ReadOnlyForceRecursive: true } : { ReadOnlyNonRecursive: true };
  return {
    ...common,
    Type: "bind",
    Source: mount.hostPath,
    BindOptions: { Propagation: propagationOf[mount.propagation], ...(mount.readOnly ? depth : {}) },
  };
}

/** The way back: a container's mounts as the port names them. */
export function mountsOf(mounts: readonly MountSpec[]): ContainerMount[] {
  const known = Object.entries(propagationOf) as [ContainerMount["propagation"], string][];
  return mounts.map(({ Type, Source = "", Target, ReadOnly, BindOptions, ImageOptions }) => ({
    hostPath: Type === "image" ? "" : Source,
    ...(Type === "image"
      ? { image: { id: Source, ...(ImageOptions?.Subpath ? { subPath: ImageOptions.Subpath } : {}) } }
      : {}),
    containerPath: Target ?? "",
    readOnly: ReadOnly === true,
    ...(BindOptions?.ReadOnlyForceRecursive === true ? { recursiveReadOnly: true } : {}),
    propagation: known.find(([, word]) => word === BindOptions?.Propagation)?.[0] ?? "private",
  }));
}

/** The way back of `resourcesOf`. */
export function limitsOf(host: HostConfig): ContainerResources {
  return {
    ...(host.CpuShares ? { cpuShares: host.CpuShares } : {}),
    ...(host.CpuQuota ? { cpuQuota: host.CpuQuota } : {}),
    ...(host.CpuPeriod ? { cpuPeriod: host.CpuPeriod } : {}),
    ...(host.Memory ? { memoryLimitBytes: host.Memory } : {}),
    ...(host.MemorySwap ? { memorySwapLimitBytes: host.MemorySwap } : {}),
    ...(host.OomScoreAdj ? { oomScoreAdj: host.OomScoreAdj } : {}),
    ...(host.CpusetCpus ? { cpusetCpus: host.CpusetCpus } : {}),
    ...(host.CpusetMems ? { cpusetMems: host.CpusetMems } : {}),
  };
}

function seccompOption(profile: string): string[] {
  if (profile === "" || profile === "unconfined") return ["seccomp=unconfined"];
  if (profile.startsWith("localhost/")) return [`seccomp=${readFileSync(profile.slice("localhost/".length), "utf8")}`];
  return [];
}

/** Refuses a profile that could not be put in force (containerd, internal/cri/server, generateApparmorSpecOpts). */
function appArmorOption(name: string | undefined): string[] {
  if (name === undefined) return [];
  if (name !== "unconfined") {
    if (!hasAppArmor) throw new GantryError("unsupported", `AppArmor is not supported: profile "${name}"`);
    if (!isProfileLoaded(name)) throw new GantryError("invalid", `apparmor profile not found ${name}`);
  }
  return [`apparmor=${name}`];
}

/** A pod's cgroup: what the node agent names is below the engine's own. */
export function podCgroup(engineCgroup: string, cgroupParent: string): string {
  return `${engineCgroup}/${cgroupParent.replace(/^\/+/, "")}`;
}

/** A pod's container as a docker container that joins its sandbox: one way to start both. */
export function createBodyOf(
  config: PodContainerConfig,
  sandbox: SandboxRecord,
  image: Image,
  engineCgroup: string,
): ContainerCreateBody {
  const { security } = config;
  const entrypoint = config.command.length > 0 ? config.command : (image.config.config?.Entrypoint ?? []);
  const cmd = config.args.length > 0 ? config.args : config.command.length > 0 ? [] : (image.config.config?.Cmd ?? []);
  const userName = security.runAsUser ?? security.runAsUserName;
  const group = security.runAsGroup === undefined ? "" : `:${security.runAsGroup}`;
  const user = userName === undefined ? undefined : `${userName}${group}`;
  const mounts = config.mounts.map(mountSpec);
  const host: HostConfig = {
    ...resourcesOf(config.resources),
    OomScoreAdj: config.resources.oomScoreAdj ?? 0,
    CgroupParent: podCgroup(engineCgroup, sandbox.config.cgroupParent),
    // As containerd has it: a privileged container sees the machine's cgroups.
    CgroupnsMode: cgroupVersion === 2 && !security.privileged ? "private" : "host",
    NetworkMode: "none",
    Mounts: mounts,
    Devices: config.devices.map(({ hostPath, containerPath, permissions }) => ({
      PathOnHost: hostPath,
      PathInContainer: containerPath,
      CgroupPermissions: permissions,
    })),
    Privileged: security.privileged,
    ReadonlyRootfs: security.readOnlyRootFilesystem,
    CapAdd: security.capabilitiesAdd,
    CapDrop: security.capabilitiesDrop,
    GroupAdd: security.supplementalGroups.map(String),
    SecurityOpt: [
      ...(security.noNewPrivileges ? ["no-new-privileges"] : []),
      ...seccompOption(security.seccompProfile),
      ...appArmorOption(security.apparmorProfile),
    ],
    ...(security.maskedPaths === undefined ? {} : { MaskedPaths: security.maskedPaths }),
    ...(security.readonlyPaths === undefined ? {} : { ReadonlyPaths: security.readonlyPaths }),
    RestartPolicy: { Name: "no" },
    LogConfig: { Type: "json-file", Config: {} },
  };
  return {
    Hostname: (sandbox.config.hostNetwork ? hostname() : sandbox.config.hostname).slice(0, 63),
    ...(user === undefined ? {} : { User: user }),
    Env: config.env.map(({ name, value }) => `${name}=${value}`),
    Entrypoint: entrypoint,
    Cmd: cmd,
    Image: image.id,
    ...(config.workingDir ? { WorkingDir: config.workingDir } : {}),
    Tty: config.tty,
    OpenStdin: config.stdin,
    StdinOnce: config.stdinOnce,
    Labels: {
      ...config.labels,
      "io.kubernetes.container.name": config.metadata.name,
      "io.kubernetes.pod.name": sandbox.config.metadata.name,
      "io.kubernetes.pod.namespace": sandbox.config.metadata.namespace,
      "io.kubernetes.pod.uid": sandbox.config.metadata.uid,
    },
    ...(config.stopSignal ? { StopSignal: config.stopSignal } : {}),
    HostConfig: host,
  };
}

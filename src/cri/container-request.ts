import { release } from "node:os";
import type { ContainerMount, ContainerResources, ContainerSecurity, PodContainerConfig } from "#api/pod-runtime.ts";
import { GantryError } from "#base/errors.ts";
import { type IdRange, isSameMapping } from "#base/id-mapping.ts";
import type {
  ContainerConfig,
  ContainerSecurityContext,
  IdMappingMessage,
  LinuxResources,
  MountMessage,
  SandboxConfig,
  SecurityProfile,
} from "./messages.ts";

const propagations: Record<MountMessage["propagation"], ContainerMount["propagation"]> = {
  PROPAGATION_PRIVATE: "private",
  PROPAGATION_HOST_TO_CONTAINER: "host-to-container",
  PROPAGATION_BIDIRECTIONAL: "bidirectional",
};

/** SELinux is not in force on this kind of machine: labels that nobody enforces are refused, not dropped. */
export function refuseSelinux(options: object | null): void {
  if (options !== null && Object.values(options).some((value) => value !== "")) {
    throw new GantryError("unsupported", "SELinux is not supported");
  }
}

/** What the kubelet always sends on cgroup v2. */
const knownUnified = new Set(["memory.oom.group"]);

/** Limits for the port. Zero means "not given", as everywhere in CRI. */
export function resourcesOf(resources: LinuxResources): ContainerResources {
  if (resources.hugepageLimits.some(({ limit }) => limit > 0)) {
    throw new GantryError("unsupported", "limits of huge pages are not supported");
  }
  const unknown = Object.keys(resources.unified).filter((key) => !knownUnified.has(key));
  if (unknown.length > 0)
    throw new GantryError("unsupported", `cgroup settings are not supported: ${unknown.join(", ")}`);
  const given = {
    cpuPeriod: resources.cpuPeriod,
    cpuQuota: resources.cpuQuota,
    cpuShares: resources.cpuShares,
    memoryLimitBytes: resources.memoryLimitInBytes,
    memorySwapLimitBytes: resources.memorySwapLimitInBytes,
    oomScoreAdj: resources.oomScoreAdj,
    cpusetCpus: resources.cpusetCpus,
    cpusetMems: resources.cpusetMems,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== 0 && value !== ""));
}

/** mount_setattr(2) came with Linux 5.12. */
export function hasRecursiveReadOnly(): boolean {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  return major > 5 || (major === 5 && minor >= 12);
}

/** A range of ids as the port names it. */
export const idRange = ({ containerId, hostId, length }: IdMappingMessage): IdRange => ({
  containerId,
  hostId,
  length,
});

/** What the kubelet asks for all mounts of a pod with a user namespace: files have the ids inside. */
function isIdMapped({ containerPath, uidMappings, gidMappings }: MountMessage, sandbox: SandboxConfig | null): boolean {
  if (uidMappings.length + gidMappings.length === 0) return false;
  const pod = sandbox?.linux?.securityContext?.namespaceOptions?.usernsOptions;
  const wanted = { uids: uidMappings.map(idRange), gids: gidMappings.map(idRange) };
  const own = { uids: (pod?.uids ?? []).map(idRange), gids: (pod?.gids ?? []).map(idRange) };
  if (pod?.mode === "POD" && isSameMapping(wanted, own)) return true;
  throw new GantryError(
    "unsupported",
    `ID mappings of the mount at "${containerPath}" must be those of the pod's user namespace`,
  );
}

function mountOf(mount: MountMessage, sandbox: SandboxConfig | null): ContainerMount {
  const { containerPath, hostPath, readonly, propagation } = mount;
  if (containerPath === "") throw new GantryError("invalid", "a mount's container path must not be empty");
  if (mount.image !== null && mount.image.image !== "") {
    const { image } = mount.image;
    const subPath = mount.imageSubPath === "" ? {} : { subPath: mount.imageSubPath };
    return { hostPath: "", image: { id: image, ...subPath }, containerPath, readOnly: true, propagation: "private" };
  }
  if (mount.recursiveReadOnly) {
    if (!hasRecursiveReadOnly()) {
      throw new GantryError("unsupported", "recursive read-only mounts need Linux 5.12 or newer");
    }
    if (!readonly) throw new GantryError("invalid", "recursive_read_only must be used with readonly");
    if (propagation !== "PROPAGATION_PRIVATE") {
      throw new GantryError("invalid", "recursive_read_only needs private propagation");
    }
  }
  return {
    hostPath,
    containerPath,
    readOnly: readonly,
    ...(mount.recursiveReadOnly ? { recursiveReadOnly: true } : {}),
    propagation: propagations[propagation],
    ...(isIdMapped(mount, sandbox) ? { idMapped: true } : {}),
  };
}

function seccompOf(profile: SecurityProfile | null, path: string): string {
  if (profile === null) return path === "" ? "unconfined" : path.replace(/^docker\/default$/, "runtime/default");
  if (profile.profileType === "Localhost") return `localhost/${profile.localhostRef}`;
  return profile.profileType === "RuntimeDefault" ? "runtime/default" : "unconfined";
}

/** For the port. Without a name the engine's own profile holds, as in containerd. */
function apparmorOf(profile: SecurityProfile | null, deprecated: string): { apparmorProfile?: string } {
  const name = profile === null ? deprecated.replace(/^localhost\//, "") : profileName(profile);
  if (name === "unconfined") return { apparmorProfile: name };
  if (name === "" || name === "runtime/default" || name === "docker/default") return {};
  return { apparmorProfile: name };
}

function profileName({ profileType, localhostRef }: SecurityProfile): string {
  if (profileType === "Localhost") return localhostRef.replace(/^localhost\//, "");
  return profileType === "Unconfined" ? "unconfined" : "runtime/default";
}

function securityOf(context: ContainerSecurityContext, sandboxPid: string): ContainerSecurity {
  const { runAsUser, runAsGroup, runAsUsername, capabilities, namespaceOptions } = context;
  if (runAsGroup !== null && runAsUser === null && runAsUsername === "") {
    throw new GantryError("invalid", "user group is specified without user");
  }
  if ((capabilities?.addAmbientCapabilities.length ?? 0) > 0) {
    throw new GantryError("unsupported", "ambient capabilities are not supported");
  }
  refuseSelinux(context.selinuxOptions);
  const isOwnPid = namespaceOptions?.pid === "CONTAINER" && sandboxPid !== "CONTAINER";
  const pidNamespace =
    namespaceOptions?.pid === "TARGET"
      ? { containerId: namespaceOptions.targetId }
      : isOwnPid
        ? ("own" as const)
        : undefined;
  return {
    privileged: context.privileged,
    ...(runAsUser === null ? {} : { runAsUser: runAsUser.value }),
    ...(runAsUser !== null || runAsUsername === "" ? {} : { runAsUserName: runAsUsername }),
    ...(runAsGroup === null ? {} : { runAsGroup: runAsGroup.value }),
    supplementalGroups: context.supplementalGroups,
    supplementalGroupsPolicy: context.supplementalGroupsPolicy === "Strict" ? "strict" : "merge",
    readOnlyRootFilesystem: context.readonlyRootfs,
    noNewPrivileges: context.noNewPrivs,
    capabilitiesAdd: capabilities?.addCapabilities ?? [],
    capabilitiesDrop: capabilities?.dropCapabilities ?? [],
    seccompProfile: context.privileged ? "unconfined" : seccompOf(context.seccomp, context.seccompProfilePath),
    ...apparmorOf(context.apparmor, context.apparmorProfile),
    maskedPaths: context.maskedPaths,
    readonlyPaths: context.readonlyPaths,
    ...(pidNamespace === undefined ? {} : { pidNamespace }),
  };
}

const noContext: ContainerSecurityContext = {
  capabilities: null,
  privileged: false,
  namespaceOptions: null,
  selinuxOptions: null,
  runAsUser: null,
  runAsGroup: null,
  runAsUsername: "",
  readonlyRootfs: false,
  supplementalGroups: [],
  supplementalGroupsPolicy: "Merge",
  noNewPrivs: false,
  maskedPaths: [],
  readonlyPaths: [],
  seccomp: null,
  apparmor: null,
  apparmorProfile: "",
  seccompProfilePath: "",
};

/** `SIGRTMINPLUS3` is `SIGRTMIN+3` everywhere else. */
function stopSignalOf(name: string): string | undefined {
  if (name === "RUNTIME_DEFAULT") return undefined;
  return name.replace("PLUS", "+").replace("MINUS", "-");
}

/** CreateContainer's config for the port. Throws `invalid`, and `unsupported` for what Gantry cannot put in force. */
export function containerConfigOf(
  config: ContainerConfig | null,
  sandbox: SandboxConfig | null,
  imageId: string,
): PodContainerConfig {
  if (config?.metadata == null || config.metadata.name === "") {
    throw new GantryError("invalid", "container config must include metadata with a name");
  }
  if (config.CDIDevices.length > 0) throw new GantryError("unsupported", "CDI devices are not supported");
  const stopSignal = stopSignalOf(config.stopSignal);
  const { image } = config;
  return {
    metadata: config.metadata,
    imageId,
    image: image?.userSpecifiedImage || (image?.image ?? ""),
    command: config.command,
    args: config.args,
    workingDir: config.workingDir,
    env: config.envs.map(({ key, value }) => ({ name: key, value })),
    mounts: config.mounts.map((mount) => mountOf(mount, sandbox)),
    devices: config.devices,
    labels: config.labels,
    annotations: config.annotations,
    logPath: config.logPath,
    stdin: config.stdin,
    stdinOnce: config.stdinOnce,
    tty: config.tty,
    ...(stopSignal === undefined ? {} : { stopSignal }),
    resources: config.linux?.resources ? resourcesOf(config.linux.resources) : {},
    security: securityOf(
      config.linux?.securityContext ?? noContext,
      sandbox?.linux?.securityContext?.namespaceOptions?.pid ?? "POD",
    ),
  };
}

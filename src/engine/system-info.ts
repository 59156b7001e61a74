import { existsSync, readFileSync } from "node:fs";
import { availableParallelism, arch, release, totalmem } from "node:os";
import { join } from "node:path";
import type { ContainerRuntimePort } from "#api/container-runtime.ts";
import type { DiskUsage, SystemInfo } from "#api/docker/object-types.ts";
import { dockerRelease } from "#api/docker/release.ts";
import type { Clock } from "#base/clock.ts";
import { randomUUID } from "node:crypto";
import { findInit } from "#container/init-program.ts";
import { fileSystemName } from "#host/file-system-name.ts";
import { readJson, writeFileAtomic } from "#host/files.ts";
import type { ImageService } from "#image/image-service.ts";
import { imageSummary } from "#image/image-views.ts";
import type { VolumeStore } from "#volume/volume-store.ts";
import { listContainers } from "./container-list.ts";
import type { ContainerStore } from "./container-store.ts";
import type { EngineDefaults, EngineOptions } from "./engine-options.ts";
import { kernelLimits, limitWarnings } from "./kernel-limits.ts";
import { volumeUsers } from "./volumes-api.ts";

export interface SystemParts {
  store: ContainerStore;
  images: ImageService;
  volumes: VolumeStore;
  runtime: ContainerRuntimePort;
  clock: Clock;
}

const machine = arch() === "arm64" ? "aarch64" : "x86_64";

function osRelease(): { name: string; version: string } {
  const text = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  const field = (key: string): string => new RegExp(`^${key}="?([^"\n]*)"?$`, "m").exec(text)?.[1] ?? "";
  return { name: field("PRETTY_NAME") || "Linux", version: field("VERSION_ID") };
}

/** Whether the kernel passes packets on between networks. */
function forwards(): boolean {
  return readFileSync("/proc/sys/net/ipv4/ip_forward", "latin1").trim() === "1";
}

/** A yes-or-no parameter of the kernel's overlay module; "false" where it is built in and tells none. */
function overlayParameter(name: string): string {
  const path = `/sys/module/overlay/parameters/${name}`;
  return String(existsSync(path) && readFileSync(path, "latin1").trim() === "Y");
}

/** Of cgroup v1, as dockerd asks for it. */
function hasMemoryFile(name: string): boolean {
  return existsSync(`/sys/fs/cgroup/memory/${name}`);
}

async function engineId(root: string): Promise<string> {
  const path = join(root, "engine-id.json");
  const known = await readJson<{ id: string }>(path).catch(() => undefined);
  if (known !== undefined) return known.id;
  const id = randomUUID();
  await writeFileAtomic(path, JSON.stringify({ id }));
  return id;
}

/** `GET /info`. */
export async function systemInfo(
  options: EngineOptions,
  defaults: EngineDefaults,
  parts: SystemParts,
): Promise<SystemInfo> {
  const facts = await parts.runtime.facts();
  const containers = parts.store
    .all()
    .filter((container) => !container.isPod && container.record.Gantry.phase !== "creating");
  const count = (test: (word: { Running: boolean; Paused: boolean }) => boolean): number =>
    containers.filter(({ state }) => test(state)).length;
  const limits = kernelLimits(facts.cgroupVersion);
  const forwarding = forwards();
  const warnings = limitWarnings(limits);
  if (!forwarding) warnings.push("WARNING: IPv4 forwarding is disabled");
  warnings.push(...defaults.warnings);
  const system = osRelease();
  return {
    ID: await engineId(options.root),
    Containers: containers.length,
    ContainersRunning: count((state) => state.Running && !state.Paused),
    ContainersPaused: count((state) => state.Paused),
    ContainersStopped: count((state) => !state.Running),
    Images: parts.images.images.list().length,
    Driver: "overlay2",
    DriverStatus: [
      ["Backing Filesystem", await fileSystemName(options.root)],
      ["Supports d_type", "true"],
      ["Using metacopy", overlayParameter("metacopy")],
      ["Native Overlay Diff", "true"],
      ["userxattr", "false"],
    ],
    Plugins: {
      Volume: ["local"],
      Network: ["bridge", "host", "macvlan", "null", "overlay"],
      Authorization: null,
      Log: ["json-file", "local", "none"],
    },
    ...limits,
    KernelMemory: hasMemoryFile("memory.kmem.limit_in_bytes"),
    KernelMemoryTCP: hasMemoryFile("memory.kmem.tcp.limit_in_bytes"),
    IPv4Forwarding: forwarding,
    Debug: defaults.debug,
    NFd: 0,
    NGoroutines: 0,
    SystemTime: new Date(parts.clock.now()).toISOString(),
    LoggingDriver: defaults.logDriver,
    CgroupDriver: facts.cgroupDriver,
    CgroupVersion: String(facts.cgroupVersion),
    NEventsListener: 0,
    KernelVersion: release(),
    OperatingSystem: system.name,
    OSVersion: system.version,
    OSType: "linux",
    Architecture: machine,
    IndexServerAddress: "https://index.docker.io/v1/",
    RegistryConfig: {
      InsecureRegistryCIDRs: [
        "::1/128",
        "127.0.0.0/8",
        ...defaults.insecureRegistries.filter((name) => name.includes("/")),
      ],
      IndexConfigs: {
        ...Object.fromEntries(
          defaults.insecureRegistries
            .filter((name) => !name.includes("/"))
            .map((name) => [name, { Name: name, Mirrors: [], Secure: false, Official: false }]),
        ),
        "docker.io": { Name: "docker.io", Mirrors: defaults.registryMirrors, Secure: true, Official: true },
      },
      Mirrors: defaults.registryMirrors.length === 0 ? null : defaults.registryMirrors,
    },
    NCPU: availableParallelism(),
    MemTotal: totalmem(),
    GenericResources: null,
    DockerRootDir: options.root,
    HttpProxy: "",
    HttpsProxy: "",
    NoProxy: "",
    Name: options.nodeName,
    Labels: defaults.labels,
    ExperimentalBuild: false,
    FirewallBackend: { Driver: "nftables" },
    ServerVersion: dockerRelease,
    Runtimes: { runc: { path: facts.name }, "io.containerd.runc.v2": { path: facts.name } },
    DefaultRuntime: "runc",
    Swarm: {
      NodeID: "",
      NodeAddr: "",
      LocalNodeState: "inactive",
      ControlAvailable: false,
      Error: "",
      RemoteManagers: null,
    },
    LiveRestoreEnabled: defaults.liveRestore,
    Isolation: "",
    InitBinary: findInit() ?? "",
    ContainerdCommit: { ID: "" },
    RuncCommit: { ID: facts.version },
    InitCommit: { ID: "" },
    SecurityOptions: [
      ...(facts.apparmor ? ["name=apparmor"] : []),
      "name=seccomp,profile=builtin",
      ...(options.remap === undefined ? [] : ["name=userns"]),
      ...(existsSync("/proc/self/ns/cgroup") ? ["name=cgroupns"] : []),
    ],
    CDISpecDirs: [],
    ...(defaults.addressPools.length === 0
      ? {}
      : { DefaultAddressPools: defaults.addressPools.map(({ base, size }) => ({ Base: base, Size: size })) }),
    Warnings: warnings.length === 0 ? null : warnings,
  };
}

/** `GET /system/df`. */
export async function diskUsage(
  types: readonly ("container" | "image" | "volume" | "build-cache")[] | undefined,
  parts: SystemParts,
): Promise<DiskUsage> {
  const wants = (type: "container" | "image" | "volume"): boolean =>
    types === undefined || types.length === 0 || types.includes(type);
  const { images, store, volumes } = parts;
  const users = volumeUsers(store);
  const out: DiskUsage = { LayersSize: 0, Images: [], Containers: [], Volumes: [], BuildCache: [] };
  if (wants("image")) {
    out.LayersSize = images.layers.list().reduce((sum, layer) => sum + layer.size, 0);
    out.Images = images.images.list().map((image) =>
      imageSummary(images.images, image, {
        sharedSize: true,
        containers: store.all().filter((container) => container.record.Image === image.id).length,
      }),
    );
  }
  if (wants("container")) {
    out.Containers = await listContainers({ all: true, size: true }, parts);
  }
  if (wants("volume")) {
    out.Volumes = await Promise.all(
      volumes.list().map(async (volume) => ({
        ...volume,
        UsageData: { Size: await volumes.usage(volume.Name), RefCount: users(volume.Name).length },
      })),
    );
  }
  return out;
}

import { hostname } from "node:os";
import { join } from "node:path";
import type { ContainerCreateBody, EndpointSettings, HostConfig, MountSpec } from "#api/docker/container-types.ts";
import type { Clock } from "#base/clock.ts";
import { errorMessage, GantryError, hasCode } from "#base/errors.ts";
import type { IdMapping } from "#base/id-mapping.ts";
import { newContainerId, randomHex } from "#base/ids.ts";
import { expectCgroupMove } from "#host/cgroup-moves.ts";
import { defaultMaskedPaths, defaultReadonlyPaths } from "#container/masked-paths.ts";
import type { ImageService } from "#image/image-service.ts";
import type { Image } from "#image/image-store.ts";
import { parsePlatform, requirePlatform } from "#image/platform.ts";
import type { Networks } from "#network/networks.ts";
import { anonymousLabel, type VolumeStore } from "#volume/volume-store.ts";
import { capabilitySet } from "./capabilities.ts";
import {
  Container,
  type ContainerRecord,
  emptyNetworkSettings,
  emptyState,
  type StoredMountPoint,
} from "./container.ts";
import { storedLinks } from "./container-links.ts";
import type { ContainerStore } from "./container-store.ts";
import { refuseBesideRemap, validateCreate } from "./create-validation.ts";
import { checkEndpoint } from "./container-network.ts";
import { discardUnsupported } from "./discarded-limits.ts";
import type { EngineDefaults } from "./engine-options.ts";
import type { EventLog } from "./event-log.ts";
import { commandLine, mergeConfig } from "./image-config-merge.ts";
import { securityOptions } from "./launch-plan.ts";
import { checkLogOptions, isLogDriver } from "./log-options.ts";
import type { Lifecycle } from "./lifecycle.ts";
import { imageMountId, imageMounts } from "./mount-sources.ts";
import { parseVolumesFrom, plannedMounts, type WantedMount } from "./mount-spec.ts";
import { checkName, randomName } from "./names.ts";
import { resolveInRoot } from "#host/rooted-path.ts";
import { rfc3339 } from "./timestamps.ts";

export interface CreatorParts {
  store: ContainerStore;
  images: ImageService;
  volumes: VolumeStore;
  networks: Networks;
  events: EventLog;
  lifecycle: Lifecycle;
  clock: Clock;
  defaults: EngineDefaults;
  /** Of docker's containers; undefined: the machine's ids. */
  remap: IdMapping | undefined;
}

/** What only pods' containers have. */
export interface PodCreate {
  id?: string;
  pod: NonNullable<ContainerRecord["Gantry"]["pod"]>;
  mapping?: IdMapping | undefined;
}

/** Makes containers from docker's create request: checked, merged with the image, its volumes made, its record written. */
export class ContainerCreator {
  readonly #parts: CreatorParts;

  constructor(parts: CreatorParts) {
    this.#parts = parts;
  }

  async create(
    wantedName: string | undefined,
    body: ContainerCreateBody,
    extra: Partial<PodCreate> & { platform?: string } = {},
  ): Promise<{ container: Container; warnings: string[] }> {
    const { store, images, lifecycle } = this.#parts;
    // Most are started at once.
    expectCgroupMove();
    const name = wantedName === undefined || wantedName === "" ? undefined : checkName(wantedName);
    const isPod = extra.pod !== undefined;
    const warnings = validateCreate(body);
    if (!isPod && this.#parts.remap !== undefined) refuseBesideRemap(body.HostConfig ?? {});
    const mapping = isPod ? extra.mapping : body.HostConfig?.UsernsMode === "host" ? undefined : this.#parts.remap;
    const host = this.#hostConfig(body.HostConfig ?? {}, body);
    warnings.push(...discardUnsupported(host));
    capabilitySet({ add: host.CapAdd ?? [], drop: host.CapDrop ?? [], privileged: host.Privileged === true });
    securityOptions(host);
    const image = this.#image(body.Image ?? "");
    if (image !== undefined && extra.platform !== undefined)
      requirePlatform(image, body.Image ?? "", parsePlatform(extra.platform));
    const config = mergeConfig(body, image?.config.config ?? {});
    const id = extra.id ?? newContainerId();
    if (config.Hostname === "") {
      config.Hostname = host.NetworkMode === "host" || host.UTSMode === "host" ? hostname() : id.slice(0, 12);
    }
    if (host.NetworkMode?.startsWith("container:"))
      config.Hostname = this.#targetOf(host.NetworkMode).record.Config.Hostname ?? "";
    const finalName = name ?? randomName((candidate) => store.idOfName(candidate) !== undefined);
    store.reserveName(finalName, id);
    const made: string[] = [];
    let container: Container | undefined;
    try {
      const [path = "", ...args] = commandLine(config);
      const folder = store.folder(id);
      const wanted = plannedMounts(host, Object.keys(config.Volumes ?? {}), this.#inherited(host)).map((mount) =>
        mount.Type === "volume" && !mount.Name ? { ...mount, Name: randomHex(32), isAnonymous: true } : mount,
      );
      // Named before they are made, so that a crash in between leaves no volume without an owner.
      const mountedImages: { id: string; image: Image }[] = [];
      const mounts: Record<string, StoredMountPoint> = {};
      for (const [index, mount] of wanted.entries()) {
        if (mount.Type === "image") {
          const { point, image: shown } = this.#imagePoint(mount, id, index, mapping);
          mounts[mount.Destination] = point;
          mountedImages.push({ id: point.ID as string, image: shown });
        } else mounts[mount.Destination] = this.#pointOf(mount);
      }
      if (mountedImages.length > 0) warnings.push("Image mount is an experimental feature");
      const record: ContainerRecord = {
        StreamConfig: {},
        State: emptyState(),
        ID: id,
        Created: rfc3339(this.#parts.clock.now()),
        Managed: false,
        Path: path,
        Args: args,
        Config: config,
        Image: image?.id ?? "",
        NetworkSettings: emptyNetworkSettings(isPod ? {} : this.#networks(host, body)),
        LogPath: extra.pod?.logPath ?? (host.LogConfig?.Type === "none" ? "" : join(folder, `${id}-json.log`)),
        Name: `/${finalName}`,
        Driver: "overlay2",
        OS: "linux",
        RestartCount: 0,
        HasBeenStartedBefore: false,
        HasBeenManuallyStopped: false,
        HasBeenManuallyRestarted: false,
        MountPoints: mounts,
        HostnamePath: isPod ? "" : join(folder, "hostname"),
        HostsPath: isPod ? "" : join(folder, "hosts"),
        ResolvConfPath: isPod ? "" : join(folder, "resolv.conf"),
        AppArmorProfile: securityOptions(host).apparmor,
        Gantry: {
          phase: "creating",
          chain: [...(image?.chain ?? [])],
          endpoints: [],
          platform: "linux",
          ...(mapping === undefined ? {} : { mapping }),
          ...(extra.pod === undefined ? {} : { pod: extra.pod }),
        },
      };
      container = new Container(record, host);
      // A crash may leave either without the other: the next start removes both.
      const [added, prepared] = await Promise.allSettled([
        store.add(container),
        (image === undefined ? Promise.resolve() : images.images.ensureUnpacked(image)).then(() =>
          images.snapshots.prepare(id, record.Gantry.chain, { mapping }),
        ),
      ]);
      if (added.status === "rejected") throw added.reason;
      if (prepared.status === "rejected") throw prepared.reason;
      const snapshot = prepared.value;
      for (const shown of mountedImages) {
        await images.images.ensureUnpacked(shown.image);
        await images.snapshots.prepare(shown.id, shown.image.chain, { readOnly: true, mapping });
      }
      let rootfs: string | undefined;
      for (const mount of wanted) {
        const point = mounts[mount.Destination] as StoredMountPoint;
        await this.#makeVolume(mount, made);
        if (point.Type !== "volume" || mount.noCopy === true || point.CopyData === false) continue;
        // What a crash leaves half-copied is emptied, and the other parts of the volume are not this container's.
        if (point.Spec?.VolumeOptions?.Subpath) continue;
        rootfs ??= await images.snapshots.mount(snapshot);
        await this.#fill(container, point, rootfs);
      }
      if (rootfs !== undefined) images.snapshots.unmount(id);
      record.Gantry.phase = "ready";
      await store.save(container, { durable: true });
    } catch (error) {
      if (container !== undefined) {
        await Promise.all([id, ...imageMounts(container)].map((snapshotId) => images.snapshots.remove(snapshotId)));
        await store.remove(container);
      }
      store.releaseName(finalName, id);
      for (const volume of made) await this.#parts.volumes.remove(volume, true).catch(() => {});
      throw error;
    }
    lifecycle.emit(container, "create");
    return { container, warnings };
  }

  #image(ref: string): Image | undefined {
    if (ref === "") throw new GantryError("invalid", "no command specified");
    return this.#parts.images.images.resolve(ref);
  }

  /** The configuration as inspect shows it: defaults filled in, modes in their one form. */
  #hostConfig(given: HostConfig, body: ContainerCreateBody): HostConfig {
    const { defaults } = this.#parts;
    const host: HostConfig = { ...emptyHostConfig, ...given };
    if (host.NetworkMode === undefined || host.NetworkMode === "" || host.NetworkMode === "default") {
      const named = Object.keys(body.NetworkingConfig?.EndpointsConfig ?? {});
      host.NetworkMode = body.NetworkDisabled === true ? "none" : named.length === 1 ? (named[0] as string) : "bridge";
    }
    if (host.NetworkMode.startsWith("container:")) {
      try {
        host.NetworkMode = `container:${this.#targetOf(host.NetworkMode).id}`;
      } catch (error) {
        if (!hasCode(error, "not-found")) throw error;
        // Not "not found", for which the CLI would pull the image.
        throw new GantryError("invalid", `joining network namespace of container: ${errorMessage(error)}`, {
          cause: error,
        });
      }
    }
    for (const mode of ["PidMode", "IpcMode"] as const) host[mode] = this.#sharedMode(host[mode] ?? "");
    host.IpcMode = host.IpcMode || defaults.ipcMode;
    host.CgroupnsMode = host.CgroupnsMode || defaults.cgroupnsMode;
    host.Runtime = host.Runtime || "runc";
    const driver = host.LogConfig?.Type || defaults.logDriver;
    host.LogConfig = {
      Type: driver,
      Config: { ...(driver === defaults.logDriver ? defaults.logOptions : {}), ...host.LogConfig?.Config },
    };
    // Any other is the name of a plugin to docker.
    if (!isLogDriver(driver)) {
      throw new GantryError("invalid", `error looking up logging plugin ${driver}: plugin "${driver}" not found`);
    }
    checkLogOptions(driver, host.LogConfig.Config ?? {});
    host.RestartPolicy = {
      Name: host.RestartPolicy?.Name || "no",
      MaximumRetryCount: host.RestartPolicy?.MaximumRetryCount ?? 0,
    };
    if (host.IpcMode !== "host" && host.IpcMode !== "none" && !host.ShmSize) host.ShmSize = defaults.shmSize;
    if ((host.Memory ?? 0) > 0 && (host.MemorySwap ?? 0) === 0) host.MemorySwap = (host.Memory as number) * 2;
    const bindings: NonNullable<HostConfig["PortBindings"]> = {};
    for (const [key, list] of Object.entries(host.PortBindings ?? {})) {
      bindings[key.includes("/") ? key : `${key}/tcp`] = (list ?? []).map(({ HostIp, HostPort }) => ({
        HostIp: HostIp ?? "",
        HostPort: HostPort ?? "",
      }));
    }
    host.PortBindings = bindings;
    if ((host.PidsLimit ?? 0) <= 0) host.PidsLimit = null;
    if (host.MemorySwappiness === -1) host.MemorySwappiness = null;
    host.OomKillDisable ??= false;
    if (host.Privileged !== true) {
      host.MaskedPaths ??= [...defaultMaskedPaths()];
      host.ReadonlyPaths ??= [...defaultReadonlyPaths];
    }
    const isLabelled = (host.SecurityOpt ?? []).some((option) => /^label[=:]/.test(option));
    if (!isLabelled && (host.Privileged === true || host.PidMode === "host" || host.IpcMode === "host")) {
      host.SecurityOpt = [...(host.SecurityOpt ?? []), "label=disable"];
    }
    return host;
  }

  /** `container:NAME` with the id, so that a rename does no harm; as it is when there is none, which a start tells. */
  #sharedMode(mode: string): string {
    if (!mode.startsWith("container:")) return mode;
    try {
      return `container:${this.#targetOf(mode).id}`;
    } catch (error) {
      if (hasCode(error, "not-found")) return mode;
      throw error;
    }
  }

  #targetOf(mode: string): Container {
    return this.#parts.store.resolve(mode.slice("container:".length));
  }

  /** Not "not found", for which the CLI would pull the image. */
  #volumesSource(ref: string): Container {
    try {
      return this.#parts.store.resolve(ref);
    } catch (error) {
      if (!hasCode(error, "not-found")) throw error;
      throw new GantryError("invalid", (error as GantryError).message, { cause: error });
    }
  }

  #inherited(host: HostConfig): StoredMountPoint[] {
    return (host.VolumesFrom ?? []).flatMap((spec) => {
      const { container, rw } = parseVolumesFrom(spec);
      const other = this.#volumesSource(container);
      return Object.values(other.record.MountPoints).map((point) => ({
        ...point,
        Mode: "",
        RW: point.RW && rw,
        CopyData: false,
      }));
    });
  }

  /** The endpoints that a start shall make: the network mode's, and what else was asked for. */
  #networks(host: HostConfig, body: ContainerCreateBody): Record<string, EndpointSettings> {
    const mode = host.NetworkMode ?? "bridge";
    const asked = body.NetworkingConfig?.EndpointsConfig ?? {};
    if (mode.startsWith("container:")) {
      // Whatever else is asked for has no endpoint to be a property of, as with docker.
      return {};
    }
    const out: Record<string, EndpointSettings> = {};
    const nameOf = (ref: string): string => {
      try {
        return this.#parts.networks.inspect(ref).Name;
      } catch (error) {
        if (hasCode(error, "not-found")) return ref;
        throw error;
      }
    };
    const primary = nameOf(mode === "default" ? "bridge" : mode);
    host.NetworkMode = primary;
    // On user-defined networks links are names in DNS, which the network's own settings carry.
    const links = builtinNetworks.includes(primary) ? (host.Links ?? []) : [];
    host.Links = links.length === 0 ? null : [...new Set(storedLinks(links, this.#parts.store))];
    out[primary] = {};
    this.#checkMac(primary, body.MacAddress ?? "");
    for (const [ref, settings] of Object.entries(asked)) {
      const name = nameOf(ref === "default" ? "bridge" : ref);
      const isBuiltin = builtinNetworks.includes(name);
      if (isBuiltin && (settings?.Aliases ?? []).length > 0) {
        throw new GantryError(
          "invalid",
          "invalid config for network " +
            name +
            ": network-scoped alias is supported only for containers in user defined networks",
        );
      }
      try {
        checkEndpoint(this.#parts.networks, name, settings ?? {});
      } catch (error) {
        // A network that is not there yet is missed at the start.
        if (!hasCode(error, "not-found"))
          throw new GantryError("invalid", `invalid config for network ${name}: ${errorMessage(error)}`, {
            cause: error,
          });
      }
      const { MacAddress, ...rest } = settings ?? {};
      this.#checkMac(name, MacAddress ?? "");
      out[name] = { ...rest, ...(MacAddress ? { DesiredMacAddress: MacAddress } : {}) } as EndpointSettings;
    }
    return out;
  }

  #checkMac(network: string, address: string): void {
    if (address === "" || /^[0-9a-f]{2}([:-])([0-9a-f]{2}\1){4}[0-9a-f]{2}$/i.test(address)) return;
    throw new GantryError("invalid", `invalid config for network ${network}: invalid MAC address ${address}`);
  }

  #pointOf(mount: WantedMount): StoredMountPoint {
    const {
      createSource: _c,
      noCopy: _n,
      volumeLabels: _l,
      volumeOptions: _o,
      volumeDriver: _d,
      tmpfsOptions: _t,
      isAnonymous: _a,
      ...point
    } = mount;
    if (mount.Type !== "volume") return point;
    return { ...point, Source: this.#parts.volumes.mountpoint(mount.Name as string) };
  }

  /** The image that a mount shows, with a snapshot of its own. It is one of the machine: nothing is pulled for it. */
  #imagePoint(
    mount: WantedMount,
    containerId: string,
    index: number,
    mapping: IdMapping | undefined,
  ): { point: StoredMountPoint; image: Image } {
    const spec = mount.Spec as MountSpec;
    const { images } = this.#parts;
    const image = images.images.resolve(spec.Source as string);
    const ID = imageMountId(containerId, index);
    const Source = images.snapshots.mergedPath(ID, mapping !== undefined);
    return { point: { ...this.#pointOf(mount), ID, Source, Spec: { ...spec, Source: image.id } }, image };
  }

  async #makeVolume(mount: WantedMount, made: string[]): Promise<void> {
    const name = mount.Name as string;
    if (mount.Type !== "volume" || this.#parts.volumes.find(name) !== undefined) return;
    const labels = mount.isAnonymous === true ? { [anonymousLabel]: "", ...mount.volumeLabels } : mount.volumeLabels;
    const { created } = await this.#parts.volumes.ensure({
      Name: name,
      ...(mount.volumeDriver ? { Driver: mount.volumeDriver } : mount.Driver ? { Driver: mount.Driver } : {}),
      ...(labels === undefined ? {} : { Labels: labels }),
      ...(mount.volumeOptions ? { DriverOpts: mount.volumeOptions } : {}),
    });
    if (!created) return;
    made.push(name);
    this.#parts.events.emit("volume", "create", name, { driver: "local" });
  }

  /** docker fills an empty volume with what the image has at its place. */
  async #fill(container: Container, point: StoredMountPoint, rootfs: string): Promise<void> {
    const { volumes } = this.#parts;
    const name = point.Name as string;
    await volumes.acquire(name, container.id);
    try {
      await volumes.copyUp(name, resolveInRoot(rootfs, point.Destination));
    } finally {
      await volumes.release(name, container.id);
    }
  }
}

const builtinNetworks = ["bridge", "host", "none"];

const emptyHostConfig: HostConfig = {
  Binds: null,
  ContainerIDFile: "",
  LogConfig: { Type: "json-file", Config: {} },
  NetworkMode: "bridge",
  PortBindings: {},
  RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
  AutoRemove: false,
  VolumeDriver: "",
  VolumesFrom: null,
  ConsoleSize: [0, 0],
  CapAdd: null,
  CapDrop: null,
  CgroupnsMode: "",
  Dns: [],
  DnsOptions: [],
  DnsSearch: [],
  ExtraHosts: null,
  GroupAdd: null,
  IpcMode: "",
  Cgroup: "",
  Links: null,
  OomScoreAdj: 0,
  PidMode: "",
  Privileged: false,
  PublishAllPorts: false,
  ReadonlyRootfs: false,
  SecurityOpt: null,
  UTSMode: "",
  UsernsMode: "",
  ShmSize: 0,
  Runtime: "runc",
  Isolation: "",
  CpuShares: 0,
  Memory: 0,
  NanoCpus: 0,
  CgroupParent: "",
  BlkioWeight: 0,
  BlkioWeightDevice: [],
  BlkioDeviceReadBps: [],
  BlkioDeviceWriteBps: [],
  BlkioDeviceReadIOps: [],
  BlkioDeviceWriteIOps: [],
  CpuPeriod: 0,
  CpuQuota: 0,
  CpuRealtimePeriod: 0,
  CpuRealtimeRuntime: 0,
  CpusetCpus: "",
  CpusetMems: "",
  Devices: [],
  DeviceCgroupRules: null,
  DeviceRequests: null,
  MemoryReservation: 0,
  MemorySwap: 0,
  MemorySwappiness: null,
  OomKillDisable: null,
  PidsLimit: null,
  Ulimits: [],
  CpuCount: 0,
  CpuPercent: 0,
  IOMaximumIOps: 0,
  IOMaximumBandwidth: 0,
};

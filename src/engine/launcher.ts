import { readdirSync, statSync } from "node:fs";
import { chown, mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { ContainerRuntimePort, NamespacePlan } from "#api/container-runtime.ts";
import type { HostConfig } from "#api/docker/container-types.ts";
import { errorMessage, GantryError } from "#base/errors.ts";
import { type IdMapping, isSameMapping, mappedRoot } from "#base/id-mapping.ts";
import { expectCgroupMove } from "#host/cgroup-moves.ts";
import { mount, unmount } from "#host/mount.ts";
import { unpinNamespace } from "#host/user-namespace.ts";
import type { ImageService } from "#image/image-service.ts";
import type { VolumeStore } from "#volume/volume-store.ts";
import { appArmorProfile } from "./apparmor.ts";
import type { Container, StoredMountPoint } from "./container.ts";
import type { ContainerNetwork } from "./container-network.ts";
import type { ContainerStore } from "./container-store.ts";
import type { EngineDefaults } from "./engine-options.ts";
import type { EventLog } from "./event-log.ts";
import { launchPlan } from "./launch-plan.ts";
import { runningLinks } from "./container-links.ts";
import { linkEnvironment } from "./link-environment.ts";
import { openingLogPlan } from "./log-plan.ts";
import type { MountSources } from "./mount-sources.ts";

export interface LauncherOptions {
  /** User namespaces are pinned below, in `userns`. */
  runDir: string;
  cgroupParent: string;
  defaults: EngineDefaults;
}

/** What a pod's sandbox gives to its containers. */
export interface SandboxJoin {
  netnsPath: string | undefined;
  namespaces: Omit<NamespacePlan, "network">;
  shmPath: string | undefined;
}

export interface LauncherParts {
  store: ContainerStore;
  runtime: ContainerRuntimePort;
  images: ImageService;
  volumes: VolumeStore;
  network: ContainerNetwork;
  sources: MountSources;
  events: EventLog;
  /** The sandbox of a pod container; throws when it is not there. */
  sandbox: (sandboxId: string) => SandboxJoin;
}

/** Where a user namespace is, and who makes it: with a mapping, the one that needs a namespace in it first. */
interface UserNamespaceChoice {
  owner: { path: string; mapping?: IdMapping };
  plan: NonNullable<NamespacePlan["user"]>;
}

const mebibyte = 1024 * 1024;
const noMapping: IdMapping = { uids: [], gids: [] };

const namespaceOf = (container: Container): string => `/proc/${container.state.Pid}/ns/user`;

function isSameNamespace(left: string, right: string): boolean {
  const [one, other] = [left, right].map((path) => statSync(path, { throwIfNoEntry: false }));
  return one !== undefined && other !== undefined && one.ino === other.ino;
}

/** Puts a container's process into its surroundings, and takes these away again. Knows nothing of states. */
export class Launcher {
  readonly #options: LauncherOptions;
  readonly #parts: LauncherParts;
  /** Containers that hold their volumes: whoever starts takes them, whoever ends gives them back, once. */
  readonly #withVolumes = new Set<string>();

  constructor(options: LauncherOptions, parts: LauncherParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** Where a container's root is mounted. */
  rootfs(container: Container): string {
    return this.#parts.images.snapshots.mergedPath(container.id, container.mapping !== undefined);
  }

  /** Root, volumes, namespaces, interface, process: all but letting it go. A failure leaves that to `takeDown`. */
  async bringUp(container: Container): Promise<{ pid: number }> {
    const { images, network, runtime, sources } = this.#parts;
    expectCgroupMove();
    const { record, hostConfig } = container;
    const sandboxId = record.Gantry.pod?.sandboxId;
    const snapshot = await images.snapshots.get(container.id);
    if (snapshot === undefined) throw new GantryError("internal", `the root file system of ${container.id} is missing`);
    refuseDeviceRequests(hostConfig);
    const log = openingLogPlan(container, this.#options.defaults);
    const { OpenStdin, StdinOnce, Tty } = record.Config;
    runtime.expect({
      id: container.id,
      log,
      tty: Tty === true,
      openStdin: OpenStdin === true,
      stdinOnce: StdinOnce === true,
    });
    const rootfs = await images.snapshots.mount(snapshot, { passing: hostConfig.AutoRemove === true });
    for (const point of Object.values(record.MountPoints)) if (point.Type === "bind") await makeBindSource(point);
    await this.#takeVolumes(container);
    const join = sandboxId === undefined ? await this.#join(container) : this.#joinSandbox(container, sandboxId);
    const shared = hostConfig.NetworkMode?.startsWith("container:")
      ? this.#parts.store.resolve(hostConfig.NetworkMode.slice("container:".length)).record
      : undefined;
    if (shared !== undefined) {
      record.HostnamePath = shared.HostnamePath;
      record.HostsPath = shared.HostsPath;
      record.ResolvConfPath = shared.ResolvConfPath;
    } else if (sandboxId === undefined) {
      await network.writeFirst(container);
      await this.#own(container, record.HostnamePath, record.HostsPath, record.ResolvConfPath);
    }
    record.AppArmorProfile = appArmorProfile(hostConfig, sandboxId !== undefined);
    const plan = launchPlan({
      container,
      rootfs,
      sources: await sources.prepare(container, join.namespaces.user?.path),
      netnsPath: join.netnsPath,
      linkEnv:
        sandboxId === undefined ? linkEnvironment(container.name, runningLinks(container, this.#parts.store)) : [],
      cgroupParent: this.#options.cgroupParent,
      namespaces: join.namespaces,
      shmPath: join.shmPath,
      log,
      defaultUlimits: this.#options.defaults.ulimits,
      defaultInit: this.#options.defaults.init && !container.isPod,
    });
    if (record.Gantry.pod !== undefined) {
      const { uid, gid, additionalGids } = plan.process;
      record.Gantry.pod.user = { uid, gid, supplementalGroups: additionalGids };
    }
    // The interface is plumbed while the runtime sets the process up: they need the same namespace, not each other.
    const [created, connected] = await Promise.allSettled([
      runtime.create(plan),
      sandboxId === undefined ? this.#connect(container, hostConfig.NetworkMode) : Promise.resolve(),
    ]);
    sources.unpin(container);
    if (connected.status === "rejected") throw connected.reason;
    if (created.status === "rejected") throw created.reason;
    // A set's iteration also meets what is added meanwhile.
    for (const attach of container.pendingAttach) {
      container.pendingAttach.delete(attach);
      await attach();
    }
    return created.value;
  }

  /** What is made for a container belongs to its root. */
  async #own({ mapping }: Container, ...paths: string[]): Promise<void> {
    if (mapping === undefined) return;
    const { uid, gid } = mappedRoot(mapping);
    await Promise.all(paths.map((path) => chown(path, uid, gid)));
  }

  async #takeVolumes(container: Container): Promise<void> {
    await this.adoptVolumes(container);
    for (const { Destination, Name, Propagation, RW } of volumePoints(container)) {
      this.#parts.events.emit("volume", "mount", Name, {
        driver: "local",
        container: container.id,
        destination: Destination,
        "read/write": String(RW),
        propagation: Propagation,
      });
    }
  }

  /** Marks the volumes of a container that lives on as used by it. */
  async adoptVolumes(container: Container): Promise<void> {
    for (const { Name } of volumePoints(container)) await this.#parts.volumes.acquire(Name, container.id);
    this.#withVolumes.add(container.id);
  }

  async #releaseVolumes(container: Container): Promise<void> {
    const { events, volumes } = this.#parts;
    const hadThem = this.#withVolumes.delete(container.id);
    for (const { Name } of volumePoints(container)) {
      await volumes.release(Name, container.id);
      if (hadThem) events.emit("volume", "unmount", Name, { driver: "local", container: container.id });
    }
  }

  #joinSandbox(container: Container, sandboxId: string): SandboxJoin {
    const sandbox = this.#parts.sandbox(sandboxId);
    const own = container.record.Gantry.pod?.pidNamespace;
    const namespaces = { ...sandbox.namespaces, cgroup: cgroupNamespace(container) };
    if (own === undefined) return { ...sandbox, namespaces };
    if (own === "own") return { ...sandbox, namespaces: { ...namespaces, pid: { kind: "new" } } };
    const target = this.#parts.store.byId(own.containerId);
    if (target === undefined || !target.isRunning || target.record.Gantry.pod?.sandboxId !== sandboxId) {
      throw new GantryError("conflict", `target container "${own.containerId}" is not running in the same pod`);
    }
    const pid = { kind: "path", path: `/proc/${target.state.Pid}/ns/pid` } as const;
    return { ...sandbox, namespaces: { ...namespaces, pid } };
  }

  async #connect(container: Container, mode: string | undefined): Promise<void> {
    const { network } = this.#parts;
    try {
      await network.connectAll(container);
    } catch (error) {
      if (!(error instanceof GantryError)) throw error;
      throw new GantryError(error.code, `failed to set up container networking: ${errorMessage(error)}`, {
        cause: error,
        data: error.data,
      });
    }
    if (mode?.startsWith("container:")) return;
    network.writeHosts(container);
  }

  /** The namespaces of a docker container, by its modes. */
  async #join(container: Container): Promise<SandboxJoin> {
    const { hostConfig } = container;
    const user = this.#userNamespace(container);
    const { path } = await this.#parts.network.prepare(container, user?.owner);
    const of = (mode: string, what: string): { kind: "path"; path: string; id: string } => {
      const other = this.#parts.store.resolve(mode.slice("container:".length));
      if (!other.isRunning)
        throw new GantryError(
          "conflict",
          `failed to join ${what.toUpperCase()} namespace: container ${other.id} is not running`,
        );
      if (what === "ipc" && other.hostConfig.IpcMode !== "shareable") {
        throw new GantryError(
          "invalid",
          `can't join IPC of container ${other.id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
        );
      }
      return { kind: "path", path: `/proc/${other.state.Pid}/ns/${what}`, id: other.id };
    };
    const pid = hostConfig.PidMode ?? "";
    const ipc = hostConfig.IpcMode ?? "";
    const ipcOther = ipc.startsWith("container:") ? of(ipc, "ipc") : undefined;
    let shmPath: string | undefined;
    if (ipc === "host") shmPath = "/dev/shm";
    else if (ipcOther !== undefined) shmPath = this.#shmPath(ipcOther.id);
    else if (ipc === "shareable") shmPath = await this.#makeShm(container);
    return {
      netnsPath: path,
      shmPath,
      namespaces: {
        pid: pid === "host" ? { kind: "host" } : pid.startsWith("container:") ? of(pid, "pid") : { kind: "new" },
        ipc: ipc === "host" ? { kind: "host" } : (ipcOther ?? { kind: "new" }),
        uts: hostConfig.UTSMode === "host" ? { kind: "host" } : { kind: "new" },
        cgroup: cgroupNamespace(container),
        ...(user === undefined ? {} : { user: user.plan }),
      },
    };
  }

  #userNamespacePath(id: string): string {
    return join(this.#options.runDir, "userns", id);
  }

  /**
   * A user namespace of its own, which is yet to be made, or that of the container whose namespaces it joins: they
   * belong to it. Throws `conflict` where that one's ids are others. One in the machine's may join any.
   */
  #userNamespace(container: Container): UserNamespaceChoice | undefined {
    const { hostConfig, mapping } = container;
    if (mapping === undefined) return undefined;
    const modes = [hostConfig.NetworkMode, hostConfig.IpcMode, hostConfig.PidMode].map((mode) => mode ?? "");
    const joined = modes.filter((mode) => mode.startsWith("container:"));
    const others = joined.map((mode) => this.#parts.store.resolve(mode.slice("container:".length)));
    for (const other of others) {
      if (isSameMapping(mapping, other.mapping ?? noMapping)) continue;
      throw new GantryError(
        "conflict",
        `cannot join the namespaces of container ${other.id}: it runs in another user namespace. Give both containers the same --userns.`,
      );
    }
    const [first] = others;
    if (first === undefined) {
      const path = this.#userNamespacePath(container.id);
      return { owner: { path, mapping }, plan: { path, mapping } };
    }
    const path = namespaceOf(first);
    if (others.some((other) => namespaceOf(other) !== path && !isSameNamespace(namespaceOf(other), path)))
      throw new GantryError(
        "conflict",
        "cannot join the namespaces of several containers: each has its own user namespace",
      );
    return { owner: { path }, plan: { path, mapping } };
  }

  #shmPath(id: string): string {
    return join(this.#parts.store.folder(id), "mounts", "shm");
  }

  async #makeShm(container: Container): Promise<string> {
    const path = this.#shmPath(container.id);
    await mkdir(path, { recursive: true });
    while (unmount(path)) continue;
    const size = container.hostConfig.ShmSize || 64 * mebibyte;
    mount({ source: "shm", target: path, type: "tmpfs", flags: 2 | 4 | 8, data: `mode=1777,size=${size}` });
    await this.#own(container, path);
    return path;
  }

  /**
   * The part of `takeDown` that others may want at once: addresses, ports, what is mounted in the record's folder.
   * For a docker container that has ended for good.
   */
  async letGo(container: Container): Promise<void> {
    for (const exec of container.execs.values()) exec.containerEnded();
    await this.#parts.network.release(container);
    if (container.mapping !== undefined) unpinNamespace(this.#userNamespacePath(container.id));
    if (container.hostConfig.IpcMode === "shareable") while (unmount(this.#shmPath(container.id))) continue;
  }

  /** Removes what an earlier process left of containers that do not run. */
  removeStrays(isLiving: (id: string) => boolean): void {
    const folder = join(this.#options.runDir, "userns");
    for (const id of readdirSync(folder)) if (!isLiving(id)) unpinNamespace(join(folder, id));
  }

  /** Takes the process's surroundings away. Safe to repeat, and for what was never there. */
  async takeDown(container: Container): Promise<void> {
    const { images, network, runtime, sources } = this.#parts;
    const isPod = container.isPod;
    for (const exec of container.execs.values()) exec.containerEnded();
    await Promise.all([runtime.delete(container.id), isPod ? undefined : network.release(container)]);
    if (!isPod && container.mapping !== undefined) unpinNamespace(this.#userNamespacePath(container.id));
    await images.snapshots.unmountLater(container.id);
    sources.release(container);
    if (container.hostConfig.IpcMode === "shareable") while (unmount(this.#shmPath(container.id))) continue;
    await this.#releaseVolumes(container);
  }
}

function cgroupNamespace({ hostConfig }: Container): NamespacePlan["cgroup"] {
  return hostConfig.CgroupnsMode === "private" ? { kind: "new" } : { kind: "host" };
}

/** `--gpus` and devices by CDI names: there is nothing that could inject them. */
function refuseDeviceRequests({ DeviceRequests: requests }: HostConfig): void {
  const cdi = (requests ?? []).filter(({ Driver }) => Driver === "cdi").flatMap(({ DeviceIDs }) => DeviceIDs ?? []);
  if (cdi.length > 0) {
    throw new GantryError("internal", `CDI device injection failed: unresolvable CDI devices ${cdi.join(", ")}`);
  }
  for (const { Capabilities, Driver } of requests ?? []) {
    const wanted = (Capabilities ?? []).map((list) => `[${list.join(" ")}]`).join(" ");
    throw new GantryError(
      "internal",
      `could not select device driver "${Driver ?? ""}" with capabilities: [${wanted}]`,
    );
  }
}

function volumePoints(container: Container): (StoredMountPoint & { Name: string })[] {
  return Object.values(container.record.MountPoints).flatMap((point) =>
    point.Type === "volume" && point.Name !== undefined ? [{ ...point, Name: point.Name }] : [],
  );
}

async function makeBindSource(point: { Source: string; Spec?: unknown }): Promise<void> {
  if (point.Spec !== undefined) return;
  await mkdir(point.Source, { recursive: true, mode: 0o755 }).catch((error: NodeJS.ErrnoException) => {
    // A file, a socket or a device is a good source, too.
    if (error.code !== "EEXIST") {
      throw new GantryError(
        "internal",
        `error while creating mount source path '${point.Source}': mkdir ${point.Source}: ${error.code === "ENOTDIR" ? "not a directory" : error.message}`,
        { cause: error },
      );
    }
  });
}

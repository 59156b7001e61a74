import { mkdir, statfs } from "node:fs/promises";
import type { Socket } from "node:net";
import { dirname, join } from "node:path";
import type { Duplex } from "node:stream";
import type { ContainerRuntimePort } from "#api/container-runtime.ts";
import type { NetworkStats } from "#api/docker/container-types.ts";
import type {
  ContainerUsage,
  PodContainerConfig,
  PodContainerStatus,
  PodRuntime,
  RuntimeEvent,
  RuntimeImage,
  RuntimeStreams,
} from "#api/pod-runtime.ts";
import { AsyncQueue } from "#base/async-queue.ts";
import type { Clock } from "#base/clock.ts";
import { errorMessage, GantryError, hasCode } from "#base/errors.ts";
import type { IdMapping, IdRange } from "#base/id-mapping.ts";
import { KeyedLock } from "#base/keyed-lock.ts";
import { connectHere } from "#host/bound-sockets.ts";
import { inNetworkNamespace } from "#host/network-namespace.ts";
import { removeImage } from "#image/image-removal.ts";
import { removeCgroup } from "#host/cgroup.ts";
import type { ImageService } from "#image/image-service.ts";
import type { Image } from "#image/image-store.ts";
import { familiarString, parseReference, repositoryOf } from "#image/reference.ts";
import type { Container } from "./container.ts";
import { networkCounters } from "./container-stats.ts";
import type { ContainerCreator } from "./container-create.ts";
import type { ContainerStore } from "./container-store.ts";
import { statusWord } from "./container.ts";
import type { StreamSession } from "./engine.ts";
import type { EventLog } from "./event-log.ts";
import type { ExecApi } from "./exec-api.ts";
import { execPlan } from "./exec-plan.ts";
import { imageUsers, type RegistryPort } from "./images-api.ts";
import type { Launcher } from "./launcher.ts";
import type { Lifecycle } from "./lifecycle.ts";
import { createBodyOf, limitsOf, mountsOf, podCgroup, resourcesOf } from "./pod-container-config.ts";
import type { Sandboxes } from "./sandboxes.ts";
import type { SandboxRecord, SandboxStore } from "./sandbox-store.ts";
import { ProcessSession } from "./stream-session.ts";
import { parseTime } from "./timestamps.ts";
import { usageDetails } from "./usage-details.ts";

export interface PodRuntimeOptions {
  /** The engine's own cgroup, relative to each controller's root. */
  cgroupParent: string;
  version: string;
  root: string;
  /** Whose sandboxes this port shows and makes; absent for the node agent's. */
  owner?: "cri";
}

export interface PodRuntimeParts {
  containers: ContainerStore;
  creator: ContainerCreator;
  lifecycle: Lifecycle;
  launcher: Launcher;
  execs: ExecApi;
  sandboxes: Sandboxes;
  sandboxStore: SandboxStore;
  runtime: ContainerRuntimePort;
  images: ImageService;
  registry: RegistryPort;
  events: EventLog;
  clock: Clock;
}

/** Any will do to see whether the machine can. */
const probedIds: IdRange[] = [{ containerId: 0, hostId: 100_000, length: 65_536 }];
const probedMapping: IdMapping = { uids: probedIds, gids: probedIds };

/** The pod-runtime port over the engine: pods' containers are the engine's own, in a sandbox. */
export class EnginePodRuntime implements PodRuntime {
  readonly #options: PodRuntimeOptions;
  readonly #parts: PodRuntimeParts;
  readonly #locks = new KeyedLock();

  constructor(options: PodRuntimeOptions, parts: PodRuntimeParts) {
    this.#options = options;
    this.#parts = parts;
  }

  async version(): Promise<{ name: string; version: string }> {
    return { name: "gantry", version: this.#options.version };
  }

  async notReadyReason(): Promise<string | undefined> {
    return undefined;
  }

  #userNamespaces: Promise<string | undefined> | undefined;

  userNamespacesReason(): Promise<string | undefined> {
    this.#userNamespaces ??= this.#parts.images.snapshots.checkMapping(probedMapping, { tmpfs: true }).then(
      () => undefined,
      (error: unknown) => errorMessage(error),
    );
    return this.#userNamespaces;
  }

  // ---- sandboxes

  runPodSandbox: PodRuntime["runPodSandbox"] = (config) => {
    const { owner } = this.#options;
    return this.#parts.sandboxes.run(owner === undefined ? config : { ...config, owner });
  };

  /** One owner neither sees nor touches what is another's. */
  #isOwn(sandboxId: string | undefined): boolean {
    const record = sandboxId === undefined ? undefined : this.#parts.sandboxStore.get(sandboxId);
    return record?.config.owner === this.#options.owner;
  }

  async stopPodSandbox(id: string): Promise<void> {
    if (this.#parts.sandboxStore.get(id) === undefined || !this.#isOwn(id)) return;
    await Promise.all(this.#containersOf(id).map((container) => this.stopContainer(container.id, 0)));
    await this.#parts.sandboxes.stop(id);
  }

  async removePodSandbox(id: string): Promise<void> {
    if (this.#parts.sandboxStore.get(id) === undefined || !this.#isOwn(id)) return;
    await this.stopPodSandbox(id);
    await Promise.all(this.#containersOf(id).map((container) => this.removeContainer(container.id)));
    const { cgroupParent } = this.#parts.sandboxes.get(id).config;
    await this.#parts.sandboxes.remove(id);
    if (cgroupParent !== "") removeCgroup(podCgroup(this.#options.cgroupParent, cgroupParent));
  }

  updatePodSandboxResources: PodRuntime["updatePodSandboxResources"] = async (id, resources) => {
    const record = this.#sandbox(id);
    if (record.state !== "ready") throw new GantryError("conflict", `sandbox "${id}" is not running`);
    record.config = { ...record.config, resources: { ...record.config.resources, ...resources } };
    await this.#parts.sandboxStore.save(record);
  };

  podSandboxStatus: PodRuntime["podSandboxStatus"] = async (id) => this.#parts.sandboxes.status(this.#sandbox(id));

  #sandbox(id: string): SandboxRecord {
    const record = this.#parts.sandboxes.get(id);
    if (!this.#isOwn(id)) throw new GantryError("not-found", `sandbox "${id}" not found`);
    return record;
  }

  listPodSandboxes: PodRuntime["listPodSandboxes"] = async () =>
    this.#parts.sandboxStore
      .all()
      .filter((record) => record.config.owner === this.#options.owner)
      .map((record) => this.#parts.sandboxes.status(record));

  #containersOf(sandboxId: string): Container[] {
    return this.#parts.containers.all().filter((container) => container.record.Gantry.pod?.sandboxId === sandboxId);
  }

  // ---- containers

  #container(id: string): Container {
    const container = this.#parts.containers.byId(id);
    if (container === undefined || !this.#isOwnContainer(container))
      throw new GantryError("not-found", `container "${id}" not found`);
    return container;
  }

  async createContainer(sandboxId: string, config: PodContainerConfig): Promise<string> {
    const { sandboxes, creator, images } = this.#parts;
    this.#sandbox(sandboxId);
    const { name, attempt } = config.metadata;
    return this.#locks.run(`${sandboxId}/${name}/${attempt}`, async () => {
      const known = this.#containersOf(sandboxId).find(
        ({ record }) => record.Gantry.pod?.name === name && record.Gantry.pod.attempt === attempt,
      );
      if (known !== undefined) return known.id;
      const sandbox = sandboxes.get(sandboxId);
      const image = images.images.resolve(config.imageId || config.image);
      const logPath = config.logPath === "" ? "" : join(sandbox.config.logDirectory, config.logPath);
      if (logPath !== "") await mkdir(dirname(logPath), { recursive: true });
      const pod = sandbox.config.metadata;
      const idMapped = config.mounts.filter((mount) => mount.idMapped === true).map((mount) => mount.containerPath);
      const { userNamespace } = sandbox.config;
      if (idMapped.length > 0 && userNamespace === undefined)
        throw new GantryError(
          "invalid",
          `the mount at "${idMapped[0]}" is ID-mapped, but its pod has no user namespace`,
        );
      const body = createBodyOf(config, sandbox, image, this.#options.cgroupParent);
      const { container } = await creator.create(
        `k8s_${name}_${pod.name}_${pod.namespace}_${pod.uid}_${attempt}`,
        body,
        {
          mapping: userNamespace,
          pod: {
            sandboxId,
            logPath,
            attempt,
            name,
            image: config.image,
            labels: config.labels,
            annotations: config.annotations,
            ...(config.security.supplementalGroupsPolicy === "strict" ? { strictGroups: true } : {}),
            ...(idMapped.length === 0 ? {} : { idMappedMounts: idMapped }),
            ...(config.security.pidNamespace === undefined ? {} : { pidNamespace: config.security.pidNamespace }),
          },
        },
      );
      const files = sandboxes.files(sandboxId);
      const has = (target: string): boolean => config.mounts.some((mount) => mount.containerPath === target);
      container.record.HostsPath = has("/etc/hosts") ? "" : files.hosts;
      container.record.HostnamePath = files.hostname;
      container.record.ResolvConfPath = files.resolvConf;
      await this.#parts.containers.save(container);
      return container.id;
    });
  }

  async startContainer(id: string): Promise<void> {
    try {
      await this.#parts.lifecycle.start(this.#container(id));
    } catch (error) {
      if (!hasCode(error, "not-modified")) throw error;
    }
  }

  async stopContainer(id: string, timeoutSeconds: number): Promise<void> {
    const container = this.#parts.containers.byId(id);
    if (container === undefined || !container.state.Running || !this.#isOwnContainer(container)) return;
    try {
      await this.#parts.lifecycle.stop(container, { timeout: Math.max(timeoutSeconds, 0) });
    } catch (error) {
      if (!hasCode(error, "not-modified")) throw error;
    }
  }

  async removeContainer(id: string): Promise<void> {
    const container = this.#parts.containers.byId(id);
    if (container === undefined || container.isRemoving || !this.#isOwnContainer(container)) return;
    await this.#parts.lifecycle.remove(container, { force: true, volumes: true });
  }

  #isOwnContainer(container: Container): boolean {
    return container.isPod && this.#isOwn(container.record.Gantry.pod?.sandboxId);
  }

  async containerStatus(id: string): Promise<PodContainerStatus> {
    return this.#status(this.#container(id));
  }

  async listContainers(): Promise<PodContainerStatus[]> {
    return this.#parts.containers
      .all()
      .filter((container) => this.#isOwnContainer(container) && container.record.Gantry.phase === "ready")
      .map((container) => this.#status(container));
  }

  #status(container: Container): PodContainerStatus {
    const { record, state } = container;
    const pod = record.Gantry.pod as NonNullable<typeof record.Gantry.pod>;
    const word = statusWord(state);
    const isFailedStart = word === "created" && state.Error !== "";
    const isExited = word === "exited" || isFailedStart || word === "dead";
    const image = this.#parts.images.images.byId(record.Image);
    const created = parseTime(record.Created);
    return {
      id: container.id,
      sandboxId: pod.sandboxId,
      metadata: { name: pod.name, attempt: pod.attempt },
      state: isExited ? "exited" : word === "created" ? "created" : state.Running ? "running" : "unknown",
      createdAt: created,
      startedAt: parseTime(state.StartedAt),
      finishedAt: isFailedStart ? created : parseTime(state.FinishedAt),
      exitCode: state.ExitCode,
      reason: !isExited
        ? ""
        : state.OOMKilled
          ? "OOMKilled"
          : state.Error !== ""
            ? "ContainerCannotRun"
            : state.ExitCode === 0
              ? "Completed"
              : "Error",
      message: state.Error,
      image: pod.image,
      imageId: record.Image,
      imageRef: image?.digests[0] ?? record.Image,
      labels: pod.labels,
      annotations: pod.annotations,
      logPath: record.LogPath,
      pid: state.Pid,
      mounts: mountsOf(container.hostConfig.Mounts ?? []),
      resources: limitsOf(container.hostConfig),
      ...(pod.user === undefined ? {} : { user: pod.user }),
    };
  }

  updateContainerResources: PodRuntime["updateContainerResources"] = async (id, resources) => {
    const { lifecycle, runtime, containers } = this.#parts;
    const container = this.#container(id);
    await lifecycle.lock.run(id, async () => {
      const next = { ...container.hostConfig, ...resourcesOf(resources) };
      if (container.isRunning) await runtime.update(id, next);
      container.hostConfig = next;
      await containers.saveHostConfig(container);
    });
  };

  reopenContainerLog: PodRuntime["reopenContainerLog"] = async (id) => {
    const container = this.#container(id);
    if (container.isRunning && container.record.LogPath !== "") await this.#parts.runtime.reopenLog(id);
  };

  // ---- exec, attach, port-forward

  async execSync(
    id: string,
    command: string[],
    timeoutSeconds: number,
  ): Promise<{ exitCode: number; stdout: Uint8Array; stderr: Uint8Array }> {
    const container = this.#running(id);
    const plan = execPlan(container, this.#parts.launcher.rootfs(container), { Cmd: command });
    const timeoutMs = timeoutSeconds > 0 ? timeoutSeconds * 1000 : 2 ** 31 - 1;
    const { code, stdout, stderr } = await this.#parts.runtime.execSync(id, plan, { timeoutMs });
    return { exitCode: code, stdout, stderr };
  }

  #running(id: string): Container {
    const container = this.#container(id);
    if (!container.isRunning) throw new GantryError("conflict", `container "${id}" is not running`);
    return container;
  }

  async exec(id: string, command: string[], tty: boolean, streams: RuntimeStreams): Promise<number> {
    const { execs } = this.#parts;
    const container = this.#running(id);
    const execId = execs.create(container, {
      Cmd: command,
      Tty: tty,
      AttachStdin: streams.stdin !== undefined,
      AttachStdout: true,
      AttachStderr: true,
      // Kubernetes has no keys to detach: none that anybody types.
      DetachKeys: "ctrl-@,ctrl-@,ctrl-@,ctrl-@",
    });
    const session = (await execs.start(execId, { detach: false })) as StreamSession;
    await this.#carry(session, streams, (size) => execs.resize(execId, size));
    const { ExitCode, Running } = execs.inspect(execId);
    if (Running) throw new GantryError("cancelled", "the client went away");
    return ExitCode ?? 137;
  }

  attach: PodRuntime["attach"] = async (id, tty, streams) => {
    const container = this.#running(id);
    const { runtime } = this.#parts;
    const stdin = streams.stdin !== undefined && container.record.Config.OpenStdin === true;
    const session = new ProcessSession({ tty, stdin, stdout: true, stderr: true, detachKeys: undefined });
    await session.connect(await runtime.attach(id, { stdin, stdout: true, stderr: true }));
    await this.#carry(session, streams, (size) => runtime.resize(id, size));
  };

  /** Carries a session's streams until its output ends or the signal aborts. */
  async #carry(
    session: StreamSession,
    streams: RuntimeStreams,
    resize: (size: { height: number; width: number }) => Promise<void>,
  ): Promise<void> {
    const close = (): void => session.close();
    if (streams.signal.aborted) close();
    streams.signal.addEventListener("abort", close, { once: true });
    const { stdin } = streams;
    const reading =
      stdin === undefined
        ? undefined
        : (async () => {
            for await (const chunk of stdin) await session.write(chunk as Uint8Array);
            session.closeStdin();
          })();
    // Of a client that breaks off; the signal says the same.
    reading?.catch(() => {});
    const sizes = streams.resize;
    const resizing =
      sizes === undefined
        ? undefined
        : (async () => {
            for await (const size of sizes) await resize(size).catch(() => {});
          })();
    resizing?.catch(() => {});
    try {
      for await (const { stream, data } of session.output) {
        await (stream === "stderr" && !session.tty ? streams.stderr : streams.stdout)?.(data);
      }
    } finally {
      streams.signal.removeEventListener("abort", close);
      session.close();
    }
  }

  async portForward(sandboxId: string, port: number, signal: AbortSignal): Promise<Duplex> {
    const { sandboxes } = this.#parts;
    const record = this.#sandbox(sandboxId);
    if (record.state !== "ready") throw new GantryError("conflict", `sandbox "${sandboxId}" is not running`);
    const path = sandboxes.netnsPath(record);
    const open = (): Socket => connectHere("127.0.0.1", port);
    const socket = path === "" ? open() : inNetworkNamespace(path, open);
    const onAbort = (): void => void socket.destroy();
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("close", () => signal.removeEventListener("abort", onAbort));
    return new Promise((resolve, reject) => {
      socket.once("connect", () => resolve(socket));
      socket.once("error", (error) => {
        reject(
          new GantryError(
            "unavailable",
            `failed to connect to localhost:${port} inside namespace "${sandboxId}": ${errorMessage(error)}`,
            { cause: error },
          ),
        );
      });
    });
  }

  // ---- images

  #runtimeImage(image: Image): RuntimeImage {
    const user = image.config.config?.User ?? "";
    const name = user.split(":", 1)[0] ?? "";
    return {
      id: image.id,
      repoTags: image.tags.map((tag) => familiarString(parseReference(tag))),
      repoDigests: [...image.digests],
      sizeBytes: this.#parts.images.images.size(image),
      ...(/^\d+$/.test(name) ? { uid: Number(name) } : name === "" ? {} : { username: name }),
    };
  }

  imageStatus: PodRuntime["imageStatus"] = async (name) => {
    const image = this.#parts.images.images.find(name);
    return image === undefined ? undefined : this.#runtimeImage(image);
  };

  pullImage: PodRuntime["pullImage"] = async (name, auth) => {
    const { registry, images, events } = this.#parts;
    const { identityToken, ...rest } = auth ?? {};
    await registry.pull(name, {
      progress: () => {},
      ...(auth === undefined
        ? {}
        : { auth: { ...rest, ...(identityToken === undefined ? {} : { identitytoken: identityToken }) } }),
    });
    const image = images.images.resolve(name);
    events.emit("image", "pull", name, { ...image.config.config?.Labels, name: repositoryOf(parseReference(name)) });
    return image.id;
  };

  listImages: PodRuntime["listImages"] = async () =>
    this.#parts.images.images.list().map((image) => this.#runtimeImage(image));

  removeImage: PodRuntime["removeImage"] = async (name) => {
    const { images, containers } = this.#parts;
    const id = images.images.find(name)?.id;
    if (id === undefined) return;
    await this.#locks.run(id, async () => {
      // Another call may have been quicker.
      if (images.images.byId(id) === undefined) return;
      await removeImage(images.images, id, { force: true, users: imageUsers(containers) });
    });
  };

  imageFsInfo: PodRuntime["imageFsInfo"] = async () => {
    const fs = await statfs(this.#options.root);
    const usedBytes = this.#parts.images.layers.list().reduce((sum, layer) => sum + layer.size, 0);
    return {
      path: this.#options.root,
      usedBytes,
      capacityBytes: fs.blocks * fs.bsize,
      availableBytes: fs.bavail * fs.bsize,
      inodesUsed: fs.files - fs.ffree,
      inodes: fs.files,
      inodesFree: fs.ffree,
    };
  };

  // ---- stats, events

  async stats(containerIds?: string[]): Promise<ContainerUsage[]> {
    const { containers, runtime, images, clock } = this.#parts;
    const wanted = containerIds === undefined ? undefined : new Set(containerIds);
    const running = containers
      .all()
      .filter(
        (container) => this.#isOwnContainer(container) && container.isRunning && (wanted?.has(container.id) ?? true),
      );
    const readings = await Promise.all(
      running.map(async (container): Promise<ContainerUsage | undefined> => {
        try {
          const reading = await runtime.read(container.id);
          const { cpu, memory } = reading;
          const inactive = memory.stats["total_inactive_file"] ?? memory.stats["inactive_file"] ?? 0;
          return {
            containerId: container.id,
            timestamp: clock.now(),
            cpuNanoseconds: cpu.total,
            memoryWorkingSetBytes: Math.max(memory.usage - inactive, 0),
            memoryUsageBytes: memory.usage,
            rssBytes: memory.stats["total_rss"] ?? memory.stats["anon"] ?? memory.stats["rss"] ?? 0,
            writableLayerBytes: await images.snapshots.usage(container.id),
            details: usageDetails(reading, this.#interfaces(container)),
          };
        } catch {
          // It has ended since.
          return undefined;
        }
      }),
    );
    return readings.filter((reading) => reading !== undefined);
  }

  /** A pod of the machine's network has no counters of its own. */
  #interfaces(container: Container): Record<string, NetworkStats> {
    const record = this.#parts.sandboxStore.get(container.record.Gantry.pod?.sandboxId ?? "");
    return record === undefined || record.config.hostNetwork ? {} : networkCounters(container.state.Pid);
  }

  async *events(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    const queue = new AsyncQueue<RuntimeEvent>();
    const types: Record<string, RuntimeEvent["type"]> = {
      create: "container-created",
      start: "container-started",
      die: "container-exited",
      destroy: "container-removed",
      oom: "container-oom",
    };
    const sandboxOf = new Map<string, string>();
    const off = this.#parts.events.on(({ Type, Action, Actor }) => {
      const type = types[Action];
      if (Type !== "container" || type === undefined) return;
      const sandboxId = this.#parts.containers.byId(Actor.ID)?.record.Gantry.pod?.sandboxId ?? sandboxOf.get(Actor.ID);
      if (sandboxId === undefined || !this.#isOwn(sandboxId)) return;
      if (type === "container-removed") sandboxOf.delete(Actor.ID);
      else sandboxOf.set(Actor.ID, sandboxId);
      queue.push({ type, sandboxId, containerId: Actor.ID });
    });
    const end = (): void => queue.end();
    if (signal.aborted) end();
    signal.addEventListener("abort", end, { once: true });
    try {
      yield* queue;
    } finally {
      off();
      signal.removeEventListener("abort", end);
    }
  }
}

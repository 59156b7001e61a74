import { readdirSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { release } from "node:os";
import { join } from "node:path";
import type { ContainerRuntimePort } from "#api/container-runtime.ts";
import { type Clock, systemClock } from "#base/clock.ts";
import { errorMessage } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { mappedRoot } from "#base/id-mapping.ts";
import { TaskGroup } from "#base/task-group.ts";
import { removeNetworkNamespace } from "#host/network-namespace.ts";
import type { ImageService } from "#image/image-service.ts";
import type { Networking } from "#network/networking.ts";
import { VolumeStore } from "#volume/volume-store.ts";
import type { Container } from "./container.ts";
import { ContainerCreator } from "./container-create.ts";
import { ContainerFiles } from "./container-files.ts";
import { ContainerNetwork } from "./container-network.ts";
import { ContainerStore } from "./container-store.ts";
import { createContainersApi } from "./containers-api.ts";
import type { Engine } from "./engine.ts";
import { type EngineDefaults, engineDefaults, type EngineOptions } from "./engine-options.ts";
import { EventLog } from "./event-log.ts";
import { ExecApi } from "./exec-api.ts";
import { createImagesApi, type RegistryPort } from "./images-api.ts";
import { Launcher } from "./launcher.ts";
import { Lifecycle } from "./lifecycle.ts";
import { imageMounts, MountSources } from "./mount-sources.ts";
import { createNetworksApi } from "./networks-api.ts";
import { EnginePodRuntime } from "./pod-runtime.ts";
import { publishRequests } from "./port-spec.ts";
import { Sandboxes } from "./sandboxes.ts";
import { SandboxStore } from "./sandbox-store.ts";
import { diskUsage, systemInfo } from "./system-info.ts";
import { createVolumesApi, volumeUsers } from "./volumes-api.ts";

export interface EngineParts {
  log: Logger;
  clock?: Clock;
  /** Not yet started: the engine starts it. */
  images: ImageService;
  /** Initialised. */
  runtime: ContainerRuntimePort;
  /** Not yet recovered: only the engine knows what is alive. */
  networking: Networking;
  registry: RegistryPort;
}

/** Joins images, containers, networks and volumes into the engine. Nothing happens before `start`. */
export function createEngine(options: EngineOptions, parts: EngineParts): Engine {
  const { log, images, runtime, networking, registry } = parts;
  const clock = parts.clock ?? systemClock;
  const defaults: EngineDefaults = options.defaults ?? { ...engineDefaults };
  const tasks = new TaskGroup({ name: "engine", log, clock });
  const events = new EventLog(clock);
  const store = new ContainerStore(join(options.root, "containers"), log);
  const sandboxStore = new SandboxStore(join(options.root, "sandboxes"), log);
  const volumes = new VolumeStore({
    root: join(options.root, "volumes"),
    users: volumeUsers(store),
    now: () => clock.now(),
    ...(options.remap === undefined ? {} : { owner: mappedRoot(options.remap) }),
  });
  const { networks } = networking;
  const network = new ContainerNetwork({ runDir: options.runDir, dns: defaults.dns }, { networks, store });
  const sandboxes = new Sandboxes(
    { runDir: options.runDir },
    { store: sandboxStore, network: networking.pods, clock, log },
  );
  const sources = new MountSources(join(options.runDir, "mount-sources"), images.snapshots);
  const launcher = new Launcher(
    { cgroupParent: options.cgroupParent, runDir: options.runDir, defaults },
    { store, runtime, images, volumes, network, sources, events, sandbox: (id) => sandboxes.join(id) },
  );
  const lifecycle = new Lifecycle({ log, clock, tasks, store, runtime, images, volumes, events, launcher });
  const { remap } = options;
  const creator = new ContainerCreator({ store, images, volumes, networks, events, lifecycle, clock, defaults, remap });
  const files = new ContainerFiles({ images, volumes, lifecycle, launcher, sources, events, clock });
  const execs = new ExecApi({ store, lifecycle, launcher, runtime, clock, tasks });
  const system = { store, images, volumes, runtime, clock };
  const containers = createContainersApi({
    store,
    creator,
    lifecycle,
    files,
    execs,
    network,
    networks,
    runtime,
    images,
    volumes,
    events,
    clock,
    tasks,
    defaults,
  });
  const podRuntime = (owner: "cri" | undefined): EnginePodRuntime =>
    new EnginePodRuntime(
      {
        version: options.version,
        root: options.root,
        cgroupParent: options.cgroupParent,
        ...(owner === undefined ? {} : { owner }),
      },
      {
        containers: store,
        creator,
        lifecycle,
        launcher,
        execs,
        sandboxes,
        sandboxStore,
        runtime,
        images,
        registry,
        events,
        clock,
      },
    );
  const pods = podRuntime(undefined);
  const criPods = podRuntime("cri");

  networks.onEvent(({ action, networkId, networkName, driver, containerId }) => {
    events.emit("network", action, networkId, {
      ...(containerId === undefined ? {} : { container: containerId }),
      name: networkName,
      type: driver,
    });
  });
  images.images.onChange(({ action, id, reference }) => {
    const labels = images.images.byId(id)?.config.config?.Labels ?? {};
    events.emit("image", action, id, { ...labels, name: action === "untag" ? id : (reference ?? id) });
  });

  async function start(): Promise<void> {
    await mkdir(options.root, { recursive: true, mode: 0o711 });
    for (const name of ["netns", "userns"]) await mkdir(join(options.runDir, name), { recursive: true, mode: 0o711 });
    sources.start();
    await Promise.all([images.start(), volumes.start(), store.load(), sandboxStore.load()]);
    if (remap !== undefined) await images.snapshots.checkMapping(remap);
    await sandboxes.recover();
    const living = new Set<Container>();
    await Promise.all(
      store.all().map(async (container) => {
        if (container.record.Gantry.phase === "ready" && (await lifecycle.inspectAtStart(container)))
          living.add(container);
      }),
    );
    const report = await networking.recover({
      endpoints: [...living].flatMap((container) => container.record.Gantry.endpoints),
      pods: sandboxStore
        .all()
        .flatMap(({ endpoint, state }) => (endpoint === undefined || state !== "ready" ? [] : [endpoint])),
    });
    if (report.lostEndpoints.length + report.lostPorts.length + report.removedLinks.length > 0) {
      log.warn("Not all of the network was as it had been.", { ...report });
    }
    for (const container of living) {
      await launcher.adoptVolumes(container);
      network.adopt(container);
      await bringPortsInForce(container);
      lifecycle.resume(container);
    }
    await removeStrays(living);
    await Promise.all(
      store
        .all()
        .filter((container) => !living.has(container))
        .map((container) =>
          lifecycle.settleAtStart(container).catch((error: unknown) => {
            log.error("A container could not be settled.", { container: container.id, error: errorMessage(error) });
          }),
        ),
    );
    await volumes.releaseUnused();
    await images.ensureHello().catch((error: unknown) => log.warn("The built-in image could not be made.", { error }));
  }

  /** The bindings in `hostconfig.json` may have been edited while nobody looked: what stands there counts. */
  async function bringPortsInForce(container: Container): Promise<void> {
    if (
      container.isPod ||
      container.hostConfig.NetworkMode === "host" ||
      container.hostConfig.NetworkMode?.startsWith("container:")
    )
      return;
    const wanted = publishRequests(container.hostConfig, container.record.Config.ExposedPorts ?? {});
    const have = networks.endpoints(container.id).flatMap((endpoint) => endpoint.ports);
    const isSame =
      wanted.every((request) =>
        have.some(
          (port) =>
            port.containerPort === request.containerPort &&
            port.protocol === request.protocol &&
            (request.hostPort === undefined ||
              (port.hostPort >= request.hostPort.from && port.hostPort <= request.hostPort.to)) &&
            (request.hostIp === "" || request.hostIp === port.hostIp),
        ),
      ) &&
      have.every((port) =>
        wanted.some((request) => port.containerPort === request.containerPort && port.protocol === request.protocol),
      );
    try {
      if (isSame) network.refresh(container);
      else await network.republish(container);
      await store.save(container);
    } catch (error) {
      log.error("A container's ports could not be published.", { container: container.id, error });
    }
  }

  /** What an earlier process left and nobody owns: runtime state, root file systems, namespaces. */
  async function removeStrays(living: ReadonlySet<Container>): Promise<void> {
    const ids = new Set([...living].map((container) => container.id));
    for (const id of await runtime.list()) if (store.byId(id) === undefined) await runtime.delete(id);
    await images.snapshots.collect(
      new Set(store.all().flatMap((container) => [container.id, ...imageMounts(container)])),
    );
    for (const container of store.all()) {
      if (ids.has(container.id)) continue;
      images.snapshots.unmount(container.id);
      sources.release(container);
    }
    for (const name of readdirSync(join(options.runDir, "netns"))) {
      if (!ids.has(name)) removeNetworkNamespace(join(options.runDir, "netns", name));
    }
    launcher.removeStrays((id) => ids.has(id));
  }

  return {
    containers,
    images: createImagesApi({ images, store, events, clock, registry }),
    networks: createNetworksApi({ networks, network, store, lifecycle, clock, events }),
    volumes: createVolumesApi({ volumes, events }),
    pods,
    criPods,
    start,
    async stop() {
      await tasks.stop();
      networking.close();
      await images.stop();
    },
    async shutdownContainers(timeoutSeconds, { pods: withPods = true } = {}) {
      const all = store.all().filter((container) => container.state.Running && (withPods || !container.isPod));
      await Promise.all(
        all.map(async (container) => {
          const { HasBeenManuallyStopped } = container.record;
          try {
            await lifecycle.stop(container, { timeout: timeoutSeconds });
          } catch (error) {
            log.warn("A container could not be stopped.", { container: container.id, error });
          }
          // It was the machine that stopped, not the user: `unless-stopped` comes back.
          if (store.byId(container.id) === undefined) return;
          container.record.HasBeenManuallyStopped = HasBeenManuallyStopped;
          await store.save(container, { durable: true });
        }),
      );
      if (withPods) {
        const ports = [pods, criPods];
        await Promise.all(
          sandboxStore.all().flatMap((sandbox) => ports.map((port) => port.stopPodSandbox(sandbox.id))),
        );
      }
    },
    events: (eventOptions) => events.subscribe(eventOptions),
    emitEvent: ({ Type, Action, Actor }) => events.emit(Type, Action, Actor.ID, Actor.Attributes),
    info: () => systemInfo(options, defaults, system),
    async version() {
      const facts = await runtime.facts();
      return {
        kernelVersion: release(),
        os: "linux",
        arch: process.arch === "arm64" ? "arm64" : "amd64",
        components: [
          { Name: facts.name, Version: facts.version },
          { Name: "conmon", Version: facts.conmonVersion },
        ],
      };
    },
    diskUsage: (types) => diskUsage(types, system),
  };
}

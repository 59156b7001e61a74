import { lstatSync } from "node:fs";
import type { ContainerRuntimePort } from "#api/container-runtime.ts";
import type { ContainerUpdateBody, HostConfig, Resources } from "#api/docker/container-types.ts";
import type { Clock } from "#base/clock.ts";
import { errorMessage, GantryError, hasCode } from "#base/errors.ts";
import type { TaskGroup } from "#base/task-group.ts";
import type { ImageService } from "#image/image-service.ts";
import type { Networks } from "#network/networks.ts";
import type { VolumeStore } from "#volume/volume-store.ts";
import type { Container } from "./container.ts";
import type { ContainerCreator } from "./container-create.ts";
import type { ContainerFiles } from "./container-files.ts";
import { imageSize, listContainers } from "./container-list.ts";
import type { ContainerNetwork } from "./container-network.ts";
import { containerStats } from "./container-stats.ts";
import type { ContainerStore } from "./container-store.ts";
import { processTable } from "./container-top.ts";
import { parseLink } from "./container-links.ts";
import { inspectContainer } from "./container-view.ts";
import { validateResources, validateRestartPolicy } from "./create-validation.ts";
import { parseDetachKeys } from "./detach-keys.ts";
import type {
  AttachOptions,
  ContainersApi,
  LogsOptions,
  LogsResult,
  StreamChunk,
  StreamSession,
  WaitCondition,
  WaitResult,
} from "./engine.ts";
import type { EngineDefaults } from "./engine-options.ts";
import type { ExecApi } from "./exec-api.ts";
import { checkFilters, matchesPruneLabels, untilFilter } from "./filters.ts";
import type { Lifecycle } from "./lifecycle.ts";
import { logAttributes } from "./log-attributes.ts";
import { logPlan } from "./log-plan.ts";
import { checkName } from "./names.ts";
import { parseHostPort, parsePortKey } from "./port-spec.ts";
import { ProcessSession, replayOnly } from "./stream-session.ts";
import { parseTime } from "./timestamps.ts";
import type { EventLog } from "./event-log.ts";

export interface ContainersApiParts {
  store: ContainerStore;
  creator: ContainerCreator;
  lifecycle: Lifecycle;
  files: ContainerFiles;
  execs: ExecApi;
  network: ContainerNetwork;
  networks: Networks;
  runtime: ContainerRuntimePort;
  images: ImageService;
  volumes: VolumeStore;
  events: EventLog;
  clock: Clock;
  tasks: TaskGroup;
  defaults: EngineDefaults;
}

/** docker's container calls, by what a user types. */
export function createContainersApi(parts: ContainersApiParts): ContainersApi {
  const { store, lifecycle, files, execs, images, runtime, clock } = parts;
  const resolve = (ref: string): Container => {
    const container = store.resolve(ref);
    if (container.record.Gantry.phase === "creating") throw new GantryError("not-found", `No such container: ${ref}`);
    return container;
  };
  return {
    async create(name, body, options = {}) {
      const { container, warnings } = await parts.creator.create(name, body, options);
      return { Id: container.id, Warnings: warnings };
    },
    start: async (ref, options) => {
      parseDetachKeys(options?.detachKeys);
      await lifecycle.start(resolve(ref));
    },
    stop: async (ref, options = {}) => lifecycle.stop(resolve(ref), options),
    restart: async (ref, options = {}) => lifecycle.restart(resolve(ref), options),
    kill: async (ref, signal) => lifecycle.kill(resolve(ref), signal),
    pause: async (ref) => lifecycle.pause(resolve(ref)),
    unpause: async (ref) => lifecycle.unpause(resolve(ref)),
    wait: async (ref, condition, signal) => ({ result: waitFor(resolve(ref), condition, signal) }),
    async remove(ref, options = {}) {
      if (options.link === true) return removeLink(ref);
      await lifecycle.remove(resolve(ref), { ...options, name: ref });
    },
    rename: async (ref, newName) => rename(resolve(ref), newName, parts),
    update: async (ref, body) => update(resolve(ref), body, parts),
    async inspect(ref, options = {}) {
      const container = resolve(ref);
      const shown = inspectContainer(container, images, store);
      if (options.size !== true) return shown;
      const SizeRw = await images.snapshots.usage(container.id);
      return { ...shown, SizeRw, SizeRootFs: SizeRw + imageSize(container, images) };
    },
    list: async (options = {}) => listContainers(options, parts),
    logs: async (ref, options) => logs(resolve(ref), options, parts),
    attach: async (ref, options) => attach(resolve(ref), options, parts),
    async resize(ref, size) {
      const container = resolve(ref);
      if (!container.isRunning) throw new GantryError("conflict", `container ${container.id} is not running`);
      await runtime.resize(container.id, size);
      lifecycle.emit(container, "resize", { height: String(size.height), width: String(size.width) });
    },
    async top(ref, psArguments = "-ef") {
      const container = resolve(ref);
      if (!container.state.Running) throw new GantryError("conflict", `container ${container.id} is not running`);
      if (container.state.Restarting)
        throw new GantryError(
          "conflict",
          `Container ${container.id} is restarting, wait until the container is running`,
        );
      const table = await processTable(await runtime.processes(container.id), psArguments);
      lifecycle.emit(container, "top");
      return table;
    },
    stats: async (ref, options) => containerStats(resolve(ref), options, parts),
    archiveStat: async (ref, path) => files.stat(resolve(ref), path, ref),
    archiveOut: async (ref, path) => files.copyOut(resolve(ref), path, ref),
    archiveIn: async (ref, path, tar, options) => files.copyIn(resolve(ref), path, tar, ref, options),
    diff: async (ref) => files.diff(resolve(ref)),
    commit: async (ref, options) => files.commit(resolve(ref), options),
    export: async (ref) => files.export(resolve(ref)),
    prune: async (filters = {}) => prune(filters, parts),
    execCreate: async (ref, body) => execs.create(resolve(ref), body, ref),
    execStart: async (id, options) => execs.start(id, options),
    execInspect: async (id) => execs.inspect(id),
    execResize: async (id, size) => execs.resize(id, size),
  };

  async function removeLink(ref: string): Promise<void> {
    const [owner = "", alias = ""] = ref.replace(/^\//, "").split("/");
    if (alias === "")
      throw new GantryError("invalid", `Conflict, cannot remove the default link name of the container`);
    let container: Container;
    try {
      container = resolve(owner);
    } catch (error) {
      if (!hasCode(error, "not-found")) throw error;
      throw new GantryError("not-found", `No such container: ${ref}`, { cause: error });
    }
    const left = (container.hostConfig.Links ?? []).filter((link) => parseLink(link).alias !== alias);
    if (left.length === (container.hostConfig.Links ?? []).length) {
      throw new GantryError("not-found", `No such container: ${ref}`);
    }
    container.hostConfig.Links = left;
    await store.saveHostConfig(container);
  }

  async function waitFor(container: Container, condition: WaitCondition, signal: AbortSignal): Promise<WaitResult> {
    const result = (): WaitResult => ({ StatusCode: container.lastExit?.exitCode ?? container.state.ExitCode });
    if (condition === "not-running" && !container.state.Running) return result();
    return new Promise((resolveWait, reject) => {
      const finish = (value: WaitResult | undefined): void => {
        off();
        signal.removeEventListener("abort", onAbort);
        if (value === undefined) reject(new GantryError("cancelled", "context canceled"));
        else resolveWait(value);
      };
      const off = container.changes.on((change) => {
        // An exit before a restart is one, too: docker wakes its waiters.
        if (change === "removed" || (change === "exited" && condition !== "removed")) finish(result());
      });
      const onAbort = (): void => finish(undefined);
      if (signal.aborted) onAbort();
      else signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  async function prune(
    filters: Readonly<Record<string, readonly string[]>>,
    { images: service }: ContainersApiParts,
  ): Promise<{ deleted: string[]; spaceReclaimed: number }> {
    checkFilters(filters, ["label", "label!", "until"]);
    const until = untilFilter(filters, clock.now());
    const deleted: string[] = [];
    let spaceReclaimed = 0;
    for (const container of store.all()) {
      if (container.state.Running || container.isPod || container.record.Gantry.phase !== "ready") continue;
      if (until !== undefined && parseTime(container.record.Created) >= until) continue;
      if (!matchesPruneLabels(container.record.Config.Labels, filters)) continue;
      const size = await service.snapshots.usage(container.id);
      try {
        await lifecycle.remove(container, {});
      } catch (error) {
        if (hasCode(error, "conflict", "not-found")) continue;
        throw error;
      }
      deleted.push(container.id);
      spaceReclaimed += size;
    }
    parts.events.emit("container", "prune", "", { reclaimed: String(spaceReclaimed) });
    return { deleted, spaceReclaimed };
  }
}

async function rename(container: Container, newName: string, parts: ContainersApiParts): Promise<void> {
  const { store, lifecycle, networks, network } = parts;
  if (newName === "") throw new GantryError("invalid", "Neither old nor new names may be empty");
  let name: string;
  try {
    name = checkName(newName);
  } catch (error) {
    throw new GantryError("invalid", `Error when allocating new name: ${errorMessage(error).replace("(", "(/")}`, {
      cause: error,
    });
  }
  const old = container.name;
  if (name === old) throw new GantryError("invalid", "Renaming a container with the same name as its current name");
  await lifecycle.lock.run(container.id, async () => {
    try {
      store.reserveName(name, container.id);
    } catch (error) {
      throw new GantryError("conflict", `Error when allocating new name: ${(error as Error).message}`, {
        cause: error,
      });
    }
    store.releaseName(old, container.id);
    container.record.Name = `/${name}`;
    networks.rename(container.id, name);
    if (container.isRunning) network.refresh(container);
    await store.save(container, { durable: true });
  });
  lifecycle.emit(container, "rename", { oldName: `/${old}` });
}

const resourceKeys = [
  "CpuShares",
  "Memory",
  "NanoCpus",
  "BlkioWeight",
  "CpuPeriod",
  "CpuQuota",
  "CpuRealtimePeriod",
  "CpuRealtimeRuntime",
  "CpusetCpus",
  "CpusetMems",
  "MemoryReservation",
  "MemorySwap",
  "MemorySwappiness",
  "PidsLimit",
  "BlkioWeightDevice",
  "BlkioDeviceReadBps",
  "BlkioDeviceWriteBps",
  "BlkioDeviceReadIOps",
  "BlkioDeviceWriteIOps",
  "OomKillDisable",
] as const satisfies (keyof Resources)[];

async function update(
  container: Container,
  body: ContainerUpdateBody,
  parts: ContainersApiParts,
): Promise<{ Warnings: string[] }> {
  const { lifecycle, store, runtime, network } = parts;
  const failed = (error: unknown): never => {
    const inner = error instanceof GantryError ? error : new GantryError("internal", String(error));
    if (inner.code === "invalid") throw inner;
    throw new GantryError(inner.code, `Cannot update container ${container.id}: ${inner.message}`, { cause: error });
  };
  return lifecycle.lock.run(container.id, async () => {
    if (container.isRemoving || container.state.Dead) {
      throw new GantryError(
        "conflict",
        `Cannot update container ${container.id}: Container is marked for removal and cannot be "update".`,
      );
    }
    const host = container.hostConfig;
    const changes: Record<string, unknown> = {};
    for (const key of resourceKeys) {
      const value = body[key];
      if (
        value !== undefined &&
        value !== null &&
        value !== 0 &&
        value !== "" &&
        !(Array.isArray(value) && value.length === 0)
      )
        changes[key] = value;
    }
    // 0 and below lift the limit; only an absent field leaves it.
    if (body.PidsLimit !== undefined && body.PidsLimit !== null && body.PidsLimit <= 0) changes["PidsLimit"] = 0;
    try {
      const warnings = validateResources(changes as Resources, host);
      if (body.RestartPolicy?.Name) {
        if (host.AutoRemove === true && body.RestartPolicy.Name !== "no") {
          throw new GantryError(
            "conflict",
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
          );
        }
        validateRestartPolicy(body.RestartPolicy, false);
      }
      for (const [key, bindings] of Object.entries(body.PortBindings ?? {})) {
        parsePortKey(key);
        for (const binding of bindings ?? []) parseHostPort(binding.HostPort ?? "");
      }
      const before = { ...host };
      const next: HostConfig = { ...host, ...changes };
      if (changes["NanoCpus"] !== undefined) Object.assign(next, { CpuPeriod: 0, CpuQuota: 0 });
      else if (changes["CpuPeriod"] !== undefined || changes["CpuQuota"] !== undefined) {
        if ((host.NanoCpus ?? 0) > 0) {
          throw new GantryError(
            "conflict",
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
          );
        }
      }
      if (body.RestartPolicy?.Name)
        next.RestartPolicy = {
          Name: body.RestartPolicy.Name,
          MaximumRetryCount: body.RestartPolicy.MaximumRetryCount ?? 0,
        };
      if (body.PortBindings !== undefined && body.PortBindings !== null) next.PortBindings = body.PortBindings;
      if (container.isRunning && Object.keys(changes).length > 0) await runtime.update(container.id, { ...next });
      container.hostConfig = next;
      if (container.isRunning && body.PortBindings != null) {
        try {
          await network.republish(container);
        } catch (error) {
          container.hostConfig = { ...next, PortBindings: before.PortBindings ?? {} };
          throw error;
        }
      }
      await Promise.all([store.saveHostConfig(container), store.save(container)]);
      lifecycle.emit(container, "update");
      return { Warnings: warnings };
    } catch (error) {
      return failed(error);
    }
  });
}

function logs(container: Container, options: LogsOptions, parts: ContainersApiParts): LogsResult {
  if (!options.stdout && !options.stderr) {
    throw new GantryError("invalid", "Bad parameters: you must choose at least one stream");
  }
  const plan = logPlan(container, parts.defaults);
  if (plan.format === "none")
    throw new GantryError("unsupported", "configured logging driver does not support reading");
  const attributes = logAttributes(container);
  const isThere = lstatSync(plan.path, { throwIfNoEntry: false }) !== undefined;
  const tty = container.record.Config.Tty === true;
  if (!isThere && options.follow !== true) return { tty, attributes, entries: (async function* () {})() };
  const stop = new AbortController();
  const signal =
    options.signal === undefined
      ? AbortSignal.any([stop.signal, parts.tasks.signal])
      : AbortSignal.any([options.signal, stop.signal, parts.tasks.signal]);
  const lines = parts.runtime.readLog(plan, {
    follow: options.follow === true,
    ...(options.tail === undefined ? {} : { tail: options.tail }),
    ...(options.since === undefined ? {} : { since: options.since }),
    ...(options.until === undefined ? {} : { until: options.until }),
    ended: () => !container.state.Running,
    signal,
  });
  return {
    tty,
    attributes,
    entries: (async function* () {
      for await (const some of lines) {
        const isAll = options.stdout && options.stderr;
        const wanted = isAll
          ? some
          : some.filter(({ stream }) => (stream === "stdout" ? options.stdout : options.stderr));
        if (wanted.length > 0) yield wanted;
      }
    })(),
  };
}

async function attach(container: Container, options: AttachOptions, parts: ContainersApiParts): Promise<StreamSession> {
  const { state, record } = container;
  if (state.Paused)
    throw new GantryError("conflict", `container ${container.id} is paused, unpause the container before attach`);
  if (state.Restarting)
    throw new GantryError("conflict", `container ${container.id} is restarting, wait until the container is running`);
  const tty = record.Config.Tty === true;
  const keys = parseDetachKeys(options.detachKeys);
  const replay = options.logs ? replayed(container, options, parts) : undefined;
  parts.lifecycle.emit(container, "attach");
  if (!options.stream) return replayOnly(tty, replay ?? (async function* () {})());
  const stdin = options.stdin && record.Config.OpenStdin === true;
  const session = new ProcessSession({
    tty,
    stdin,
    stdout: options.stdout,
    stderr: options.stderr,
    detachKeys: stdin && tty ? keys : undefined,
    onDetach: () => parts.lifecycle.emit(container, "detach"),
    ...(replay === undefined ? {} : { replay }),
  });
  const connect = async (): Promise<void> => session.connect(await parts.runtime.attach(container.id, options));
  if (container.isRunning) {
    await connect();
    return session;
  }
  container.pendingAttach.add(connect);
  // A start that fails, or a removal, leaves nothing to attach to.
  const off = container.changes.on((change) => {
    off();
    const isWaiting = container.pendingAttach.delete(connect);
    if (change !== "started") session.abandon();
    else if (isWaiting) parts.tasks.run("late attach", connect);
  });
  session.onClose(() => {
    off();
    container.pendingAttach.delete(connect);
  });
  return session;
}

async function* replayed(
  container: Container,
  options: AttachOptions,
  parts: ContainersApiParts,
): AsyncGenerator<StreamChunk> {
  const { entries } = logs(container, { stdout: options.stdout || !options.stderr, stderr: options.stderr }, parts);
  for await (const some of entries) for (const { stream, data } of some) yield { stream, data };
}

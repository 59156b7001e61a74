import { rm } from "node:fs/promises";
import type { ContainerRuntimePort, ExitFacts } from "#api/container-runtime.ts";
import type { Clock } from "#base/clock.ts";
import { errorMessage, GantryError, hasCode } from "#base/errors.ts";
import { KeyedLock } from "#base/keyed-lock.ts";
import type { Logger } from "#base/log.ts";
import { parseSignal } from "#base/signal.ts";
import type { TaskGroup } from "#base/task-group.ts";
import type { ImageService } from "#image/image-service.ts";
import type { VolumeStore } from "#volume/volume-store.ts";
import { containerAttributes } from "./container-attributes.ts";
import type { Container, ContainerChange } from "./container.ts";
import type { ContainerStore } from "./container-store.ts";
import type { EventLog } from "./event-log.ts";
import { HealthMonitor } from "./health-monitor.ts";
import type { Launcher } from "./launcher.ts";
import { imageMounts } from "./mount-sources.ts";
import { isStartedAtBoot, nextRestart } from "./restart-policy.ts";
import { launchFailure } from "./start-failure.ts";
import { parseTime, rfc3339, zeroTime } from "./timestamps.ts";

export interface LifecycleParts {
  log: Logger;
  clock: Clock;
  tasks: TaskGroup;
  store: ContainerStore;
  runtime: ContainerRuntimePort;
  images: ImageService;
  volumes: VolumeStore;
  events: EventLog;
  launcher: Launcher;
}

const killWaitMs = 10_000;

/** Starts, ends and removes containers. Whatever changes one runs under its lock; waiting for its end does not. */
export class Lifecycle {
  readonly lock = new KeyedLock();
  readonly #parts: LifecycleParts;

  constructor(parts: LifecycleParts) {
    this.#parts = parts;
    const off = parts.runtime.onOom((id) => this.#outOfMemory(id));
    parts.tasks.signal.addEventListener("abort", off, { once: true });
  }

  emit(container: Container, action: string, more: Record<string, string> = {}): void {
    this.#parts.events.emit("container", action, container.id, { ...containerAttributes(container), ...more });
  }

  // ---- start

  /** Throws `not-modified` when it runs, else docker's reasons. */
  async start(container: Container): Promise<void> {
    await this.lock.run(container.id, async () => {
      const { state } = container;
      if (container.isRemoving) {
        throw new GantryError("conflict", "container is marked for removal and cannot be started");
      }
      if (state.Paused) throw new GantryError("conflict", "cannot start a paused container, try unpause instead");
      if (container.isRunning) throw new GantryError("not-modified", `container ${container.id} is already running`);
      container.cancelRestart?.();
      container.record.HasBeenManuallyStopped = false;
      container.record.RestartCount = 0;
      container.restartDelay = 0;
      await this.#launch(container, { isRestart: false });
    });
  }

  async #launch(container: Container, { isRestart }: { isRestart: boolean }): Promise<void> {
    const { record, state } = container;
    container.stopRequested = false;
    try {
      const { pid } = await this.#parts.launcher.bringUp(container);
      Object.assign(state, {
        Running: true,
        Restarting: false,
        Paused: false,
        OOMKilled: false,
        Dead: false,
        Pid: pid,
        ExitCode: 0,
        Error: "",
        StartedAt: rfc3339(this.#parts.clock.now()),
        FinishedAt: state.FinishedAt || zeroTime,
      });
      record.HasBeenStartedBefore = true;
      this.#startHealth(container, true);
      await this.#parts.store.save(container);
      this.#watch(container);
      await this.#parts.runtime.start(container.id);
    } catch (error) {
      await this.#failed(container, error, isRestart);
    }
    container.changes.emit("started");
    this.emit(container, "start");
  }

  async #failed(container: Container, error: unknown, isRestart: boolean): Promise<never> {
    const { state } = container;
    const failure = launchFailure(error, container.record.Path);
    container.health?.stop();
    container.health = undefined;
    delete state.Health;
    await this.#parts.launcher.takeDown(container).catch((cause: unknown) => {
      this.#parts.log.error("A container that could not start was not cleaned up.", {
        container: container.id,
        error: cause,
      });
    });
    Object.assign(state, {
      Running: false,
      Restarting: false,
      Pid: 0,
      ExitCode: failure.exitCode,
      Error: failure.message,
    });
    if (state.StartedAt !== zeroTime && state.FinishedAt === zeroTime)
      state.FinishedAt = rfc3339(this.#parts.clock.now());
    container.lastExit = { exitCode: failure.exitCode };
    await this.#parts.store.save(container);
    container.pendingAttach.clear();
    // A container that never ran has not ended: who waits for its next exit waits on, as with docker.
    container.changes.emit(isRestart ? "exited" : "failed");
    if (container.hostConfig.AutoRemove === true) this.#removeLater(container);
    throw failure.error;
  }

  #startHealth(container: Container, isNewStart: boolean): void {
    container.health?.stop();
    container.health = HealthMonitor.for(container, isNewStart, {
      clock: this.#parts.clock,
      tasks: this.#parts.tasks,
      runtime: this.#parts.runtime,
      rootfs: () => this.#parts.launcher.rootfs(container),
      onChange: async (status) => {
        if (status !== undefined) this.emit(container, `health_status: ${status}`);
        await this.#parts.store.save(container);
      },
      onExec: (action, more) => this.emit(container, action, more),
    });
  }

  // ---- the end of a process

  #watch(container: Container): void {
    const { runtime, tasks } = this.#parts;
    const { signal } = tasks;
    const stopped = Promise.withResolvers<undefined>();
    const onStop = (): void => stopped.resolve(undefined);
    if (signal.aborted) onStop();
    else signal.addEventListener("abort", onStop, { once: true });
    const startedAt = container.state.StartedAt;
    tasks.run(`exit of ${container.id.slice(0, 12)}`, async () => {
      const exit = await Promise.race([runtime.exited(container.id), stopped.promise]);
      signal.removeEventListener("abort", onStop);
      if (exit === undefined) return;
      await this.lock.run(container.id, async () => {
        // Another process has taken its place when a start failed half-way.
        if (container.state.StartedAt === startedAt && container.isRunning) await this.#exited(container, exit);
      });
    });
  }

  async #exited(container: Container, exit: ExitFacts): Promise<void> {
    const { clock, log, store } = this.#parts;
    const { record, state, hostConfig } = container;
    container.health?.stop();
    container.health = undefined;
    // A file's time is some milliseconds behind the clock.
    const finishedAt = Math.max(exit.finishedAt || clock.now(), parseTime(state.StartedAt));
    const ranMs = finishedAt - parseTime(state.StartedAt);
    const { launcher } = this.#parts;
    const goesAtOnce = vanishes(container);
    await (goesAtOnce ? launcher.letGo(container) : launcher.takeDown(container)).catch((error: unknown) => {
      log.error("A container that ended was not cleaned up wholly.", { container: container.id, error });
    });
    const isOom = exit.oomKilled || state.OOMKilled;
    // Killed before the start was through: nobody has told it yet.
    if (exit.oomKilled && !state.OOMKilled) this.emit(container, "oom");
    Object.assign(state, {
      Running: false,
      Paused: false,
      Restarting: false,
      Pid: 0,
      ExitCode: exit.exitCode,
      OOMKilled: isOom,
      FinishedAt: rfc3339(finishedAt),
      Error: "",
    });
    if (state.Health !== undefined && state.Health.Status !== "none") state.Health.Status = "unhealthy";
    container.lastExit = { exitCode: exit.exitCode };
    const delay = container.isPod
      ? undefined
      : nextRestart(hostConfig.RestartPolicy, {
          exitCode: exit.exitCode,
          stoppedByUser: container.stopRequested || record.HasBeenManuallyStopped,
          restartCount: record.RestartCount,
          ranMs,
          lastDelayMs: container.restartDelay,
        });
    if (delay !== undefined) Object.assign(state, { Running: true, Restarting: true });
    // The record of one that vanishes is not written once more: after a crash the runtime still knows the exit.
    if (!goesAtOnce) await store.saveFact(container);
    this.emit(container, "die", { exitCode: String(exit.exitCode), execDuration: String(Math.trunc(ranMs / 1000)) });
    container.changes.emit("exited");
    if (delay !== undefined) this.#restartLater(container, delay);
    else if (goesAtOnce) await this.#vanish(container);
    else if (hostConfig.AutoRemove === true) await this.#remove(container, { volumes: true });
  }

  #restartLater(container: Container, delayMs: number): void {
    container.restartDelay = delayMs;
    const cancel = this.#parts.tasks.after(`restart of ${container.id.slice(0, 12)}`, delayMs, async () => {
      await this.lock.run(container.id, async () => {
        if (container.cancelRestart !== cancelled || container.isRemoving) return;
        container.cancelRestart = undefined;
        container.record.RestartCount++;
        try {
          await this.#launch(container, { isRestart: true });
        } catch (error) {
          this.#parts.log.warn("A container could not be restarted.", { container: container.id, error });
        }
      });
    });
    const cancelled = (): void => {
      container.cancelRestart = undefined;
      cancel();
    };
    container.cancelRestart = cancelled;
  }

  #outOfMemory(id: string): void {
    const container = this.#parts.store.byId(id);
    if (container === undefined || !container.isRunning) return;
    const isFirst = !container.state.OOMKilled;
    container.state.OOMKilled = true;
    this.emit(container, "oom");
    if (!isFirst) return;
    this.#parts.tasks.run(`oom of ${id.slice(0, 12)}`, () =>
      this.lock.run(id, async () => {
        if (container.isRunning) await this.#parts.store.saveFact(container);
      }),
    );
  }

  // ---- stop, kill, pause

  /** A start, or an exit, that is under way comes to its end first: what follows sees where it led to. */
  async #settled(container: Container): Promise<void> {
    await this.lock.run(container.id, () => {});
  }

  /** Waits until the container has ended; false when the time is over first. */
  async untilEnded(container: Container, ms: number): Promise<boolean> {
    if (!container.state.Running) return true;
    return new Promise((resolve) => {
      const done = (result: boolean): void => {
        off();
        clearTimeout(timer);
        resolve(result);
      };
      const off = container.changes.on((change: ContainerChange) => {
        if (change === "exited" || change === "removed") done(true);
      });
      const timer = Number.isFinite(ms) ? setTimeout(() => done(false), Math.min(ms, 2 ** 31 - 1)) : undefined;
    });
  }

  /** A restart that waits is called off: the container has ended. */
  async #cancelRestart(container: Container): Promise<boolean> {
    return this.lock.run(container.id, async () => {
      if (!container.state.Restarting) return false;
      container.cancelRestart?.();
      Object.assign(container.state, { Running: false, Restarting: false });
      await this.#parts.store.saveFact(container);
      container.changes.emit("exited");
      return true;
    });
  }

  /** Ends a container: its stop signal, then SIGKILL after `timeoutSeconds` (-1: never). */
  async stop(
    container: Container,
    options: { timeout?: number | undefined; signal?: string | undefined } = {},
  ): Promise<void> {
    await this.#settled(container);
    if (!container.state.Running) throw new GantryError("not-modified", `container ${container.id} is already stopped`);
    const config = container.record.Config;
    const signal = parseSignal(options.signal || config.StopSignal || "SIGTERM");
    const timeout = options.timeout ?? config.StopTimeout ?? 10;
    await this.#markStopped(container);
    if (!(await this.#cancelRestart(container))) {
      await this.#signal(container, signal);
      const isEnded = await this.untilEnded(container, timeout < 0 ? Number.POSITIVE_INFINITY : timeout * 1000);
      if (!isEnded) await this.#killAndWait(container);
    }
    this.emit(container, "stop");
  }

  async #markStopped(container: Container): Promise<void> {
    container.stopRequested = true;
    if (container.record.HasBeenManuallyStopped) return;
    container.record.HasBeenManuallyStopped = true;
    await this.#parts.store.saveFact(container);
  }

  async #signal(container: Container, signal: number): Promise<void> {
    const { runtime, store } = this.#parts;
    await runtime.kill(container.id, signal);
    this.emit(container, "kill", { signal: String(signal) });
    if (!container.state.Paused) return;
    await this.lock.run(container.id, async () => {
      if (!container.state.Paused) return;
      await runtime.resume(container.id);
      container.state.Paused = false;
      await store.save(container);
    });
  }

  async #killAndWait(container: Container): Promise<void> {
    await this.#signal(container, 9);
    if (await this.untilEnded(container, killWaitMs)) return;
    await this.#parts.runtime.kill(container.id, 9, true);
    if (await this.untilEnded(container, killWaitMs)) return;
    throw new GantryError("internal", `tried to kill container, but did not receive an exit event`);
  }

  async kill(container: Container, signalText: string | undefined): Promise<void> {
    const signal = parseSignal(signalText || "SIGKILL");
    if (signal < 1 || signal > 64)
      throw new GantryError("invalid", `the linux daemon does not support signal ${signal}`);
    await this.#settled(container);
    if (!container.state.Running) {
      throw new GantryError(
        "conflict",
        `cannot kill container: ${container.name}: container ${container.id} is not running`,
      );
    }
    const own = container.record.Config.StopSignal ?? "";
    if (own === "" || signal === 9 || parseSignal(own) === signal) await this.#markStopped(container);
    if (await this.#cancelRestart(container)) return;
    if (signal === 9) await this.#killAndWait(container);
    else await this.#signal(container, signal);
  }

  async restart(
    container: Container,
    options: { timeout?: number | undefined; signal?: string | undefined },
  ): Promise<void> {
    if (container.state.Running) {
      const { AutoRemove } = container.hostConfig;
      container.hostConfig.AutoRemove = false;
      try {
        await this.stop(container, options);
      } catch (error) {
        if (!hasCode(error, "not-modified")) throw error;
      } finally {
        if (AutoRemove !== undefined) container.hostConfig.AutoRemove = AutoRemove;
      }
    }
    await this.start(container);
    this.emit(container, "restart");
  }

  async pause(container: Container, options: { forCommit?: boolean } = {}): Promise<void> {
    await this.lock.run(container.id, async () => {
      const { state, id, record } = container;
      if (!state.Running) throw new GantryError("conflict", `container ${id} is not running`);
      if (state.Paused) throw new GantryError("conflict", `Container ${id} is already paused`);
      if (state.Restarting)
        throw new GantryError("conflict", `Container ${id} is restarting, wait until the container is running`);
      if (options.forCommit) {
        record.Gantry.pausedForCommit = true;
        await this.#parts.store.save(container);
      }
      await this.#parts.runtime.pause(id);
      state.Paused = true;
      // As docker has it: what is not probed is not healthy. The next probe that succeeds says otherwise.
      if (state.Health !== undefined && state.Health.Status !== "none") state.Health.Status = "unhealthy";
      await this.#parts.store.save(container);
      this.emit(container, "pause");
    });
  }

  async unpause(container: Container): Promise<void> {
    await this.lock.run(container.id, async () => {
      const { state, id, record } = container;
      if (!state.Paused) throw new GantryError("internal", `Container ${id} is not paused`);
      await this.#parts.runtime.resume(id);
      state.Paused = false;
      delete record.Gantry.pausedForCommit;
      await this.#parts.store.save(container);
      this.emit(container, "unpause");
    });
  }

  // ---- remove

  /** `name` is what the user called it. */
  async remove(
    container: Container,
    options: { force?: boolean | undefined; volumes?: boolean | undefined; name?: string | undefined } = {},
  ): Promise<void> {
    const { id, state } = container;
    const { name = container.name } = options;
    await this.#settled(container);
    if (container.isRemoving) throw new GantryError("conflict", `removal of container ${name} is already in progress`);
    if (state.Running && options.force !== true) {
      const hint = state.Paused
        ? "container is paused and must be unpaused first"
        : `container is ${state.Status}: stop the container before removing or force remove`;
      throw new GantryError("conflict", `cannot remove container ${JSON.stringify(name)}: ${hint}`);
    }
    if (state.Running) {
      await this.#markStopped(container);
      if (!(await this.#cancelRestart(container))) await this.#killAndWait(container);
    }
    await this.lock.run(id, async () => this.#remove(container, { volumes: options.volumes === true }));
  }

  #removeLater(container: Container): void {
    this.#parts.tasks.run(`removal of ${container.id.slice(0, 12)}`, () =>
      this.lock.run(container.id, () => this.#remove(container, { volumes: true })),
    );
  }

  /** Under the lock. A crash in the middle is finished by the next start. */
  async #remove(container: Container, options: { volumes: boolean }): Promise<void> {
    const { images, store } = this.#parts;
    if (container.isRemoving) return;
    container.isRemoving = true;
    container.state.RemovalInProgress = true;
    container.record.Gantry.phase = "removing";
    container.record.Gantry.removeVolumes = options.volumes;
    try {
      await store.saveFact(container);
      await this.#parts.launcher.takeDown(container);
      await Promise.all([container.id, ...imageMounts(container)].map((id) => images.snapshots.remove(id)));
      if (options.volumes) await this.#removeVolumes(container);
      const logFolder = container.record.LogPath;
      await store.remove(container);
      if (container.isPod && logFolder !== "") await rm(logFolder, { force: true });
    } catch (error) {
      container.isRemoving = false;
      Object.assign(container.state, { RemovalInProgress: false, Dead: true });
      throw new GantryError(
        "internal",
        `container ${container.id}: driver "overlay2" failed to remove root filesystem: ${errorMessage(error)}`,
        { cause: error },
      );
    }
    this.emit(container, "destroy");
    container.changes.emit("removed");
  }

  /**
   * `--rm` without volumes, under the lock: gone for everybody when its record is, and only then cleaned up. What a
   * crash in between leaves has no owner any more, and is removed by the next start.
   */
  async #vanish(container: Container): Promise<void> {
    const { images, launcher, log, store } = this.#parts;
    const left = (error: unknown): void =>
      log.error("What a removed container left is there until the next start.", { container: container.id, error });
    container.isRemoving = true;
    container.state.RemovalInProgress = true;
    await store.withdraw(container).catch(left);
    images.snapshots.disown(container.id);
    this.emit(container, "destroy");
    container.changes.emit("removed");
    // Who waits gets the answer first.
    await new Promise((resolve) => setImmediate(resolve));
    try {
      await launcher.takeDown(container);
      await Promise.all([images.snapshots.remove(container.id), store.remove(container)]);
    } catch (error) {
      left(error);
    }
  }

  async #removeVolumes(container: Container): Promise<void> {
    const { events, log, volumes } = this.#parts;
    for (const point of Object.values(container.record.MountPoints)) {
      if (point.Type !== "volume" || point.Name === undefined || !isAnonymous(point)) continue;
      try {
        if (await volumes.remove(point.Name, true)) events.emit("volume", "destroy", point.Name, { driver: "local" });
      } catch (error) {
        // Another container uses it, too.
        if (!hasCode(error, "conflict")) log.warn("A volume could not be removed.", { volume: point.Name, error });
      }
    }
  }

  // ---- after a restart of ours

  /**
   * What became of a container while nobody looked, as far as it has to be known before the networks come back.
   * Returns whether its process lives.
   */
  async inspectAtStart(container: Container): Promise<boolean> {
    const { runtime, store, clock } = this.#parts;
    const { state, record } = container;
    const found = await runtime.state(container.id);
    const isForgotten = found.state === "paused" && record.Gantry.pausedForCommit === true;
    if (isForgotten) await runtime.resume(container.id);
    delete record.Gantry.pausedForCommit;
    if (found.state === "running" || found.state === "paused") {
      const startedAt = state.StartedAt === zeroTime || !state.Running ? rfc3339(clock.now()) : state.StartedAt;
      Object.assign(state, {
        Running: true,
        Restarting: false,
        Paused: found.state === "paused" && !isForgotten,
        Pid: found.pid,
        StartedAt: startedAt,
        OOMKilled: found.oomKilled,
      });
      await store.save(container);
      return true;
    }
    // A process that was created and never let go belongs to a start that nobody waits for any more.
    if (found.state === "created") await runtime.delete(container.id);
    return false;
  }

  /** Follows a container that lives on. */
  resume(container: Container): void {
    this.#startHealth(container, false);
    this.#watch(container);
  }

  /** Settles a container whose process has gone: its exit, its restart policy, its removal. */
  async settleAtStart(container: Container): Promise<void> {
    const { runtime, clock, store } = this.#parts;
    const { record, state, hostConfig } = container;
    await this.lock.run(container.id, async () => {
      if (record.Gantry.phase !== "ready")
        return this.#remove(container, {
          volumes: record.Gantry.phase === "creating" || record.Gantry.removeVolumes === true,
        });
      const found = await runtime.state(container.id);
      if (state.Running && !state.Restarting) {
        const exit: ExitFacts =
          found.state === "exited" ? found.exit : { exitCode: 255, oomKilled: false, finishedAt: clock.now() };
        return this.#exited(container, exit);
      }
      await this.#parts.launcher.takeDown(container);
      if (hostConfig.AutoRemove === true && record.HasBeenStartedBefore)
        return this.#remove(container, { volumes: true });
      const wasRestarting = state.Restarting;
      Object.assign(state, { Running: false, Restarting: false, Paused: false, Pid: 0 });
      const isDue =
        wasRestarting ||
        isStartedAtBoot(hostConfig.RestartPolicy, {
          exitCode: state.ExitCode,
          stoppedByUser: record.HasBeenManuallyStopped,
          restartCount: record.RestartCount,
          hasRun: record.HasBeenStartedBefore,
        });
      if (isDue && !container.isPod) {
        Object.assign(state, { Running: true, Restarting: true });
        this.#restartLater(container, 0);
      }
      await store.save(container);
    });
  }
}

/** True for a container of which nothing but its record has to be gone when its end is told. */
function vanishes({ hostConfig, isPod, record }: Container): boolean {
  if (isPod || hostConfig.AutoRemove !== true) return false;
  return Object.values(record.MountPoints).every(({ Type }) => Type !== "volume" && Type !== "image");
}

function isAnonymous(point: { Name?: string; Spec?: { Source?: string } }): boolean {
  return /^[a-f0-9]{64}$/.test(point.Name ?? "") && (point.Spec?.Source ?? "") === "";
}

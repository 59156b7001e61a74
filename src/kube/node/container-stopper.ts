import type { PodContainerStatus } from "#api/pod-runtime.ts";
import { errorMessage, hasCode } from "#base/errors.ts";
import { abortable } from "./image-puller.ts";
import { runHook } from "./lifecycle-hook.ts";
import { type PodServices, podReference } from "./pod-services.ts";
import { type Container, type Pod, isSidecar } from "./pod-types.ts";
import { type PodView, runtimeLabels } from "./runtime-view.ts";

/** At least so long after preStop before SIGKILL. */
const minimumAfterHookMs = 2_000;

/** Stops a pod's containers: hooks, signals and the grace period, which may be cut short while it runs. */
export class ContainerStopper {
  readonly #services: PodServices;
  /** Containers that are being stopped, and when they are to be killed (monotonic milliseconds). */
  readonly #stopping = new Map<string, number>();

  constructor(services: PodServices) {
    this.#services = services;
  }

  /** Stops one container, with a Killing event. Returns when it has exited. */
  async stop(
    pod: Pod,
    container: Container | undefined,
    status: PodContainerStatus,
    message: string,
    graceSeconds: number,
    podIp: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { runtime, clock, recorder, view } = this.#services;
    const deadline = clock.monotonic() + graceSeconds * 1000;
    this.#stopping.set(status.id, deadline);
    try {
      recorder.event(podReference(pod, container), "Normal", "Killing", message);
      const hook = container?.lifecycle?.preStop;
      if (hook !== undefined && container !== undefined && graceSeconds > 0) {
        await this.#preStop(pod, container, status.id, hook, graceSeconds * 1000, podIp, signal);
      }
      const until = this.#stopping.get(status.id) ?? deadline;
      const leftMs = Math.max(
        until - clock.monotonic(),
        until < deadline ? 0 : Math.min(minimumAfterHookMs, graceSeconds * 1000),
      );
      await abortable(runtime.stopContainer(status.id, Math.ceil(leftMs / 1000)), signal);
    } catch (error) {
      if (!hasCode(error, "not-found")) throw error;
    } finally {
      this.#stopping.delete(status.id);
      view.touchContainer(pod.metadata?.uid ?? "", status.id);
    }
  }

  async #preStop(
    pod: Pod,
    container: Container,
    id: string,
    hook: NonNullable<NonNullable<Container["lifecycle"]>["preStop"]>,
    timeoutMs: number,
    podIp: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { runtime, clock, recorder, log } = this.#services;
    try {
      const work = runHook(runtime, clock, hook, container, id, podIp, timeoutMs, signal);
      // A hook that outlives the grace period is left behind: the container goes anyway.
      await Promise.race([work, clock.sleep(timeoutMs, signal)]);
    } catch (error) {
      if (signal.aborted) throw error;
      log.debug("A preStop hook failed.", {
        pod: pod.metadata?.name,
        container: container.name,
        error: errorMessage(error),
      });
      recorder.event(podReference(pod, container), "Warning", "FailedPreStopHook", "PreStopHook failed");
    }
  }

  /** Stops everything that runs: regular containers at once, then sidecars, the last one first. */
  async stopAll(pod: Pod, view: PodView, graceSeconds: number, podIp: string, signal: AbortSignal): Promise<void> {
    const { clock } = this.#services;
    const deadline = clock.monotonic() + graceSeconds * 1000;
    const sidecars = (pod.spec?.initContainers ?? []).filter(isSidecar).map(({ name }) => name);
    const all = [
      ...(pod.spec?.containers ?? []),
      ...(pod.spec?.initContainers ?? []),
      ...(pod.spec?.ephemeralContainers ?? []),
    ];
    const stopOne = (status: PodContainerStatus): Promise<void> => {
      const name = status.labels[runtimeLabels.containerName] ?? status.metadata.name;
      const container = all.find((one) => one.name === name);
      const left = Math.max(0, Math.ceil((deadline - clock.monotonic()) / 1000));
      return this.stop(pod, container, status, `Stopping container ${name}`, left, podIp, signal);
    };
    const live = view.containers.filter(({ state }) => state === "running" || state === "unknown");
    const isSide = (status: PodContainerStatus): boolean =>
      sidecars.includes(status.labels[runtimeLabels.containerName] ?? "");
    await Promise.all(live.filter((status) => !isSide(status)).map(stopOne));
    for (const name of sidecars.toReversed()) {
      await Promise.all(live.filter((status) => status.labels[runtimeLabels.containerName] === name).map(stopOne));
    }
  }

  /** The grace period became shorter: what is still stopping is told again. */
  shorten(graceSeconds: number): void {
    const { runtime, clock, tasks } = this.#services;
    const deadline = clock.monotonic() + graceSeconds * 1000;
    for (const [id, until] of this.#stopping) {
      if (until <= deadline) continue;
      this.#stopping.set(id, deadline);
      tasks.run("stop a container sooner", async () => {
        await runtime.stopContainer(id, graceSeconds).catch((error: unknown) => {
          if (!hasCode(error, "not-found")) throw error;
        });
      });
    }
  }
}

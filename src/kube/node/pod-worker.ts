import { rm } from "node:fs/promises";
import type { PodContainerStatus } from "#api/pod-runtime.ts";
import { errorMessage, GantryError, hasCode } from "#base/errors.ts";
import type { IdMapping } from "#base/id-mapping.ts";
import { TaskGroup } from "#base/task-group.ts";
import { goDuration } from "./backoff.ts";
import { type StartFailure, startContainer } from "./container-starter.ts";
import { ContainerStopper } from "./container-stopper.ts";
import type { DownwardFacts } from "./downward.ts";
import { type PodStep, computePodActions, containerHash, currentSandbox, latestOf } from "./pod-actions.ts";
import { type PodServices, podReference } from "./pod-services.ts";
import { apiTime, computePodStatus } from "./pod-status.ts";
import { PodVolumes } from "./pod-volumes.ts";
import { type Container, type Pod, type PodStatus, podLabel } from "./pod-types.ts";
import { ProbeSet } from "./probes/probe-set.ts";
import type { PodView } from "./runtime-view.ts";
import { podLogDirectory, sandboxConfig } from "./sandbox-config.ts";
import { terminationMessage } from "./termination-message.ts";

const deadlineFailure = {
  reason: "DeadlineExceeded",
  message: "Pod was active on the node longer than the specified deadline",
};
const maxRounds = 50;

/**
 * Looks after one pod from its first sight to its removal: reads what is, plans, acts, reports; one round at
 * a time. Everything that may concern the pod wakes it; a round that finds nothing to do costs little.
 */
export class PodWorker {
  readonly uid: string;
  readonly #services: PodServices;
  readonly #tasks: TaskGroup;
  readonly #stopper: ContainerStopper;
  readonly #probes: ProbeSet;
  readonly #volumes: PodVolumes;
  readonly #waiting = new Map<string, StartFailure & { until: number }>();
  /** Instances that were made and could not be started, with the time and the runtime's word. */
  readonly #unstartable = new Map<string, { at: number; message: string }>();
  /** Containers whose start is not complete: their postStart hook runs. */
  readonly #starting = new Set<string>();
  readonly #startTime: string;
  #pod: Pod;
  #gone = false;
  #cleaned = false;
  #ended = false;
  #failure: { reason: string; message: string } | undefined;
  #podIps: string[] = [];
  #dirty = true;
  #wakeUp: (() => void) | undefined;
  #timer: { at: number; cancel: () => void } | undefined;
  /** Aborts what a deletion makes pointless: pulls, hooks, waits. */
  #running = new AbortController();

  /** `rejection`: the pod may not run here; it only gets its status. */
  constructor(pod: Pod, services: PodServices, rejection?: { reason: string; message: string }) {
    const { name, namespace, uid = "" } = pod.metadata ?? {};
    this.uid = uid;
    this.#pod = pod;
    this.#services = services;
    this.#startTime = pod.status?.startTime ?? apiTime(services.clock.now());
    this.#tasks = new TaskGroup({
      name: `pod ${namespace}/${name}`,
      log: services.log,
      clock: services.clock,
      signal: services.tasks.signal,
    });
    this.#volumes = new PodVolumes(this.uid, services, (ms) => this.#wakeAfter(ms));
    this.#stopper = new ContainerStopper({ ...services, tasks: this.#tasks });
    const ready = (pod.status?.containerStatuses ?? []).filter((status) => status.ready);
    this.#probes = new ProbeSet(
      {
        runtime: services.runtime,
        clock: services.clock,
        tasks: this.#tasks,
        changed: () => this.wake(),
        record: (container, type, reason, message) =>
          services.recorder.event(podReference(this.#pod, container), type, reason, message),
        podIp: () => this.#podIp(),
      },
      new Set(ready.map((status) => (status.containerID ?? "").replace(/^.*:\/\//, ""))),
    );
    this.#ended = pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
    if (this.#isLeaving()) this.#running.abort();
    if (rejection !== undefined) {
      this.#failure = rejection;
      services.recorder.event(podReference(pod), "Warning", rejection.reason, rejection.message);
    }
  }

  /** False when the pod holds no resources of the node any more. */
  get active(): boolean {
    const phase = this.#services.statuses.get(this.uid)?.phase ?? this.#pod.status?.phase;
    return this.#failure === undefined && phase !== "Succeeded" && phase !== "Failed";
  }

  get pod(): Pod {
    return this.#pod;
  }

  wake(): void {
    this.#dirty = true;
    this.#wakeUp?.();
  }

  /** The API's object changed. */
  update(pod: Pod): void {
    const { labels, annotations } = this.#pod.metadata ?? {};
    if (pod.metadata?.labels !== labels || pod.metadata?.annotations !== annotations) this.#volumes.stale();
    this.#pod = pod;
    this.#noteLeaving();
    this.wake();
  }

  /** The API's object is gone: whatever is left of the pod goes too. */
  gone(pod: Pod): void {
    this.#pod = pod;
    this.#gone = true;
    this.#noteLeaving();
    this.wake();
  }

  /** Something that the pod's volumes or variables show has changed. */
  sourcesChanged(): void {
    this.#volumes.stale();
    for (const [name, failure] of this.#waiting) {
      if (failure.reason === "CreateContainerConfigError") this.#waiting.set(name, { ...failure, until: 0 });
    }
    this.wake();
  }

  /** Runs until the pod is gone and cleaned up, or the signal aborts, which leaves its containers running. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    const onAbort = (): void => this.wake();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      while (!signal.aborted && !(this.#gone && this.#cleaned)) {
        if (!this.#dirty) await new Promise<void>((resolve) => (this.#wakeUp = resolve));
        if (signal.aborted) return;
        this.#dirty = false;
        try {
          await this.#sync(signal);
          failures = 0;
        } catch (error) {
          if (signal.aborted) return;
          if (this.#running.signal.aborted && hasCode(error, "cancelled")) {
            this.wake();
            continue;
          }
          const delay = Math.min(500 * 2 ** failures++, 120_000);
          this.#services.log.debug("A round over a pod failed.", {
            pod: podLabel(this.#pod),
            error: errorMessage(error),
          });
          this.#services.view.touchPod(this.uid);
          this.#wakeAfter(delay);
        }
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#probes.stop();
      await this.#tasks.stop().catch(() => {});
    }
  }

  #isLeaving(): boolean {
    return this.#gone || this.#pod.metadata?.deletionTimestamp !== undefined;
  }

  #noteLeaving(): void {
    if (!this.#isLeaving()) return;
    this.#running.abort();
    this.#stopper.shorten(this.#graceSeconds());
  }

  #graceSeconds(): number {
    const { deletionGracePeriodSeconds } = this.#pod.metadata ?? {};
    const grace = deletionGracePeriodSeconds ?? this.#pod.spec?.terminationGracePeriodSeconds ?? 30;
    return Math.max(grace, 1);
  }

  #podIp(): string {
    return this.#pod.spec?.hostNetwork === true ? this.#services.node.hostIp : (this.#podIps[0] ?? "");
  }

  #facts(): DownwardFacts {
    const podIps = this.#pod.spec?.hostNetwork === true ? [this.#services.node.hostIp] : this.#podIps;
    return { ...this.#services.node, podIps };
  }

  #wakeAfter(ms: number): void {
    const { clock } = this.#services;
    const at = clock.monotonic() + ms;
    if (this.#timer !== undefined) {
      if (this.#timer.at <= at) return;
      this.#timer.cancel();
    }
    const cancel = this.#tasks.after("wake", ms, () => {
      this.#timer = undefined;
      this.wake();
    });
    this.#timer = { at, cancel };
  }

  async #sync(signal: AbortSignal): Promise<void> {
    const acting = AbortSignal.any([signal, this.#running.signal]);
    for (let round = 0; round < maxRounds; round++) {
      const view = await this.#look();
      if (this.#isLeaving()) return this.#leave(view, signal);
      this.#checkDeadline();
      const status = this.#publish(view);
      if (this.#ended || status.phase === "Succeeded" || status.phase === "Failed") return this.#end(view, signal);
      const steps = this.#plan(view);
      // Also after a restart of the agent, when the pod's volumes were made by its predecessor.
      if (currentSandbox(view) !== undefined) await this.#volumes.keepFresh(this.#pod, this.#facts(), acting);
      const acted = await this.#act(steps, view, acting);
      if (!acted) return;
    }
    this.#wakeAfter(1_000);
  }

  async #look(): Promise<PodView> {
    const { sandboxes, containers } = await this.#services.view.view(this.uid);
    const view = { sandboxes, containers: containers.map((status) => this.#asEnded(status)) };
    this.#podIps = currentSandbox(view)?.ips ?? this.#podIps;
    this.#probes.sync(this.#pod, view, this.#isLeaving());
    for (const name of this.#waiting.keys()) if (latestOf(view, name)?.state === "running") this.#waiting.delete(name);
    return view;
  }

  /** An instance that could not be started is shown as one that ended, as CRI runtimes do. */
  #asEnded(status: PodContainerStatus): PodContainerStatus {
    const failure = this.#unstartable.get(status.id);
    if (failure === undefined || status.state !== "created") return status;
    return {
      ...status,
      state: "exited",
      exitCode: 128,
      reason: "StartError",
      message: failure.message,
      finishedAt: failure.at,
    };
  }

  #plan(view: PodView): PodStep[] {
    const { crashes, clock } = this.#services;
    const now = clock.now();
    return computePodActions(this.#pod, view, {
      startup: (container, id) => (this.#starting.has(id) ? "unknown" : this.#probes.verdict(container, id, "startup")),
      liveness: (container, id) => this.#probes.verdict(container, id, "liveness"),
      backoff: (container, finishedAt) => crashes.remaining(this.#crashKey(container), finishedAt),
    }).filter((step) => {
      if (step.do !== "start-container") return true;
      const failure = this.#waiting.get(step.container.name);
      if (failure === undefined || failure.until <= now) return true;
      this.#wakeAfter(failure.until - now);
      return false;
    });
  }

  #crashKey(container: Container): string {
    return `${this.uid}/${container.name}/${containerHash(container)}`;
  }

  /** Carries the steps out; true when the world has changed and is to be looked at again. */
  async #act(steps: PodStep[], view: PodView, signal: AbortSignal): Promise<boolean> {
    const { runtime } = this.#services;
    let acted = false;
    for (const step of steps) {
      switch (step.do) {
        case "stop-sandbox":
          await runtime.stopPodSandbox(step.id);
          this.#services.view.touchPod(this.uid);
          acted = true;
          break;
        case "create-sandbox":
          await this.#createSandbox(step.attempt, view, signal);
          return true;
        case "kill-container":
          await this.#kill(step, view, signal);
          acted = true;
          break;
        case "remove-container":
          await runtime.removeContainer(step.id);
          this.#unstartable.delete(step.id);
          this.#services.view.forgetContainer(this.uid, step.id);
          break;
        case "back-off":
          this.#backOff(step, view);
          break;
        case "start-container":
          if (await this.#start(step, view, signal)) acted = true;
          else this.#publish(await this.#look());
          break;
      }
    }
    return acted;
  }

  async #kill(step: PodStep & { do: "kill-container" }, view: PodView, signal: AbortSignal): Promise<void> {
    const status = view.containers.find(({ id }) => id === step.id);
    if (status === undefined) return;
    const grace = step.graceSeconds ?? this.#pod.spec?.terminationGracePeriodSeconds ?? 30;
    await this.#stopper.stop(this.#pod, step.container, status, step.message, grace, this.#podIp(), signal);
  }

  #backOff(step: PodStep & { do: "back-off" }, view: PodView): void {
    const { crashes, clock, recorder } = this.#services;
    const delay = goDuration(crashes.delay(this.#crashKey(step.container)));
    const { name } = step.container;
    this.#wakeAfter(step.waitMs);
    if (this.#waiting.get(name)?.reason === "CrashLoopBackOff") return;
    this.#waiting.set(name, {
      reason: "CrashLoopBackOff",
      message: `back-off ${delay} restarting failed container=${name} pod=${podLabel(this.#pod)}`,
      retryMs: step.waitMs,
      until: clock.now() + step.waitMs,
    });
    recorder.event(
      podReference(this.#pod, step.container),
      "Warning",
      "BackOff",
      `Back-off restarting failed container ${name} in pod ${podLabel(this.#pod)}`,
    );
    this.#publish(view);
  }

  /** True when there is a new instance, which runs or has failed to. */
  async #start(step: PodStep & { do: "start-container" }, view: PodView, signal: AbortSignal): Promise<boolean> {
    const { crashes, clock } = this.#services;
    const { container } = step;
    const sandbox = currentSandbox(view);
    if (sandbox === undefined) return false;
    if (step.previousFinishedAt !== undefined) crashes.next(this.#crashKey(container), step.previousFinishedAt);
    const volumes = await this.#volumes.prepare(this.#pod, this.#facts(), signal);
    const failure = await startContainer(this.#services, this.#stopper, {
      pod: this.#pod,
      container,
      attempt: step.attempt,
      sandbox,
      volumes,
      facts: this.#facts(),
      signal,
      onStarting: (id) => this.#starting.add(id),
      onStarted: (id) => this.#starting.delete(id),
    });
    if (failure === undefined) {
      this.#waiting.delete(container.name);
      return true;
    }
    this.#waiting.set(container.name, { ...failure, until: clock.now() + failure.retryMs });
    if (failure.failedId !== undefined) {
      this.#unstartable.set(failure.failedId, { at: clock.now(), message: failure.message });
      return true;
    }
    this.#wakeAfter(failure.retryMs);
    return false;
  }

  /** The ids of a pod that does not want the machine's; undefined for one that does. */
  async #userNamespace(): Promise<IdMapping | undefined> {
    if (this.#pod.spec?.hostUsers !== false) return undefined;
    const { runtime, userNamespaces } = this.#services;
    const reason = await runtime.userNamespacesReason();
    if (reason !== undefined) throw new GantryError("unsupported", `hostUsers is false, but ${reason}`);
    return userNamespaces.mappingOf(this.uid);
  }

  async #createSandbox(attempt: number, view: PodView, signal: AbortSignal): Promise<void> {
    const { runtime, sandbox, recorder } = this.#services;
    await this.#volumes.prepare(this.#pod, this.#facts(), signal);
    if (attempt > 0 && view.containers.length > 0) {
      recorder.event(
        podReference(this.#pod),
        "Normal",
        "SandboxChanged",
        "Pod sandbox changed, it will be killed and re-created.",
      );
    }
    try {
      const userNamespace = await this.#userNamespace();
      const id = await runtime.runPodSandbox({
        ...sandboxConfig(this.#pod, attempt, sandbox),
        ...(userNamespace === undefined ? {} : { userNamespace }),
      });
      this.#services.view.touchSandbox(this.uid, id);
    } catch (error) {
      if (!signal.aborted) {
        recorder.event(
          podReference(this.#pod),
          "Warning",
          "FailedCreatePodSandBox",
          `Failed to create pod sandbox: ${errorMessage(error)}`,
        );
      }
      throw error;
    }
  }

  #checkDeadline(): void {
    const seconds = this.#pod.spec?.activeDeadlineSeconds;
    if (seconds === undefined || this.#failure !== undefined || this.#ended) return;
    const left = Date.parse(this.#startTime) + seconds * 1000 - this.#services.clock.now();
    if (left > 0) return this.#wakeAfter(left);
    this.#failure = deadlineFailure;
    this.#services.recorder.event(podReference(this.#pod), "Normal", deadlineFailure.reason, deadlineFailure.message);
  }

  #publish(view: PodView, isTerminal = this.#ended): PodStatus {
    const { statuses, clock, node } = this.#services;
    const status = computePodStatus(this.#pod, view, {
      now: clock.now(),
      hostIp: node.hostIp,
      startTime: this.#startTime,
      waiting: (name) => {
        const failure = this.#waiting.get(name);
        return failure === undefined ? undefined : { reason: failure.reason, message: failure.message };
      },
      ready: (container, id) => this.#probes.verdict(container, id, "readiness") === "success",
      started: (container, id) =>
        !this.#starting.has(id) && this.#probes.verdict(container, id, "startup") === "success",
      terminationMessage,
      isTerminal,
      previous: statuses.get(this.uid) ?? this.#pod.status,
      failure: this.#failure,
    });
    statuses.set(this.#pod, status);
    return status;
  }

  /** All work of the pod is done, or it was given up: what still runs is stopped; logs stay. */
  async #end(view: PodView, signal: AbortSignal): Promise<void> {
    await this.#stopEverything(view, this.#pod.spec?.terminationGracePeriodSeconds ?? 30, signal);
    this.#ended = true;
    this.#publish(await this.#look(), true);
  }

  async #stopEverything(view: PodView, graceSeconds: number, signal: AbortSignal): Promise<void> {
    const { runtime } = this.#services;
    await this.#stopper.stopAll(this.#pod, view, graceSeconds, this.#podIp(), signal);
    for (const sandbox of view.sandboxes) {
      if (sandbox.state !== "ready") continue;
      await runtime.stopPodSandbox(sandbox.id);
      this.#services.view.touchSandbox(this.uid, sandbox.id);
    }
  }

  /** The pod is being deleted, or its object is gone. */
  async #leave(view: PodView, signal: AbortSignal): Promise<void> {
    const { runtime, statuses, volumes, sandbox } = this.#services;
    if (!this.#cleaned) {
      if (!this.#gone) this.#publish(view);
      await this.#stopEverything(view, this.#graceSeconds(), signal);
      const after = await this.#look();
      this.#probes.stop();
      if (!this.#gone) this.#publish(after, true);
      for (const container of after.containers) await runtime.removeContainer(container.id).catch(ignoreMissing);
      for (const { id } of after.sandboxes) {
        await runtime.removePodSandbox(id).catch(ignoreMissing);
        this.#services.view.forgetSandbox(this.uid, id);
      }
      await volumes.remove(this.uid);
      await rm(podLogDirectory(this.#pod, sandbox.logRoot), { recursive: true, force: true });
      this.#cleaned = true;
    }
    if (this.#gone) this.#forget();
    else statuses.finish(this.#pod);
  }

  #forget(): void {
    const { statuses, images, crashes, objects, tokens } = this.#services;
    statuses.forget(this.uid);
    images.forget(this.uid);
    crashes.forgetPrefix(`${this.uid}/`);
    objects.release(this.uid);
    tokens.forget(this.uid);
  }
}

function ignoreMissing(error: unknown): void {
  if (!hasCode(error, "not-found")) throw error;
}

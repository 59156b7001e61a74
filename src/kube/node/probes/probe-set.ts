import type { PodContainerStatus, PodRuntime } from "#api/pod-runtime.ts";
import type { Clock } from "#base/clock.ts";
import type { TaskGroup } from "#base/task-group.ts";
import type { ProbeVerdict } from "../pod-actions.ts";
import { type Container, type Pod, type Probe, isSidecar } from "../pod-types.ts";
import { type PodView, runtimeLabels } from "../runtime-view.ts";
import { runProbe } from "./run-probe.ts";

export type ProbeKind = "startup" | "liveness" | "readiness";

export interface ProbeParts {
  runtime: PodRuntime;
  clock: Clock;
  tasks: TaskGroup;
  /** A verdict changed: the pod is to be looked at. */
  changed(): void;
  record(container: Container, type: "Normal" | "Warning", reason: string, message: string): void;
  podIp(): string;
}

interface Worker {
  stop: AbortController;
  verdict: ProbeVerdict;
  wake: () => void;
}

/**
 * The first pause after a readiness probe that failed before any succeeded; it doubles up to the period. Programs
 * open their port some milliseconds after they start: who waits a whole period for the second look is late by it.
 */
const eagerPauseMs = 50;

const kinds: ProbeKind[] = ["startup", "liveness", "readiness"];
const words: Record<ProbeKind, string> = { startup: "Startup", liveness: "Liveness", readiness: "Readiness" };

export function probeOf(container: Container, kind: ProbeKind): Probe | undefined {
  return kind === "startup"
    ? container.startupProbe
    : kind === "liveness"
      ? container.livenessProbe
      : container.readinessProbe;
}

/** The probes of one pod: one loop for each probe of each running container instance. */
export class ProbeSet {
  readonly #parts: ProbeParts;
  readonly #workers = new Map<string, Worker>();
  /** Containers that were ready when the agent started: they stay so until a probe says otherwise. */
  readonly #assumedReady: ReadonlySet<string>;

  constructor(parts: ProbeParts, assumedReady: ReadonlySet<string> = new Set()) {
    this.#parts = parts;
    this.#assumedReady = assumedReady;
  }

  /** Starts loops of containers that run, and stops those of containers that do not. Safe to repeat. */
  sync(pod: Pod, view: PodView, terminating: boolean): void {
    const wanted = new Set<string>();
    const containers = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? []).filter(isSidecar)];
    for (const status of view.containers) {
      if (status.state !== "running") continue;
      const name = status.labels[runtimeLabels.containerName];
      const container = containers.find((one) => one.name === name);
      if (container === undefined) continue;
      for (const kind of kinds) {
        const probe = probeOf(container, kind);
        // On the way out only readiness still matters.
        if (probe === undefined || (terminating && kind !== "readiness")) continue;
        const key = `${status.id}/${kind}`;
        wanted.add(key);
        if (!this.#workers.has(key)) this.#begin(key, kind, probe, container, status);
      }
    }
    for (const [key, worker] of this.#workers) {
      if (wanted.has(key)) continue;
      worker.stop.abort();
      this.#workers.delete(key);
    }
  }

  /** `success` when there is no such probe. */
  verdict(container: Container, containerId: string, kind: ProbeKind): ProbeVerdict {
    if (probeOf(container, kind) === undefined) return "success";
    return this.#workers.get(`${containerId}/${kind}`)?.verdict ?? "unknown";
  }

  stop(): void {
    for (const worker of this.#workers.values()) worker.stop.abort();
    this.#workers.clear();
  }

  #begin(key: string, kind: ProbeKind, probe: Probe, container: Container, status: PodContainerStatus): void {
    const assumed = this.#assumedReady.has(status.id);
    const worker: Worker = { stop: new AbortController(), verdict: assumed ? "success" : "unknown", wake: () => {} };
    this.#workers.set(key, worker);
    this.#parts.tasks.run(`${kind} probe of ${container.name}`, (signal) =>
      this.#loop(worker, kind, probe, container, status, AbortSignal.any([signal, worker.stop.signal])),
    );
  }

  async #loop(
    worker: Worker,
    kind: ProbeKind,
    probe: Probe,
    container: Container,
    status: PodContainerStatus,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, runtime } = this.#parts;
    const periodMs = (probe.periodSeconds || 10) * 1000;
    const successThreshold = probe.successThreshold || 1;
    const failureThreshold = probe.failureThreshold || 3;
    let last: "success" | "failure" | undefined;
    let run = 0;
    let eagerMs = kind === "readiness" && worker.verdict === "unknown" ? eagerPauseMs : periodMs;
    const wait = status.startedAt + (probe.initialDelaySeconds ?? 0) * 1000 - clock.now();
    if (wait > 0) await clock.sleep(wait, signal);
    while (!signal.aborted) {
      if (kind !== "startup" && this.verdict(container, status.id, "startup") !== "success") {
        await this.#startedOrPeriod(worker, periodMs, signal);
        continue;
      }
      const outcome = await runProbe(runtime, probe, container, status.id, this.#parts.podIp());
      if (signal.aborted) return;
      // A look between the periods says nothing but yes: it counts towards no threshold, and no event tells of it.
      const isEager = eagerMs > eagerPauseMs && eagerMs < periodMs;
      if (isEager && (outcome.result === "failure" || outcome.result === "error")) {
        await clock.sleep(eagerMs, signal);
        eagerMs *= 2;
        continue;
      }
      this.#report(kind, container, outcome);
      if (outcome.result !== "error") {
        const result = outcome.result === "failure" ? "failure" : "success";
        run = result === last ? run + 1 : 1;
        last = result;
        const reached = run >= (result === "success" ? successThreshold : failureThreshold);
        if (reached && worker.verdict !== result) this.#settle(worker, status.id, kind, result);
        if (reached && result === "success" && kind === "startup") return;
        // The container is about to be killed: nothing more is to be learnt.
        if (reached && result === "failure" && kind !== "readiness") return;
      }
      if (outcome.result !== "failure") eagerMs = periodMs;
      await clock.sleep(Math.min(eagerMs, periodMs), signal);
      if (eagerMs < periodMs) eagerMs *= 2;
    }
  }

  #report(kind: ProbeKind, container: Container, outcome: { result: string; output: string }): void {
    const { record } = this.#parts;
    if (outcome.result === "failure")
      record(container, "Warning", "Unhealthy", `${words[kind]} probe failed: ${outcome.output}`);
    else if (outcome.result === "warning")
      record(container, "Warning", "ProbeWarning", `${words[kind]} probe warning: ${outcome.output}`);
    else if (outcome.result === "error") {
      record(
        container,
        "Warning",
        "Unhealthy",
        `${words[kind]} probe errored and resulted in unknown state: ${outcome.output}`,
      );
    }
  }

  #settle(worker: Worker, containerId: string, kind: ProbeKind, result: "success" | "failure"): void {
    worker.verdict = result;
    if (kind === "startup" && result === "success") {
      for (const other of ["liveness", "readiness"]) this.#workers.get(`${containerId}/${other}`)?.wake();
    }
    this.#parts.changed();
  }

  /** Waits for the startup probe's success, or a period. */
  async #startedOrPeriod(worker: Worker, periodMs: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    worker.wake = () => woken.abort();
    await this.#parts.clock.sleep(periodMs, AbortSignal.any([signal, woken.signal])).catch((error: unknown) => {
      if (signal.aborted) throw error;
    });
    worker.wake = () => {};
  }
}

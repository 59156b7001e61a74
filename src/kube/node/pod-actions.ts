import { createHash } from "node:crypto";
import type { PodContainerStatus, PodSandboxStatus } from "#api/pod-runtime.ts";
import { type Container, type Pod, isSidecar } from "./pod-types.ts";
import { type PodView, runtimeAnnotations, runtimeLabels } from "./runtime-view.ts";

export type ContainerKind = "init" | "sidecar" | "regular" | "ephemeral";
export type ProbeVerdict = "unknown" | "success" | "failure";

/** What the plan is made of, beside the pod and the runtime's view. */
export interface PodActionInputs {
  /** Of the container with this id; `success` where there is no such probe. */
  startup(container: Container, containerId: string): ProbeVerdict;
  liveness(container: Container, containerId: string): ProbeVerdict;
  /** How many milliseconds a container that ended at `finishedAt` has to wait yet; 0 to start now. */
  backoff(container: Container, finishedAt: number): number;
}

export type PodStep =
  /** Stops what is left of a sandbox that is not usable any more. */
  | { do: "stop-sandbox"; id: string }
  | { do: "create-sandbox"; attempt: number }
  | { do: "kill-container"; id: string; container: Container; message: string; graceSeconds?: number }
  | { do: "start-container"; container: Container; kind: ContainerKind; attempt: number; previousFinishedAt?: number }
  | { do: "back-off"; container: Container; waitMs: number; finishedAt: number }
  /** An old instance that nobody asks for any more. */
  | { do: "remove-container"; id: string };

/** Changes when the parts of a container change that may be changed in place: its image. */
export function containerHash(container: Container): string {
  return createHash("sha256").update(`${container.name}\n${container.image}`).digest("hex").slice(0, 8);
}

/** True when a container that is not running is to run again (kubernetes, container.ShouldContainerBeRestarted). */
export function shouldRestart(
  pod: Pod,
  container: Container,
  kind: ContainerKind,
  status: PodContainerStatus,
): boolean {
  if (pod.metadata?.deletionTimestamp) return false;
  if (kind === "ephemeral") return false;
  if (kind === "sidecar") return true;
  if (status.state === "unknown" || status.state === "created") return true;
  for (const rule of container.restartPolicyRules ?? []) {
    const { operator, values = [] } = rule.exitCodes ?? { operator: "" };
    const hit =
      operator === "In" ? values.includes(status.exitCode) : operator === "NotIn" && !values.includes(status.exitCode);
    if (hit && rule.action === "Restart") return true;
  }
  const policy = container.restartPolicy ?? pod.spec?.restartPolicy ?? "Always";
  if (policy === "Never") return false;
  if (kind === "init" || policy === "OnFailure") return status.exitCode !== 0;
  return true;
}

/** The newest instance of a container, of all sandboxes. */
export function latestOf(view: PodView, name: string): PodContainerStatus | undefined {
  return view.containers.find((container) => container.labels[runtimeLabels.containerName] === name);
}

/** The sandbox that the pod runs in, if it is usable. */
export function currentSandbox(view: PodView): PodSandboxStatus | undefined {
  const newest = view.sandboxes[0];
  return newest?.state === "ready" ? newest : undefined;
}

/**
 * What is to be done so that a pod that should run does: pure. Steps are in order; a step that fails ends the
 * round, and the plan is made anew.
 */
export function computePodActions(pod: Pod, view: PodView, inputs: PodActionInputs): PodStep[] {
  const sandbox = currentSandbox(view);
  if (sandbox === undefined) return planNewSandbox(pod, view);
  const steps: PodStep[] = [];
  for (const stale of view.sandboxes.slice(1)) {
    if (stale.state === "ready") steps.push({ do: "stop-sandbox", id: stale.id });
  }
  const planner = new Planner(pod, view, sandbox, inputs);
  steps.push(...planner.plan());
  steps.push(...pruneOld(view));
  return steps;
}

function planNewSandbox(pod: Pod, view: PodView): PodStep[] {
  const steps: PodStep[] = view.sandboxes
    .filter(
      (old) => old.state === "ready" || view.containers.some((c) => c.sandboxId === old.id && c.state === "running"),
    )
    .map((old) => ({ do: "stop-sandbox", id: old.id }));
  const attempt = (view.sandboxes[0]?.metadata.attempt ?? -1) + 1;
  if (attempt > 0 && !anythingToRun(pod, view)) return steps;
  steps.push({ do: "create-sandbox", attempt });
  return steps;
}

/** After a sandbox was lost: is there a container that would be started again? */
function anythingToRun(pod: Pod, view: PodView): boolean {
  if (view.containers.length === 0) return true;
  if (pod.spec?.restartPolicy === "Never") return false;
  return (pod.spec?.containers ?? []).some((container) => {
    const status = latestOf(view, container.name);
    return status === undefined || shouldRestart(pod, container, "regular", status);
  });
}

/** Keeps the newest and the one before of each container, for `--previous` and lastState. */
function pruneOld(view: PodView): PodStep[] {
  const kept = new Map<string, number>();
  const steps: PodStep[] = [];
  for (const status of view.containers) {
    const name = status.labels[runtimeLabels.containerName] ?? status.metadata.name;
    const count = (kept.get(name) ?? 0) + 1;
    kept.set(name, count);
    if (count > 2 && status.state !== "running") steps.push({ do: "remove-container", id: status.id });
  }
  return steps;
}

class Planner {
  readonly #pod: Pod;
  readonly #view: PodView;
  readonly #sandbox: PodSandboxStatus;
  readonly #inputs: PodActionInputs;
  readonly #steps: PodStep[] = [];

  constructor(pod: Pod, view: PodView, sandbox: PodSandboxStatus, inputs: PodActionInputs) {
    this.#pod = pod;
    this.#view = view;
    this.#sandbox = sandbox;
    this.#inputs = inputs;
  }

  plan(): PodStep[] {
    const { ephemeralContainers = [], containers } = this.#pod.spec ?? { containers: [] };
    for (const container of ephemeralContainers) {
      if (latestOf(this.#view, container.name) === undefined) this.#start(container, "ephemeral", undefined);
    }
    const initialised = containers.some((container) => this.#status(container) !== undefined);
    if (!this.#planInit(initialised) && !initialised) return this.#steps;
    for (const container of containers) this.#keepRunning(container, "regular");
    return this.#steps;
  }

  /** The instance in the current sandbox. */
  #status(container: Container): PodContainerStatus | undefined {
    return this.#view.containers.find(
      (status) =>
        status.sandboxId === this.#sandbox.id && status.labels[runtimeLabels.containerName] === container.name,
    );
  }

  /** True when all init containers are through, and sidecars are up. */
  #planInit(initialised: boolean): boolean {
    for (const container of this.#pod.spec?.initContainers ?? []) {
      const status = this.#status(container);
      if (isSidecar(container)) {
        this.#keepRunning(container, "sidecar");
        const up = status?.state === "running" && this.#inputs.startup(container, status.id) === "success";
        if (!up && !initialised) return false;
        continue;
      }
      if (initialised) continue;
      if (status?.state === "exited" && status.exitCode === 0) continue;
      this.#keepRunning(container, "init");
      return false;
    }
    return true;
  }

  #keepRunning(container: Container, kind: ContainerKind): void {
    const status = this.#status(container);
    if (status === undefined) {
      // An older sandbox's end counts for the back-off, but not for whether to start.
      this.#start(container, kind, latestOf(this.#view, container.name));
      return;
    }
    if (status.state === "running") {
      this.#checkRunning(container, kind, status);
      return;
    }
    if (!shouldRestart(this.#pod, container, kind, status)) return;
    if (status.state === "exited") {
      const waitMs = this.#inputs.backoff(container, status.finishedAt);
      if (waitMs > 0) {
        this.#steps.push({ do: "back-off", container, waitMs, finishedAt: status.finishedAt });
        return;
      }
    }
    this.#start(container, kind, status);
  }

  #checkRunning(container: Container, kind: ContainerKind, status: PodContainerStatus): void {
    const kill = (message: string, graceSeconds?: number): void => {
      this.#steps.push({ do: "kill-container", id: status.id, container, message, graceSeconds });
    };
    const again = shouldRestart(this.#pod, container, kind, { ...status, state: "exited", exitCode: 137 });
    const suffix = again ? ", will be restarted" : "";
    const hash = status.annotations[runtimeAnnotations.hash];
    if (kind !== "init" && hash !== undefined && hash !== containerHash(container)) {
      kill(`Container ${container.name} definition changed, will be restarted`);
    } else if (this.#inputs.liveness(container, status.id) === "failure") {
      kill(
        `Container ${container.name} failed liveness probe${suffix}`,
        container.livenessProbe?.terminationGracePeriodSeconds,
      );
    } else if (this.#inputs.startup(container, status.id) === "failure") {
      kill(
        `Container ${container.name} failed startup probe${suffix}`,
        container.startupProbe?.terminationGracePeriodSeconds,
      );
    }
  }

  #start(container: Container, kind: ContainerKind, previous: PodContainerStatus | undefined): void {
    this.#steps.push({
      do: "start-container",
      container,
      kind,
      attempt: previous === undefined ? 0 : previous.metadata.attempt + 1,
      previousFinishedAt: previous?.finishedAt,
    });
  }
}

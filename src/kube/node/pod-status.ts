import type { PodContainerStatus } from "#api/pod-runtime.ts";
import { type ContainerKind, currentSandbox, latestOf, shouldRestart } from "./pod-actions.ts";
import {
  type Container,
  type ContainerState,
  type ContainerStatus,
  type Pod,
  type PodCondition,
  type PodStatus,
  isSidecar,
} from "./pod-types.ts";
import { qosClass } from "./pod-resources.ts";
import { type PodView, runtimeLabels } from "./runtime-view.ts";

export interface PodStatusInputs {
  now: number;
  hostIp: string;
  /** When the agent first saw the pod. */
  startTime: string;
  /** Why a container that should run does not (ErrImagePull, CrashLoopBackOff…), by container name. */
  waiting(name: string): { reason: string; message: string } | undefined;
  /** Results of probes of running containers. */
  ready(container: Container, containerId: string): boolean;
  started(container: Container, containerId: string): boolean;
  terminationMessage(status: PodContainerStatus): string;
  /** All containers have ended, and none will be started again. */
  isTerminal: boolean;
  /** The status as last computed: keeps transition times and what the runtime has forgotten. */
  previous: PodStatus | undefined;
  /** Set when the agent refused or ended the pod: phase Failed with this. */
  failure?: { reason: string; message: string };
}

/** Seconds precision, as the API's Time. */
export function apiTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

/** The status that the API shows for what the runtime has. Pure. */
export function computePodStatus(pod: Pod, view: PodView, inputs: PodStatusInputs): PodStatus {
  const spec = pod.spec ?? { containers: [] };
  const previous = inputs.previous ?? pod.status;
  const hasInit = (spec.initContainers ?? []).length > 0;
  const of = (container: Container, kind: ContainerKind, old: ContainerStatus[] | undefined): ContainerStatus =>
    containerStatus(
      pod,
      container,
      kind,
      view,
      inputs,
      old?.find((status) => status.name === container.name),
      hasInit,
    );
  const containerStatuses = spec.containers.map((c) => of(c, "regular", previous?.containerStatuses));
  const initContainerStatuses = (spec.initContainers ?? []).map((c) =>
    of(c, isSidecar(c) ? "sidecar" : "init", previous?.initContainerStatuses),
  );
  const ephemeralContainerStatuses = (spec.ephemeralContainers ?? []).map((c) =>
    of(c, "ephemeral", previous?.ephemeralContainerStatuses),
  );
  const phase =
    inputs.failure === undefined
      ? podPhase(pod, initContainerStatuses, containerStatuses, inputs.isTerminal)
      : "Failed";
  const sandbox = currentSandbox(view);
  const ips = spec.hostNetwork ? [inputs.hostIp] : (sandbox?.ips ?? []);
  const lastIps = (previous?.podIPs ?? []).map(({ ip }) => ip ?? "").filter((ip) => ip !== "");
  const shownIps = ips.length > 0 ? ips : lastIps;
  const status: PodStatus = {
    phase,
    hostIP: inputs.hostIp,
    hostIPs: [{ ip: inputs.hostIp }],
    startTime: inputs.startTime,
    qosClass: qosClass(pod),
    containerStatuses,
  };
  if (pod.metadata?.generation !== undefined) status.observedGeneration = pod.metadata.generation;
  if (hasInit) status.initContainerStatuses = initContainerStatuses;
  if (ephemeralContainerStatuses.length > 0) status.ephemeralContainerStatuses = ephemeralContainerStatuses;
  if (shownIps.length > 0) {
    status.podIP = shownIps[0];
    status.podIPs = shownIps.map((ip) => ({ ip }));
  }
  if (inputs.failure !== undefined) Object.assign(status, inputs.failure);
  status.conditions = conditions(
    pod,
    status,
    sandbox !== undefined && (spec.hostNetwork === true || ips.length > 0),
    inputs,
    previous,
  );
  return status;
}

function terminatedState(status: PodContainerStatus, inputs: PodStatusInputs): ContainerState {
  const message = inputs.terminationMessage(status);
  return {
    terminated: {
      exitCode: status.exitCode,
      ...(status.exitCode > 128 && status.exitCode < 160 && status.reason === "Signaled"
        ? { signal: status.exitCode - 128 }
        : {}),
      reason: status.reason || (status.exitCode === 0 ? "Completed" : "Error"),
      ...(message === "" ? {} : { message }),
      ...(status.startedAt > 0 ? { startedAt: apiTime(status.startedAt) } : {}),
      ...(status.finishedAt > 0 ? { finishedAt: apiTime(status.finishedAt) } : {}),
      containerID: `gantry://${status.id}`,
    },
  };
}

function containerStatus(
  pod: Pod,
  container: Container,
  kind: ContainerKind,
  view: PodView,
  inputs: PodStatusInputs,
  old: ContainerStatus | undefined,
  hasInit: boolean,
): ContainerStatus {
  const status = latestOf(view, container.name);
  const waiting = inputs.waiting(container.name);
  const base: ContainerStatus = {
    name: container.name,
    ready: false,
    restartCount: old?.restartCount ?? 0,
    image: container.image ?? "",
    imageID: "",
    started: false,
  };
  if (status === undefined) {
    const notYet = { reason: hasInit && kind === "regular" ? "PodInitializing" : "ContainerCreating" };
    if (old?.state?.terminated !== undefined) return { ...old, ready: false, started: false };
    if (old?.state?.running !== undefined) {
      // The runtime has lost it: it may have run to its end unseen (kubelet, ContainerStatusUnknown).
      const lost = {
        exitCode: 137,
        reason: "ContainerStatusUnknown",
        message: "The container could not be located when the pod was terminated",
      };
      if (inputs.isTerminal) return { ...old, ready: false, started: false, state: { terminated: lost } };
      return {
        ...old,
        ready: false,
        started: false,
        state: { waiting: waiting ?? notYet },
        lastState: { terminated: lost },
        restartCount: old.restartCount + 1,
      };
    }
    return {
      ...base,
      ...(old?.lastState === undefined ? {} : { lastState: old.lastState }),
      state: { waiting: waiting ?? notYet },
    };
  }
  base.restartCount = status.metadata.attempt;
  base.image = status.image || base.image;
  base.imageID = status.imageRef || status.imageId;
  base.containerID = `gantry://${status.id}`;
  const before = view.containers.find(
    (other) =>
      other.id !== status.id &&
      other.state === "exited" &&
      other.labels[runtimeLabels.containerName] === container.name,
  );
  const lastState = before === undefined ? old?.lastState : terminatedState(before, inputs);
  if (lastState !== undefined && Object.keys(lastState).length > 0 && status.metadata.attempt > 0)
    base.lastState = lastState;
  switch (status.state) {
    case "running": {
      base.state = { running: { startedAt: apiTime(status.startedAt) } };
      base.started = inputs.started(container, status.id);
      base.ready =
        kind !== "ephemeral" && (kind === "init" ? false : base.started && inputs.ready(container, status.id));
      break;
    }
    case "created":
      base.state = {
        waiting: waiting ?? { reason: hasInit && kind === "regular" ? "PodInitializing" : "ContainerCreating" },
      };
      break;
    default: {
      const ended = terminatedState(status, inputs);
      if (waiting !== undefined && !inputs.isTerminal && shouldRestart(pod, container, kind, status)) {
        base.state = { waiting };
        base.lastState = ended;
      } else base.state = ended;
      if (kind === "init") base.ready = status.exitCode === 0;
    }
  }
  return base;
}

/** Pending, Running, Succeeded or Failed (kubelet, getPhase). */
export function podPhase(
  pod: Pod,
  init: ContainerStatus[],
  regular: ContainerStatus[],
  isTerminal: boolean,
): NonNullable<PodStatus["phase"]> {
  const spec = pod.spec ?? { containers: [] };
  const restartPolicy = spec.restartPolicy ?? "Always";
  let pendingInit = 0;
  let failedInit = 0;
  for (const [index, container] of (spec.initContainers ?? []).entries()) {
    const status = init[index];
    if (isSidecar(container)) {
      if (status?.started !== true) pendingInit++;
      continue;
    }
    const exit =
      status?.state?.terminated ?? (status?.state?.waiting === undefined ? undefined : status.lastState?.terminated);
    if (exit === undefined) pendingInit++;
    else if (exit.exitCode !== 0) failedInit++;
    else if (status?.state?.terminated === undefined) pendingInit++;
  }
  let running = 0;
  let stopped = 0;
  let succeeded = 0;
  let waiting = 0;
  for (const status of regular) {
    const { running: isRunning, terminated, waiting: isWaiting } = status.state ?? {};
    if (isRunning !== undefined) running++;
    else if (terminated !== undefined) {
      stopped++;
      if (terminated.exitCode === 0) succeeded++;
    } else if (isWaiting !== undefined && status.lastState?.terminated !== undefined) stopped++;
    else waiting++;
  }
  const begun = regular.some(
    (status) =>
      status.state?.running !== undefined ||
      status.state?.terminated !== undefined ||
      status.lastState?.terminated !== undefined,
  );
  if (failedInit > 0 && restartPolicy === "Never") return "Failed";
  if (isTerminal && running === 0 && stopped > 0 && waiting === 0)
    return stopped === succeeded ? "Succeeded" : "Failed";
  if (isTerminal && running === 0) return "Failed";
  if (!begun && (pendingInit > 0 || failedInit > 0)) return "Pending";
  if (waiting > 0) return "Pending";
  if (running > 0) return "Running";
  if (stopped > 0) {
    if (restartPolicy === "Always") return "Running";
    if (stopped === succeeded) return "Succeeded";
    return restartPolicy === "Never" && !regular.some((status) => status.state?.waiting !== undefined)
      ? "Failed"
      : "Running";
  }
  return "Pending";
}

type ConditionFacts = Omit<PodCondition, "lastProbeTime" | "lastTransitionTime" | "observedGeneration">;

function conditions(
  pod: Pod,
  status: PodStatus,
  sandboxReady: boolean,
  inputs: PodStatusInputs,
  previous: PodStatus | undefined,
): PodCondition[] {
  const facts: ConditionFacts[] = [
    { type: "PodReadyToStartContainers", status: sandboxReady && !inputs.isTerminal ? "True" : "False" },
    initializedCondition(pod, status),
    ...readyConditions(pod, status),
    { type: "PodScheduled", status: "True" },
  ];
  const generation = pod.metadata?.generation;
  return facts.map((condition) => {
    const named = ({ type }: PodCondition): boolean => type === condition.type;
    const old = previous?.conditions?.find(named) ?? pod.status?.conditions?.find(named);
    const same = old?.status === condition.status && typeof old.lastTransitionTime === "string";
    return {
      ...condition,
      lastTransitionTime: same ? (old.lastTransitionTime as string) : apiTime(inputs.now),
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    };
  });
}

function initializedCondition(pod: Pod, status: PodStatus): ConditionFacts {
  if (status.phase === "Succeeded") return { type: "Initialized", status: "True", reason: "PodCompleted" };
  const incomplete = (pod.spec?.initContainers ?? [])
    .filter((container, index) => {
      const now = status.initContainerStatuses?.[index];
      return isSidecar(container) ? now?.started !== true : now?.state?.terminated?.exitCode !== 0;
    })
    .map((container) => container.name);
  const begun = status.containerStatuses?.some(({ containerID }) => containerID !== undefined) === true;
  if (incomplete.length === 0 || begun) return { type: "Initialized", status: "True" };
  return {
    type: "Initialized",
    status: "False",
    reason: "ContainersNotInitialized",
    message: `containers with incomplete status: [${incomplete.join(" ")}]`,
  };
}

/** Ready and ContainersReady. */
function readyConditions(pod: Pod, status: PodStatus): ConditionFacts[] {
  const neither = (reason: string, message?: string): ConditionFacts[] =>
    ["Ready", "ContainersReady"].map((type) => ({
      type,
      status: "False",
      reason,
      ...(message === undefined ? {} : { message }),
    }));
  if (status.phase === "Succeeded") return neither("PodCompleted");
  if (status.phase === "Failed") return neither("PodFailed");
  const sidecars = (pod.spec?.initContainers ?? []).filter(isSidecar).map(({ name }) => name);
  const counted = [
    ...(status.initContainerStatuses ?? []).filter(({ name }) => sidecars.includes(name)),
    ...(status.containerStatuses ?? []),
  ];
  const unready = counted.filter(({ ready }) => !ready).map(({ name }) => name);
  if (unready.length > 0)
    return neither("ContainersNotReady", `containers with unready status: [${unready.join(" ")}]`);
  const containersReady: ConditionFacts = { type: "ContainersReady", status: "True" };
  const complaints = gateComplaints(pod);
  if (complaints.length === 0) return [{ type: "Ready", status: "True" }, containersReady];
  const message = complaints.join(", ");
  return [{ type: "Ready", status: "False", reason: "ReadinessGatesNotReady", message }, containersReady];
}

function gateComplaints(pod: Pod): string[] {
  return (pod.spec?.readinessGates ?? []).flatMap(({ conditionType }) => {
    const found = pod.status?.conditions?.find(({ type }) => type === conditionType);
    if (found === undefined)
      return [`corresponding condition of pod readiness gate "${conditionType}" does not exist.`];
    if (found.status === "True") return [];
    return [`the status of pod readiness gate "${conditionType}" is not "True", but ${found.status}`];
  });
}

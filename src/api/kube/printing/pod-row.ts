import { humanDuration } from "./human-time.ts";

interface State {
  waiting?: { reason?: string };
  running?: { startedAt?: string };
  terminated?: { reason?: string; exitCode?: number; signal?: number; finishedAt?: string };
}

interface ContainerStatus {
  name: string;
  ready?: boolean;
  started?: boolean;
  restartCount?: number;
  state?: State;
  lastState?: State;
}

export interface PrintedPod {
  metadata?: { deletionTimestamp?: string };
  spec?: {
    containers?: unknown[];
    initContainers?: { name: string; restartPolicy?: string }[];
    readinessGates?: { conditionType: string }[];
    nodeName?: string;
  };
  status?: {
    phase?: string;
    reason?: string;
    podIP?: string;
    podIPs?: { ip: string }[];
    nominatedNodeName?: string;
    conditions?: { type: string; status: string; reason?: string }[];
    containerStatuses?: ContainerStatus[];
    initContainerStatuses?: ContainerStatus[];
  };
}

export interface PodSummary {
  ready: string;
  status: string;
  restarts: string;
}

function exitReason({ terminated }: State): string {
  if (terminated === undefined) return "";
  if (terminated.reason) return terminated.reason;
  return terminated.signal ? `Signal:${terminated.signal}` : `ExitCode:${terminated.exitCode ?? 0}`;
}

function finished(status: ContainerStatus): number {
  return Date.parse(status.lastState?.terminated?.finishedAt ?? "") || 0;
}

/** READY, STATUS and RESTARTS of `kubectl get pods` (kubernetes, printers/internalversion, printPod). */
export function podSummary(pod: PrintedPod, now: number): PodSummary {
  const { spec = {}, status = {} } = pod;
  const inits = spec.initContainers ?? [];
  const restartable = new Set(inits.filter(({ restartPolicy }) => restartPolicy === "Always").map(({ name }) => name));
  let total = (spec.containers ?? []).length + restartable.size;
  let reason = status.reason || status.phase || "";
  if (status.conditions?.some(({ type, reason: why }) => type === "PodScheduled" && why === "SchedulingGated") === true)
    reason = "SchedulingGated";
  let restarts = 0;
  let sidecarRestarts = 0;
  let lastRestart = 0;
  let lastSidecarRestart = 0;
  let ready = 0;
  let initializing = false;
  const initStatuses = status.initContainerStatuses ?? [];
  for (let at = 0; at < initStatuses.length; at++) {
    const each = initStatuses[at] as ContainerStatus;
    const { state = {} } = each;
    restarts += each.restartCount ?? 0;
    lastRestart = Math.max(lastRestart, finished(each));
    const sidecar = restartable.has(each.name);
    if (sidecar) {
      sidecarRestarts += each.restartCount ?? 0;
      lastSidecarRestart = Math.max(lastSidecarRestart, finished(each));
    }
    if (state.terminated !== undefined && (state.terminated.exitCode ?? 0) === 0) continue;
    if (sidecar && each.started === true) {
      if (each.ready === true) ready++;
      continue;
    }
    if (state.terminated !== undefined) reason = `Init:${exitReason(state)}`;
    else if (state.waiting?.reason && state.waiting.reason !== "PodInitializing")
      reason = `Init:${state.waiting.reason}`;
    else reason = `Init:${at}/${inits.length}`;
    initializing = true;
    break;
  }
  const initialized =
    status.conditions?.some(({ type, status: is }) => type === "Initialized" && is === "True") === true;
  if (!initializing || initialized) {
    restarts = sidecarRestarts;
    lastRestart = lastSidecarRestart;
    let running = false;
    for (const each of [...(status.containerStatuses ?? [])].reverse()) {
      const { state = {} } = each;
      restarts += each.restartCount ?? 0;
      lastRestart = Math.max(lastRestart, finished(each));
      if (state.waiting?.reason) reason = state.waiting.reason;
      else if (state.terminated !== undefined) reason = exitReason(state);
      else if (each.ready === true && state.running !== undefined) {
        running = true;
        ready++;
      }
    }
    if (reason === "Completed" && running)
      reason =
        status.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") === true
          ? "Running"
          : "NotReady";
  }
  if (pod.metadata?.deletionTimestamp !== undefined) {
    if (status.reason === "NodeLost") reason = "Unknown";
    else if (status.phase !== "Failed" && status.phase !== "Succeeded") reason = "Terminating";
  }
  if (total < ready) total = ready;
  return {
    ready: `${ready}/${total}`,
    status: reason,
    restarts:
      restarts !== 0 && lastRestart !== 0 ? `${restarts} (${humanDuration(now - lastRestart)} ago)` : String(restarts),
  };
}

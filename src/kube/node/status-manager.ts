import { isDeepStrictEqual } from "node:util";
import { ref } from "#api/kube/object.ts";
import type { Clock } from "#base/clock.ts";
import { errorMessage, hasCode } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { TaskGroup } from "#base/task-group.ts";
import type { KubeClient } from "#kube/client/client.ts";
import type { Pod, PodCondition, PodStatus } from "./pod-types.ts";

interface Entry {
  pod: Pod;
  status: PodStatus;
  /** What the server has of ours. */
  sent: PodStatus | undefined;
  /** Everything is down: the object may go. */
  finished: boolean;
  deleted: boolean;
  writing: boolean;
}

const pods = ref("pods");
const ownConditions = ["PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"];

/**
 * Writes pods' statuses to the API: one write at a time for each pod, always the newest; what comes while a
 * write is under way is sent after it, once. Retries while the server is away.
 */
export class StatusManager {
  readonly #client: KubeClient;
  readonly #parts: { log: Logger; clock: Clock; tasks: TaskGroup };
  readonly #entries = new Map<string, Entry>();

  constructor(client: KubeClient, parts: { log: Logger; clock: Clock; tasks: TaskGroup }) {
    this.#client = client;
    this.#parts = parts;
  }

  /** The status as last set, which may be newer than the server's. */
  get(uid: string): PodStatus | undefined {
    return this.#entries.get(uid)?.status;
  }

  set(pod: Pod, status: PodStatus): void {
    const uid = pod.metadata?.uid ?? "";
    const entry = this.#entry(pod);
    entry.pod = pod;
    entry.status = status;
    this.#flush(uid, entry);
  }

  /** All of the pod is down and cleaned up: when it is being deleted, its object is removed for good. */
  finish(pod: Pod): void {
    const entry = this.#entry(pod);
    entry.pod = pod;
    entry.finished = true;
    this.#flush(pod.metadata?.uid ?? "", entry);
  }

  /** The object is gone from the API. */
  forget(uid: string): void {
    this.#entries.delete(uid);
  }

  #entry(pod: Pod): Entry {
    const uid = pod.metadata?.uid ?? "";
    let entry = this.#entries.get(uid);
    if (entry === undefined) {
      entry = { pod, status: pod.status ?? {}, sent: pod.status, finished: false, deleted: false, writing: false };
      this.#entries.set(uid, entry);
    }
    return entry;
  }

  #flush(uid: string, entry: Entry): void {
    if (entry.writing) return;
    entry.writing = true;
    this.#parts.tasks.run(`status of pod ${entry.pod.metadata?.name}`, async (signal) => {
      try {
        await this.#writeAll(uid, entry, signal);
      } finally {
        entry.writing = false;
      }
    });
  }

  async #writeAll(uid: string, entry: Entry, signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted && this.#entries.get(uid) === entry) {
      try {
        if (!(await this.#writeOnce(entry))) return;
        failures = 0;
      } catch (error) {
        if (hasCode(error, "not-found", "conflict") && (await this.#isOther(uid, entry))) {
          this.#entries.delete(uid);
          return;
        }
        if (hasCode(error, "invalid", "forbidden") && failures >= 3) {
          this.#parts.log.warn("A pod's status was refused.", {
            pod: entry.pod.metadata?.name,
            error: errorMessage(error),
          });
          entry.sent = entry.status;
          return;
        }
        failures++;
        await this.#parts.clock.sleep(Math.min(250 * 2 ** failures, 10_000), signal);
      }
    }
  }

  /** Sends what differs; false when nothing does. */
  async #writeOnce(entry: Entry): Promise<boolean> {
    const { name = "", namespace, uid } = entry.pod.metadata ?? {};
    const { status } = entry;
    if (entry.sent === undefined || !isDeepStrictEqual(own(entry.sent), own(status))) {
      const patch = { metadata: { uid }, status: statusPatch(entry.pod.status, entry.sent, status) };
      await this.#client.patch<Pod>(pods, namespace, name, "application/strategic-merge-patch+json", patch, {
        subresource: "status",
      });
      entry.sent = status;
      return true;
    }
    if (entry.finished && !entry.deleted && entry.pod.metadata?.deletionTimestamp !== undefined) {
      await this.#client.delete(pods, namespace, name, { gracePeriodSeconds: 0, preconditions: { uid } });
      entry.deleted = true;
      return true;
    }
    return false;
  }

  /** True when the API no longer has this pod, or has another of the same name. */
  async #isOther(uid: string, entry: Entry): Promise<boolean> {
    const { name = "", namespace } = entry.pod.metadata ?? {};
    try {
      return (await this.#client.get<Pod>(pods, namespace, name)).metadata?.uid !== uid;
    } catch (error) {
      return hasCode(error, "not-found");
    }
  }
}

/** The part of a status that the node agent owns, for comparison. */
function own(status: PodStatus): PodStatus {
  return {
    ...status,
    conditions: (status.conditions ?? [])
      .filter(({ type }) => ownConditions.includes(type))
      .sort((a, b) => (a.type < b.type ? -1 : 1)),
  };
}

/** Everything of ours; conditions of others stay, since they are merged by type. */
function statusPatch(
  known: PodStatus | undefined,
  sent: PodStatus | undefined,
  status: PodStatus,
): Record<string, unknown> {
  const patch: Record<string, unknown> = { ...status };
  for (const field of ["message", "reason", "podIP"] as const) {
    if (status[field] === undefined && (sent?.[field] ?? known?.[field]) !== undefined) patch[field] = null;
  }
  patch.conditions = (status.conditions ?? []).map((condition: PodCondition) => ({
    ...condition,
    reason: condition.reason ?? null,
    message: condition.message ?? null,
  }));
  const ips = (status.podIPs ?? []).map(({ ip }) => ip);
  const stale = [...(sent?.podIPs ?? []), ...(known?.podIPs ?? [])].some(({ ip }) => !ips.includes(ip));
  if (stale) patch.podIPs = [...(status.podIPs ?? []), { $patch: "replace" }];
  return patch;
}

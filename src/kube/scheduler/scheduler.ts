import type { Namespace, Node, PersistentVolumeClaim, Pod } from "#api/kube/generated/types.ts";
import { objectKey, ref } from "#api/kube/object.ts";
import type { Clock } from "#base/clock.ts";
import { errorMessage, hasCode } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { TaskGroup } from "#base/task-group.ts";
import { WorkQueue } from "#base/work-queue.ts";
import { EventRecorder, referenceTo } from "#control/event-recorder.ts";
import type { InformerFactory } from "#control/informer-factory.ts";
import type { Informer } from "#control/informer.ts";
import type { KubeClient } from "#kube/client/client.ts";
import { NodeInfo } from "./node-info.ts";
import { schedule } from "./scheduling.ts";

const pods = ref("pods");
const nodes = ref("nodes");
const claims = ref("persistentvolumeclaims");
const namespaces = ref("namespaces");
export const schedulerName = "default-scheduler";
const kind = { apiVersion: "v1", kind: "Pod" };
/** An assumed pod whose binding the informer has not shown by then is given up. */
const assumeMs = 30_000;

export interface SchedulerParts {
  client: KubeClient;
  informers: InformerFactory;
  log: Logger;
  clock: Clock;
  tasks: TaskGroup;
  random?: () => number;
}

const isFinished = (pod: Pod): boolean => pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";

/**
 * Binds pods to nodes. One pod at a time is decided on, so that each decision sees the ones before it;
 * bindings are written in parallel, their pods counted as placed ("assumed") meanwhile.
 */
export class Scheduler {
  readonly #parts: SchedulerParts;
  readonly #pods: Informer<Pod>;
  readonly #nodes: Informer<Node>;
  readonly #claims: Informer<PersistentVolumeClaim>;
  readonly #namespaces: Informer<Namespace>;
  readonly #events: EventRecorder;
  readonly #infos = new Map<string, NodeInfo>();
  /** Pods counted on a node before, or without, the informer's saying so: key → node. */
  readonly #assumed = new Map<string, string>();
  /** Where each counted pod is, so that a change finds it without a search. */
  readonly #placed = new Map<string, string>();
  readonly #queue = new WorkQueue({ baseMs: 1_000, maxMs: 10_000 });
  /** Pods that fitted nowhere; tried again when something changes that could help. */
  readonly #unschedulable = new Set<string>();

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
    this.#pods = parts.informers.informer<Pod>(pods);
    this.#nodes = parts.informers.informer<Node>(nodes);
    this.#claims = parts.informers.informer<PersistentVolumeClaim>(claims);
    this.#namespaces = parts.informers.informer<Namespace>(namespaces);
    this.#events = new EventRecorder({ component: schedulerName }, parts);
    this.#pods.addHandlers({
      add: (pod) => this.#podChanged(pod),
      update: (pod) => this.#podChanged(pod),
      delete: (pod) => this.#podRemoved(pod),
    });
    this.#nodes.addHandlers({
      add: (node) => this.#nodeChanged(node),
      update: (node) => this.#nodeChanged(node),
      delete: (node) => this.#infos.delete(node.metadata?.name as string),
    });
    this.#claims.addHandlers({ add: () => this.#retryAll(), update: () => this.#retryAll() });
  }

  start(): void {
    const { tasks } = this.#parts;
    this.#events.start(tasks);
    tasks.signal.addEventListener("abort", () => this.#queue.close(), { once: true });
    tasks.run("scheduler", async (signal) => {
      await Promise.all([this.#pods.synced, this.#nodes.synced, this.#claims.synced, this.#namespaces.synced]);
      for (;;) {
        if (signal.aborted) return;
        const key = await this.#queue.take();
        if (key === undefined) return;
        try {
          await this.#scheduleOne(key);
        } catch (error) {
          this.#parts.log.warn("A pod could not be scheduled and will be tried again.", {
            pod: key,
            error: errorMessage(error),
          });
          this.#queue.addRateLimited(key);
        } finally {
          this.#queue.done(key);
        }
      }
    });
  }

  #podChanged(pod: Pod): void {
    const key = objectKey(pod);
    const nodeName = pod.spec?.nodeName;
    if (nodeName) {
      this.#assumed.delete(key);
      this.#unschedulable.delete(key);
      this.#queue.forget(key);
      if (isFinished(pod)) this.#unplace(key);
      else this.#place(pod, nodeName);
      return;
    }
    if (
      pod.spec?.schedulerName !== schedulerName ||
      isFinished(pod) ||
      pod.metadata?.deletionTimestamp !== undefined ||
      this.#assumed.has(key)
    )
      return;
    // The condition that we write ourselves must not start the next try.
    if (!this.#unschedulable.has(key)) this.#queue.add(key);
  }

  #podRemoved(pod: Pod): void {
    const key = objectKey(pod);
    this.#assumed.delete(key);
    this.#unschedulable.delete(key);
    this.#queue.forget(key);
    if (this.#unplace(key)) this.#retryAll();
  }

  #nodeChanged(node: Node): void {
    const name = node.metadata?.name as string;
    const info = this.#infos.get(name);
    if (info !== undefined) info.setNode(node);
    else {
      const made = new NodeInfo(node);
      this.#infos.set(name, made);
      for (const [key, at] of this.#placed) {
        const pod = at === name ? this.#pods.get(key) : undefined;
        if (pod !== undefined) made.add(pod);
      }
    }
    this.#retryAll();
  }

  #place(pod: Pod, nodeName: string): void {
    const key = objectKey(pod);
    const before = this.#placed.get(key);
    if (before !== undefined && before !== nodeName) this.#infos.get(before)?.remove(key);
    this.#placed.set(key, nodeName);
    this.#infos.get(nodeName)?.add(pod);
  }

  #unplace(key: string): boolean {
    const at = this.#placed.get(key);
    if (at === undefined) return false;
    this.#placed.delete(key);
    this.#infos.get(at)?.remove(key);
    if (this.#unschedulable.size > 0) this.#retryAll();
    return true;
  }

  #retryAll(): void {
    for (const key of this.#unschedulable) this.#queue.addRateLimited(key);
    this.#unschedulable.clear();
  }

  /** Why a pod must wait before nodes are even looked at, or undefined. */
  #waitsFor(pod: Pod): string | undefined {
    for (const volume of pod.spec?.volumes ?? []) {
      const claimName =
        volume.persistentVolumeClaim?.claimName ??
        (volume.ephemeral === undefined ? undefined : `${pod.metadata?.name}-${volume.name}`);
      if (claimName === undefined) continue;
      const claim = this.#claims.get(`${pod.metadata?.namespace}/${claimName}`);
      if (claim === undefined) return `persistentvolumeclaim "${claimName}" not found`;
      if (claim.metadata?.deletionTimestamp !== undefined)
        return `persistentvolumeclaim "${claimName}" is being deleted`;
      if (claim.status?.phase !== "Bound") return "pod has unbound immediate PersistentVolumeClaims";
    }
    return undefined;
  }

  async #scheduleOne(key: string): Promise<void> {
    const pod = this.#pods.get(key);
    if (
      pod === undefined ||
      pod.spec?.nodeName ||
      pod.metadata?.deletionTimestamp !== undefined ||
      this.#assumed.has(key)
    )
      return;
    const gates = pod.spec?.schedulingGates ?? [];
    if (gates.length > 0) {
      this.#unschedulable.add(key);
      return this.#report(pod, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates", false);
    }
    const all = [...this.#infos.values()];
    const waits = this.#waitsFor(pod);
    if (waits !== undefined)
      return this.#failed(
        pod,
        key,
        `0/${all.length} nodes are available: ${waits}. preemption: 0/${all.length} nodes are available: ${all.length} Preemption is not helpful for scheduling.`,
      );
    const decision = schedule({
      pod,
      nodes: all,
      namespaceLabels: (namespace) => this.#namespaces.get(namespace)?.metadata?.labels,
      random: this.#parts.random ?? Math.random,
    });
    if (decision.node === undefined) return this.#failed(pod, key, decision.message);
    this.#assume(pod, key, decision.node);
    this.#parts.tasks.run(`bind ${key}`, () => this.#bind(pod, key, decision.node));
  }

  #assume(pod: Pod, key: string, node: string): void {
    this.#assumed.set(key, node);
    this.#place(pod, node);
  }

  async #bind(pod: Pod, key: string, node: string): Promise<void> {
    const { name, namespace, uid } = pod.metadata ?? {};
    try {
      const binding = {
        apiVersion: "v1",
        kind: "Binding",
        metadata: { name, namespace, uid },
        target: { apiVersion: "v1", kind: "Node", name: node },
      };
      await this.#parts.client.post(pods, namespace, name as string, "binding", binding);
      this.#events.event(referenceTo(pod, kind), "Normal", "Scheduled", `Successfully assigned ${key} to ${node}`);
      this.#parts.tasks.after(`forget assumed ${key}`, assumeMs, () => this.#expire(key));
    } catch (error) {
      this.#assumed.delete(key);
      this.#unplace(key);
      if (hasCode(error, "not-found", "conflict", "already-exists")) return;
      this.#parts.log.warn("A binding was refused.", { pod: key, node, error: errorMessage(error) });
      this.#queue.addRateLimited(key);
    }
  }

  #expire(key: string): void {
    if (!this.#assumed.delete(key)) return;
    this.#unplace(key);
    this.#queue.add(key);
  }

  async #failed(pod: Pod, key: string, message: string): Promise<void> {
    this.#unschedulable.add(key);
    this.#events.event(referenceTo(pod, kind), "Warning", "FailedScheduling", message);
    await this.#report(pod, "Unschedulable", message, true);
  }

  async #report(pod: Pod, reason: string, message: string, isNews: boolean): Promise<void> {
    const before = pod.status?.conditions?.find((condition) => condition.type === "PodScheduled");
    if (before?.reason === reason && before.message === message) return;
    const lastTransitionTime =
      before?.status === "False" && isNews
        ? before.lastTransitionTime
        : new Date(this.#parts.clock.now()).toISOString().replace(/\.\d+Z$/, "Z");
    const condition = {
      type: "PodScheduled",
      status: "False",
      reason,
      message,
      lastProbeTime: null,
      lastTransitionTime,
    };
    const { name, namespace } = pod.metadata ?? {};
    await this.#parts.client
      .patch(
        pods,
        namespace,
        name as string,
        "application/strategic-merge-patch+json",
        { metadata: { uid: pod.metadata?.uid }, status: { conditions: [condition] } },
        { subresource: "status" },
      )
      .catch((error: unknown) => {
        if (!hasCode(error, "not-found", "conflict")) throw error;
      });
  }
}

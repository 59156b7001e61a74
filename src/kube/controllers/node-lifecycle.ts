import type { Lease, Node, Pod, Taint } from "#api/kube/generated/types.ts";
import { objectKey, ref } from "#api/kube/object.ts";
import { hasCode } from "#base/errors.ts";
import { type EventRecorder, referenceTo } from "#control/event-recorder.ts";
import type { Informer } from "#control/informer.ts";
import { type ControllerParts, apiTime, sameValue, startRecorder } from "./controller-parts.ts";
import { pods } from "./pod-control.ts";
import { tolerationDeadline } from "./taint-eviction.ts";

export const nodes = ref("nodes");
const leases = ref("coordination.k8s.io/v1", "leases");
const monitorMs = 5_000;
/** How long a node may be silent before it counts as unreachable (kube-controller-manager, node-monitor-grace-period). */
const graceMs = 50_000;
const conditionTypes = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

const pressureTaints: readonly [condition: string, status: string, taint: string][] = [
  ["MemoryPressure", "True", "node.kubernetes.io/memory-pressure"],
  ["DiskPressure", "True", "node.kubernetes.io/disk-pressure"],
  ["PIDPressure", "True", "node.kubernetes.io/pid-pressure"],
  ["NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"],
  ["Ready", "False", "node.kubernetes.io/not-ready"],
  ["Ready", "Unknown", "node.kubernetes.io/unreachable"],
];
const ownTaints = new Set([...pressureTaints.map(([, , taint]) => taint), "node.kubernetes.io/unschedulable"]);

const statusOf = (node: Node, type: string): string | undefined =>
  node.status?.conditions?.find((condition) => condition.type === type)?.status;

/** The taints that a node's conditions call for, with those of others kept (nodelifecycle controller). Pure. */
export function desiredTaints(node: Node, addedAt: string): Taint[] {
  const kept = (node.spec?.taints ?? []).filter((taint) => !ownTaints.has(taint.key));
  const wanted: Taint[] = [];
  for (const [condition, status, key] of pressureTaints) {
    if (statusOf(node, condition) !== status) continue;
    wanted.push({ key, effect: "NoSchedule" });
    if (condition === "Ready") wanted.push({ key, effect: "NoExecute" });
  }
  if (node.spec?.unschedulable === true) wanted.push({ key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" });
  for (const taint of wanted) {
    const before = node.spec?.taints?.find((other) => other.key === taint.key && other.effect === taint.effect);
    const timeAdded = before?.timeAdded ?? (taint.effect === "NoExecute" ? addedAt : undefined);
    if (timeAdded !== undefined) taint.timeAdded = timeAdded;
  }
  return [...kept, ...wanted];
}

interface Heartbeat {
  /** What was last read: lease and status. */
  seen: string;
  /** When we saw it change, by our own clock: nodes' clocks are not trusted. */
  at: number;
}

/**
 * Watches nodes' heartbeats: a silent node becomes Unknown, nodes carry the taints of their conditions, and
 * pods that do not tolerate a NoExecute taint are evicted (kubernetes, pkg/controller/nodelifecycle and
 * tainteviction).
 */
export class NodeLifecycleController {
  readonly #parts: ControllerParts;
  readonly #nodes: Informer<Node>;
  readonly #leases: Informer<Lease>;
  readonly #pods: Informer<Pod>;
  readonly #events: EventRecorder;
  readonly #heartbeats = new Map<string, Heartbeat>();

  constructor(parts: ControllerParts) {
    this.#parts = parts;
    this.#nodes = parts.informers.informer<Node>(nodes);
    this.#leases = parts.informers.informer<Lease>(leases, { namespace: "kube-node-lease" });
    this.#pods = parts.informers.informer<Pod>(pods, {
      indexers: { node: (pod) => (pod.spec?.nodeName ? [pod.spec.nodeName] : []) },
    });
    this.#events = startRecorder(parts, "node-controller");
  }

  start(): void {
    const { tasks, clock, log } = this.#parts;
    tasks.run("node lifecycle", async (signal) => {
      await Promise.all([this.#nodes.synced, this.#leases.synced, this.#pods.synced]);
      // A node that becomes ready or is cordoned must not wait for the next round.
      const stop = this.#nodes.addHandlers({
        add: (node) => tasks.run(`taints of ${node.metadata?.name}`, () => this.#syncTaints(node)),
        update: (node) => tasks.run(`taints of ${node.metadata?.name}`, () => this.#syncTaints(node)),
        delete: (node) => this.#heartbeats.delete(node.metadata?.name as string),
      });
      try {
        while (!signal.aborted) {
          for (const node of this.#nodes.list()) {
            try {
              await this.#monitor(node);
              await this.#evict(this.#nodes.get(node.metadata?.name as string) ?? node);
            } catch (error) {
              log.warn("A node could not be looked after.", { node: node.metadata?.name, error });
            }
          }
          await clock.sleep(monitorMs, signal);
        }
      } finally {
        stop();
      }
    });
  }

  async #monitor(node: Node): Promise<void> {
    const name = node.metadata?.name as string;
    const lease = this.#leases.get(`kube-node-lease/${name}`)?.spec?.renewTime ?? "";
    const ready = node.status?.conditions?.find((condition) => condition.type === "Ready");
    const seen = `${lease} ${ready?.lastHeartbeatTime ?? ""}`;
    const before = this.#heartbeats.get(name);
    const now = this.#parts.clock.monotonic();
    if (before === undefined || before.seen !== seen) this.#heartbeats.set(name, { seen, at: now });
    else if (now - before.at > graceMs) await this.#markUnknown(node);
  }

  async #markUnknown(node: Node): Promise<void> {
    if (statusOf(node, "Ready") === "Unknown") return;
    const now = apiTime(this.#parts.clock);
    const others = (node.status?.conditions ?? []).filter((condition) => !conditionTypes.includes(condition.type));
    const unknown = conditionTypes.map((type) => {
      const before = node.status?.conditions?.find((condition) => condition.type === type);
      return {
        type,
        status: "Unknown",
        reason: before === undefined ? "NodeStatusNeverUpdated" : "NodeStatusUnknown",
        message: before === undefined ? "Kubelet never posted node status." : "Kubelet stopped posting node status.",
        lastHeartbeatTime: before?.lastHeartbeatTime ?? node.metadata?.creationTimestamp ?? now,
        lastTransitionTime: now,
      };
    });
    await this.#parts.client.update(
      nodes,
      { ...node, status: { ...node.status, conditions: [...unknown, ...others] } },
      { subresource: "status" },
    );
    this.#events.event(
      referenceTo(node, { apiVersion: "v1", kind: "Node" }),
      "Normal",
      "NodeNotReady",
      `Node ${node.metadata?.name} status is now: NodeNotReady`,
    );
    for (const pod of this.#pods.byIndex("node", node.metadata?.name as string)) await this.#markPodNotReady(pod, now);
  }

  /** Services must stop sending to the pods of a node that does not answer. */
  async #markPodNotReady(pod: Pod, now: string): Promise<void> {
    const conditions = pod.status?.conditions ?? [];
    if (!conditions.some((condition) => condition.type === "Ready" && condition.status === "True")) return;
    const next = conditions.map((condition) =>
      condition.type === "Ready" ? { ...condition, status: "False", lastTransitionTime: now } : condition,
    );
    await this.#parts.client
      .update(pods, { ...pod, status: { ...pod.status, conditions: next } }, { subresource: "status" })
      .catch((error: unknown) => {
        if (!hasCode(error, "not-found", "conflict")) throw error;
      });
  }

  async #syncTaints(node: Node): Promise<void> {
    const taints = desiredTaints(node, apiTime(this.#parts.clock));
    if (sameValue(taints, node.spec?.taints ?? [])) return;
    const patch = {
      metadata: { resourceVersion: node.metadata?.resourceVersion },
      spec: { taints: taints.length === 0 ? null : taints },
    };
    try {
      await this.#parts.client.patch(
        nodes,
        undefined,
        node.metadata?.name as string,
        "application/merge-patch+json",
        patch,
      );
    } catch (error) {
      // A conflict means a newer node is on its way to us.
      if (!hasCode(error, "not-found", "conflict")) throw error;
    }
  }

  async #evict(node: Node): Promise<void> {
    const taints = (node.spec?.taints ?? []).filter((taint) => taint.effect === "NoExecute");
    if (taints.length === 0) return;
    const now = this.#parts.clock.now();
    for (const pod of this.#pods.byIndex("node", node.metadata?.name as string)) {
      if (pod.metadata?.deletionTimestamp !== undefined) continue;
      if (tolerationDeadline(pod, taints, now) > now) continue;
      this.#events.event(
        referenceTo(pod, { apiVersion: "v1", kind: "Pod" }),
        "Normal",
        "TaintManagerEviction",
        `Marking for deletion Pod ${objectKey(pod)}`,
      );
      await this.#parts.client
        .delete(pods, pod.metadata?.namespace, pod.metadata?.name as string)
        .catch((error: unknown) => {
          if (!hasCode(error, "not-found")) throw error;
        });
    }
  }
}

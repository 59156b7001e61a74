import { isDeepStrictEqual } from "node:util";
import type { Lease, Node, NodeCondition } from "#api/kube/generated/types.ts";
import { ref } from "#api/kube/object.ts";
import type { PodRuntime } from "#api/pod-runtime.ts";
import type { Clock } from "#base/clock.ts";
import { errorMessage, hasCode } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { TaskGroup } from "#base/task-group.ts";
import type { EventRecorder } from "#control/event-recorder.ts";
import type { KubeClient } from "#kube/client/client.ts";
import { type NodeHealth, type NodeSpecFacts, nodeObject, nodeStatus } from "./node-status.ts";

const nodes = ref("nodes");
const leases = ref("coordination.k8s.io/v1", "leases");
const leaseNamespace = "kube-node-lease";
const checkMs = 10_000;
const reportMs = 5 * 60_000;
const leaseSeconds = 40;

export interface NodeRegistrationParts {
  client: KubeClient;
  runtime: PodRuntime;
  recorder: EventRecorder;
  clock: Clock;
  log: Logger;
}

/**
 * Keeps the Node object: makes it, reports its status when it changes or every five minutes, and renews its
 * lease every ten seconds, by which the control plane knows that it lives (kubelet, nodestatus and nodelease).
 */
export class NodeRegistration {
  readonly #facts: NodeSpecFacts;
  readonly #parts: NodeRegistrationParts;
  #conditions: NodeCondition[] = [];
  #reported: { status: NonNullable<Node["status"]>; at: number } | undefined;
  #uid: string | undefined;
  #lease: Lease | undefined;
  #onRegistered: (() => void) | undefined;

  constructor(facts: NodeSpecFacts, parts: NodeRegistrationParts) {
    this.#facts = facts;
    this.#parts = parts;
  }

  /** `onRegistered` is called when the node has reported its status for the first time. */
  start(tasks: TaskGroup, onRegistered?: () => void): void {
    this.#onRegistered = onRegistered;
    tasks.run("node status", (signal) => this.#loop("node status", signal, () => this.#report()));
    tasks.run("node lease", (signal) => this.#loop("node lease", signal, () => this.#renew()));
  }

  /** Looks at once, not only at the next turn: something about the node may have changed. */
  async report(): Promise<void> {
    await this.#report();
  }

  async #loop(what: string, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    const { clock, log } = this.#parts;
    let failures = 0;
    while (!signal.aborted) {
      try {
        await work();
        failures = 0;
      } catch (error) {
        failures++;
        log.debug("The control plane could not be told.", { what, error: errorMessage(error) });
      }
      await clock.sleep(failures === 0 ? checkMs : Math.min(200 * 2 ** failures, 7_000), signal);
    }
  }

  async #health(): Promise<NodeHealth> {
    let notReadyReason: string | undefined;
    try {
      notReadyReason = await this.#parts.runtime.notReadyReason();
    } catch (error) {
      notReadyReason = `container runtime is down: ${errorMessage(error)}`;
    }
    return { notReadyReason, memoryPressure: false, diskPressure: false, pidPressure: false };
  }

  async #report(): Promise<void> {
    const { client, runtime, clock } = this.#parts;
    const [health, version, images] = await Promise.all([this.#health(), runtime.version(), runtime.listImages()]);
    if (this.#uid === undefined) await this.#register();
    const status = nodeStatus(this.#facts, health, version, images, this.#conditions, clock.now());
    const same =
      this.#reported !== undefined &&
      isDeepStrictEqual(withoutHeartbeat(status), withoutHeartbeat(this.#reported.status));
    if (same && clock.monotonic() - (this.#reported?.at ?? 0) < reportMs) return;
    try {
      await client.patch<Node>(
        nodes,
        undefined,
        this.#facts.nodeName,
        "application/strategic-merge-patch+json",
        { status },
        { subresource: "status" },
      );
    } catch (error) {
      if (hasCode(error, "not-found")) this.#uid = undefined;
      throw error;
    }
    this.#tellTransition(status.conditions ?? []);
    this.#conditions = status.conditions ?? [];
    this.#reported = { status, at: clock.monotonic() };
    this.#onRegistered?.();
    this.#onRegistered = undefined;
  }

  #tellTransition(next: NodeCondition[]): void {
    const { recorder } = this.#parts;
    const was = this.#conditions.find(({ type }) => type === "Ready")?.status;
    const is = next.find(({ type }) => type === "Ready")?.status;
    if (was === is) return;
    const name = this.#facts.nodeName;
    const reason = is === "True" ? "NodeReady" : "NodeNotReady";
    recorder.event({ kind: "Node", name, uid: name }, "Normal", reason, `Node ${name} status is now: ${reason}`);
  }

  /** Makes the Node, or brings the labels of one that is there up to date. */
  async #register(): Promise<void> {
    const { client, log } = this.#parts;
    const wanted = nodeObject(this.#facts);
    try {
      const made = await client.create<Node>(nodes, wanted);
      this.#uid = made.metadata?.uid;
      log.info("Registered the node.", { node: this.#facts.nodeName });
    } catch (error) {
      if (!hasCode(error, "already-exists")) throw error;
      const there = await client.get<Node>(nodes, undefined, this.#facts.nodeName);
      this.#conditions = there.status?.conditions ?? [];
      const labels = Object.entries(wanted.metadata?.labels ?? {}).filter(
        ([key, value]) => there.metadata?.labels?.[key] !== value,
      );
      const patch: Record<string, unknown> = {};
      if (labels.length > 0) patch.metadata = { labels: Object.fromEntries(labels) };
      if (there.spec?.podCIDR === undefined && wanted.spec?.podCIDR !== undefined) patch.spec = wanted.spec;
      if (Object.keys(patch).length > 0) {
        await client.patch<Node>(
          nodes,
          undefined,
          this.#facts.nodeName,
          "application/strategic-merge-patch+json",
          patch,
        );
      }
      this.#uid = there.metadata?.uid;
    }
    this.#lease = undefined;
    this.#reported = undefined;
  }

  async #renew(): Promise<void> {
    const { client, clock } = this.#parts;
    const renewTime = new Date(clock.now()).toISOString().replace("Z", "000Z");
    const spec = { holderIdentity: this.#facts.nodeName, leaseDurationSeconds: leaseSeconds, renewTime };
    try {
      if (this.#lease === undefined) this.#lease = await this.#findLease(spec);
      this.#lease = await client.update<Lease>(leases, { ...this.#lease, spec: { ...this.#lease.spec, ...spec } });
    } catch (error) {
      this.#lease = undefined;
      throw error;
    }
  }

  async #findLease(spec: NonNullable<Lease["spec"]>): Promise<Lease> {
    const { client } = this.#parts;
    const name = this.#facts.nodeName;
    try {
      return await client.get<Lease>(leases, leaseNamespace, name);
    } catch (error) {
      if (!hasCode(error, "not-found")) throw error;
    }
    const ownerReferences =
      this.#uid === undefined ? undefined : [{ apiVersion: "v1", kind: "Node", name, uid: this.#uid }];
    return client.create<Lease>(leases, {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: { name, namespace: leaseNamespace, ...(ownerReferences === undefined ? {} : { ownerReferences }) },
      spec,
    });
  }
}

function withoutHeartbeat(status: NonNullable<Node["status"]>): unknown {
  return { ...status, conditions: status.conditions?.map((condition) => ({ ...condition, lastHeartbeatTime: "" })) };
}

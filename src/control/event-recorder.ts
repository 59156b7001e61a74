import { type KubeObject, type ObjectMeta, ref } from "#api/kube/object.ts";
import { AsyncQueue } from "#base/async-queue.ts";
import type { Clock } from "#base/clock.ts";
import { errorMessage, hasCode } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { TaskGroup } from "#base/task-group.ts";
import { EventCorrelator } from "./event-correlator.ts";
import type { EventSink } from "./kube-access.ts";

export interface ObjectReference {
  apiVersion?: string;
  kind?: string;
  namespace?: string;
  name?: string;
  uid?: string;
  resourceVersion?: string;
  /** `spec.containers{web}`: shown by `kubectl describe` and in SUBOBJECT. */
  fieldPath?: string;
}

export interface CoreEvent extends KubeObject {
  metadata: ObjectMeta;
  involvedObject: ObjectReference;
  reason: string;
  message: string;
  source: { component: string; host?: string };
  firstTimestamp: string;
  lastTimestamp: string;
  count: number;
  type: "Normal" | "Warning";
  eventTime: null;
  reportingComponent: string;
  reportingInstance: string;
}

export interface EventRecorderOptions {
  /** `kubelet`, `deployment-controller`, `default-scheduler`… */
  component: string;
  /** The node's name, for node-level sources. */
  host?: string;
}

export interface EventRecorderParts {
  client: EventSink;
  clock: Clock;
  log: Logger;
}

/** `apiVersion` and `kind` of an object that does not carry them are given by the caller. */
export function referenceTo(object: KubeObject, kind?: { apiVersion: string; kind: string }): ObjectReference {
  return {
    apiVersion: object.apiVersion ?? kind?.apiVersion,
    kind: object.kind ?? kind?.kind,
    namespace: object.metadata?.namespace,
    name: object.metadata?.name,
    uid: object.metadata?.uid,
    resourceVersion: object.metadata?.resourceVersion,
  };
}

const events = ref("events");
const maxQueued = 1000;
const maxTries = 12;
const retryMs = 10_000;

interface Pending {
  key: string;
  event: CoreEvent;
  repeat: boolean;
}

/**
 * Writes core/v1 Events in the background and in order. An event that happens again raises the count of the
 * one that is there (client-go, tools/record). Recording never fails and never waits.
 */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #parts: EventRecorderParts;
  readonly #correlator: EventCorrelator;
  readonly #queue = new AsyncQueue<Pending>(maxQueued);
  /** The last written form of an event, by correlation key. */
  readonly #written = new Map<string, CoreEvent>();
  #stamp = 0;

  constructor(options: EventRecorderOptions, parts: EventRecorderParts) {
    this.#options = options;
    this.#parts = parts;
    this.#correlator = new EventCorrelator(parts.clock);
  }

  /** Starts writing; ends with the group. What was recorded before is written then. */
  start(tasks: TaskGroup): void {
    tasks.signal.addEventListener("abort", () => this.#queue.end(), { once: true });
    tasks.run(`events of ${this.#options.component}`, async (signal) => {
      for await (const pending of this.#queue) await this.#write(pending, signal);
    });
  }

  /** Records that something happened to `about`. `reason` is one word in CamelCase, `message` for people. */
  event(about: ObjectReference, type: "Normal" | "Warning", reason: string, message: string): void {
    const { component, host = "" } = this.#options;
    const object = [about.kind, about.namespace, about.name, about.uid, about.fieldPath].join("/");
    const outcome = this.#correlator.correlate({ component, host, object, type, reason, message });
    if (outcome.action === "drop") return;
    const ms = this.#parts.clock.now();
    const now = new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
    // Names end in nanoseconds; two within a millisecond must differ.
    this.#stamp = Math.max(ms * 1000, this.#stamp + 1);
    const name = `${about.name}.${(BigInt(this.#stamp) * 1000n).toString(16)}`;
    const namespace = about.namespace || "default";
    const event: CoreEvent = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name, namespace },
      involvedObject: about,
      reason,
      message: outcome.message,
      source: host === "" ? { component } : { component, host },
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
      type,
      eventTime: null,
      reportingComponent: component,
      reportingInstance: host,
    };
    if (!this.#queue.push({ key: outcome.key, event, repeat: outcome.action === "repeat" })) {
      this.#parts.log.debug("An event was dropped: too many are waiting.", { reason, object });
    }
  }

  async #write(pending: Pending, signal: AbortSignal): Promise<void> {
    const { client, clock, log } = this.#parts;
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        await this.#writeOnce(client, pending);
        return;
      } catch (error) {
        const temporary = hasCode(error, "unavailable", "timeout", "internal", "exhausted");
        if (!temporary || attempt === maxTries) {
          // A namespace that is going away takes no new events: that is no news.
          log.debug("An event could not be written.", { reason: pending.event.reason, error: errorMessage(error) });
          this.#correlator.forget(pending.key);
          return;
        }
        await clock.sleep(retryMs * (attempt === 1 ? Math.random() : 1), signal).catch(() => {});
      }
    }
  }

  async #writeOnce(client: EventSink, { key, event, repeat }: Pending): Promise<void> {
    const before = repeat ? this.#written.get(key) : undefined;
    if (before !== undefined) {
      const next: CoreEvent = {
        ...before,
        count: before.count + 1,
        lastTimestamp: event.lastTimestamp,
        message: event.message,
      };
      try {
        await client.patch(
          events,
          before.metadata.namespace,
          before.metadata.name as string,
          "application/strategic-merge-patch+json",
          { count: next.count, lastTimestamp: next.lastTimestamp, message: next.message },
        );
        this.#remember(key, next);
        return;
      } catch (error) {
        if (!hasCode(error, "not-found")) throw error;
        event.count = next.count;
        event.firstTimestamp = before.firstTimestamp;
      }
    }
    await client.create(events, event);
    this.#remember(key, event);
  }

  #remember(key: string, event: CoreEvent): void {
    this.#written.delete(key);
    this.#written.set(key, event);
    if (this.#written.size > 4096) this.#written.delete(this.#written.keys().next().value as string);
  }
}

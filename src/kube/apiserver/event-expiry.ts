import type { Clock } from "#base/clock.ts";
import { hasCode } from "#base/errors.ts";
import type { TaskGroup } from "#base/task-group.ts";
import type { KubeObject } from "#api/kube/object.ts";
import { contextFor } from "./request-context.ts";
import type { ResourceStore } from "./resource-store.ts";
import type { ResourceHandle } from "./resource-type.ts";
import { loopbackUser } from "./user.ts";

/** Events live for an hour after they were last written (upstream's `--event-ttl`). */
export const eventTtlMs = 3600_000;

interface Event extends KubeObject {
  lastTimestamp?: string | null;
  eventTime?: string | null;
  series?: { lastObservedTime?: string };
}

function lastSeen(object: KubeObject): number {
  const { lastTimestamp, eventTime, series, metadata } = object as Event;
  const times = [lastTimestamp, eventTime, series?.lastObservedTime, metadata?.creationTimestamp];
  return Math.max(...times.map((time) => (time ? Date.parse(time) : 0)));
}

/** Removes events whose time is over, once a minute. */
export function expireEvents(tasks: TaskGroup, events: ResourceHandle, store: ResourceStore, clock: Clock): void {
  tasks.every("event expiry", 60_000, async (signal) => {
    await events.cache.ready();
    const over = events.cache.list("").filter(({ object }) => lastSeen(object) + eventTtlMs < clock.now());
    for (const { namespace, name } of over) {
      if (signal.aborted) return;
      try {
        await store.delete(events, namespace, name, {}, contextFor(loopbackUser));
      } catch (error) {
        if (!hasCode(error, "not-found", "conflict")) throw error;
      }
    }
  });
}

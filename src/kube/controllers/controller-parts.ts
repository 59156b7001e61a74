import type { KubeObject, OwnerReference } from "#api/kube/object.ts";
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { TaskGroup } from "#base/task-group.ts";
import { EventRecorder } from "#control/event-recorder.ts";
import type { InformerFactory } from "#control/informer-factory.ts";
import type { KubeClient } from "#kube/client/client.ts";

/** What every controller of this folder is given. */
export interface ControllerParts {
  client: KubeClient;
  informers: InformerFactory;
  log: Logger;
  clock: Clock;
  /** Owns the controller's workers. */
  tasks: TaskGroup;
}

/** A recorder of events that writes as `component`, started in the controller's group. */
export function startRecorder(parts: ControllerParts, component: string): EventRecorder {
  const recorder = new EventRecorder({ component }, parts);
  recorder.start(parts.tasks);
  return recorder;
}

/** The owner that manages an object, if any (meta/v1.GetControllerOf). */
export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata?.ownerReferences?.find((owner) => owner.controller === true);
}

/** A controlling owner reference to `owner` (meta/v1.NewControllerRef). */
export function controllerReference(owner: KubeObject, apiVersion: string, kind: string): OwnerReference {
  return {
    apiVersion,
    kind,
    name: owner.metadata?.name as string,
    uid: owner.metadata?.uid as string,
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** The time as the API writes it: RFC 3339, whole seconds. */
export function apiTime(clock: Clock): string {
  return new Date(clock.now()).toISOString().replace(/\.\d+Z$/, "Z");
}

/** True when two API values are the same JSON, whatever the order of keys. Absent and undefined are alike. */
export function sameValue(left: unknown, right: unknown): boolean {
  if (left === right) return true;
  if (typeof left !== "object" || typeof right !== "object" || left === null || right === null) return false;
  if (Array.isArray(left)) {
    return Array.isArray(right) && left.length === right.length && left.every((item, at) => sameValue(item, right[at]));
  }
  if (Array.isArray(right)) return false;
  const a = left as Record<string, unknown>;
  const b = right as Record<string, unknown>;
  for (const key in a) if (!sameValue(a[key], b[key])) return false;
  for (const key in b) if (a[key] === undefined && b[key] !== undefined) return false;
  return true;
}

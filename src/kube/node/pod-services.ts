import type { PodRuntime } from "#api/pod-runtime.ts";
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { TaskGroup } from "#base/task-group.ts";
import type { EventRecorder, ObjectReference } from "#control/event-recorder.ts";
import type { Backoff } from "./backoff.ts";
import type { DownwardFacts } from "./downward.ts";
import type { ImagePuller } from "./image-puller.ts";
import type { LogLinks } from "./log-links.ts";
import type { AdmissionFacts } from "./pod-admission.ts";
import type { Container, Pod, Service } from "./pod-types.ts";
import type { RuntimeView } from "./runtime-view.ts";
import type { SandboxFacts } from "./sandbox-config.ts";
import type { StatusManager } from "./status-manager.ts";
import type { ObjectTracker } from "./volumes/object-tracker.ts";
import type { TokenSource } from "./volumes/token-source.ts";
import type { PodUserNamespaces } from "./user-namespaces.ts";
import type { VolumeStore } from "./volumes/volume-store.ts";

/** What all pod workers of a node share. */
export interface PodServices {
  runtime: PodRuntime;
  view: RuntimeView;
  volumes: VolumeStore;
  userNamespaces: PodUserNamespaces;
  objects: ObjectTracker;
  tokens: TokenSource;
  images: ImagePuller;
  logLinks: LogLinks;
  statuses: StatusManager;
  recorder: EventRecorder;
  crashes: Backoff;
  clock: Clock;
  log: Logger;
  tasks: TaskGroup;
  /** Services of a namespace, for environment variables. */
  services(namespace: string): Service[];
  /** Resolves when all services are known. */
  servicesSynced: Promise<void>;
  sandbox: SandboxFacts;
  node: Omit<DownwardFacts, "podIps">;
  nodeMemoryBytes: number;
  admission: AdmissionFacts;
  seccompRoot: string;
}

/** What an event about a pod points at. */
export function podReference(pod: Pod, container?: Container): ObjectReference {
  const { name, namespace, uid, resourceVersion } = pod.metadata ?? {};
  return {
    apiVersion: "v1",
    kind: "Pod",
    name,
    namespace,
    uid,
    resourceVersion,
    ...(container === undefined ? {} : { fieldPath: fieldPath(pod, container) }),
  };
}

function fieldPath(pod: Pod, container: Container): string {
  const named = (one: Container): boolean => one.name === container.name;
  if (pod.spec?.initContainers?.some(named)) return `spec.initContainers{${container.name}}`;
  if (pod.spec?.ephemeralContainers?.some(named)) return `spec.ephemeralContainers{${container.name}}`;
  return `spec.containers{${container.name}}`;
}

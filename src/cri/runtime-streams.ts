import type { PodRuntime, RuntimeEvent } from "#api/pod-runtime.ts";
import type { Clock } from "#base/clock.ts";
import type { Handlers, RuntimeRequests } from "./messages.ts";
import { containerStatusMessage, nanoseconds, sandboxStatusMessage } from "./status-messages.ts";

const eventTypes: Partial<Record<RuntimeEvent["type"], string>> = {
  "container-created": "CONTAINER_CREATED_EVENT",
  "container-started": "CONTAINER_STARTED_EVENT",
  "container-exited": "CONTAINER_STOPPED_EVENT",
  "container-removed": "CONTAINER_DELETED_EVENT",
};

async function eventMessage(event: RuntimeEvent, runtime: PodRuntime, now: number): Promise<object | undefined> {
  const type = eventTypes[event.type];
  if (type === undefined || event.containerId === undefined) return undefined;
  const sandbox = await runtime.podSandboxStatus(event.sandboxId).catch(() => undefined);
  const containers = (await runtime.listContainers()).filter(({ sandboxId }) => sandboxId === event.sandboxId);
  return {
    containerId: event.containerId,
    containerEventType: type,
    createdAt: nanoseconds(now),
    ...(sandbox === undefined ? {} : { podSandboxStatus: sandboxStatusMessage(sandbox) }),
    containersStatuses: containers.map(containerStatusMessage),
  };
}

/** The streaming methods: lists in one message each, and events. */
export function runtimeStreams(handlers: Handlers<RuntimeRequests>, parts: { runtime: PodRuntime; clock: Clock }) {
  const { runtime, clock } = parts;
  return {
    async *StreamPodSandboxes(request: RuntimeRequests["ListPodSandbox"]) {
      const { items } = (await handlers.ListPodSandbox(request)) as { items: object[] };
      yield { podSandboxes: items };
    },
    async *StreamContainers(request: RuntimeRequests["ListContainers"]) {
      yield await handlers.ListContainers(request);
    },
    async *StreamContainerStats(request: RuntimeRequests["ListContainerStats"]) {
      const { stats } = (await handlers.ListContainerStats(request)) as { stats: object[] };
      yield { containerStats: stats };
    },
    async *StreamPodSandboxStats(request: RuntimeRequests["ListPodSandboxStats"]) {
      const { stats } = (await handlers.ListPodSandboxStats(request)) as { stats: object[] };
      yield { podSandboxStats: stats };
    },
    async *StreamPodSandboxMetrics(request: RuntimeRequests["ListPodSandboxMetrics"]) {
      const { podMetrics } = (await handlers.ListPodSandboxMetrics(request)) as { podMetrics: object[] };
      yield { podSandboxMetrics: podMetrics };
    },
    async *GetContainerEvents(_request: object, signal: AbortSignal) {
      for await (const event of runtime.events(signal)) {
        const message = await eventMessage(event, runtime, clock.now());
        if (message !== undefined) yield message;
      }
    },
  };
}

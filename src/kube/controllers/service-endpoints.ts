import type { Pod, Service, ServicePort } from "#api/kube/generated/types.ts";
import { isReady } from "./pod-state.ts";

/** One backend of a service, before it is put into slices. */
export interface Backend {
  pod: Pod;
  address: string;
  ready: boolean;
  serving: boolean;
  terminating: boolean;
}

export interface BackendPort {
  name: string;
  port: number;
  protocol: "TCP" | "UDP" | "SCTP";
  appProtocol?: string;
}

/** Backends that share the same resolved ports (a named target port may differ from pod to pod). */
export interface BackendGroup {
  ports: BackendPort[];
  backends: Backend[];
}

/** A target port as a number for one pod, or undefined when the pod has no port of that name (podutil.FindPort). */
export function resolveTargetPort(pod: Pod, port: ServicePort): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === "number") return target === 0 ? port.port : target;
  if (target === "") return port.port;
  const containers = [
    ...(pod.spec?.containers ?? []),
    ...(pod.spec?.initContainers ?? []).filter((container) => container.restartPolicy === "Always"),
  ];
  for (const container of containers) {
    for (const candidate of container.ports ?? []) {
      if (candidate.name === target && (candidate.protocol ?? "TCP") === (port.protocol ?? "TCP"))
        return candidate.containerPort;
    }
  }
  return undefined;
}

function backendOf(pod: Pod, publishNotReady: boolean): Backend | undefined {
  const address = pod.status?.podIP;
  if (!address || pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") return undefined;
  const serving = publishNotReady || isReady(pod);
  const terminating = pod.metadata?.deletionTimestamp !== undefined;
  return { pod, address, serving, terminating, ready: publishNotReady || (serving && !terminating) };
}

/** The backends of a service among the pods that its selector takes, grouped by resolved ports. Pure. */
export function serviceBackends(service: Service, pods: readonly Pod[]): BackendGroup[] {
  const groups = new Map<string, BackendGroup>();
  const publishNotReady = service.spec?.publishNotReadyAddresses === true;
  for (const pod of pods) {
    const backend = backendOf(pod, publishNotReady);
    if (backend === undefined) continue;
    const ports: BackendPort[] = [];
    for (const port of service.spec?.ports ?? []) {
      const number = resolveTargetPort(pod, port);
      if (number === undefined) continue;
      ports.push({
        name: port.name ?? "",
        port: number,
        protocol: port.protocol ?? "TCP",
        ...(port.appProtocol === undefined ? {} : { appProtocol: port.appProtocol }),
      });
    }
    const isHeadlessWithoutPorts = service.spec?.clusterIP === "None" && (service.spec.ports ?? []).length === 0;
    if (ports.length === 0 && !isHeadlessWithoutPorts) continue;
    const key = JSON.stringify(ports);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { ports, backends: [backend] });
    else group.backends.push(backend);
  }
  return [...groups.values()];
}

import type { Endpoint, EndpointSlice, Service } from "#api/kube/generated/types.ts";
import { sameValue } from "./controller-parts.ts";
import type { Backend, BackendGroup, BackendPort } from "./service-endpoints.ts";

export const serviceNameLabel = "kubernetes.io/service-name";
export const managedByLabel = "endpointslice.kubernetes.io/managed-by";
export const manager = "endpointslice-controller.k8s.io";
export const headlessLabel = "service.kubernetes.io/headless";
const maxEndpoints = 100;

export interface SlicePlan {
  create: EndpointSlice[];
  update: EndpointSlice[];
  delete: EndpointSlice[];
}

function endpointOf(backend: Backend): Endpoint {
  const { pod } = backend;
  const { hostname, subdomain } = pod.spec ?? {};
  return {
    addresses: [backend.address],
    conditions: { ready: backend.ready, serving: backend.serving, terminating: backend.terminating },
    ...(hostname !== undefined && subdomain !== undefined ? { hostname } : {}),
    ...(pod.spec?.nodeName ? { nodeName: pod.spec.nodeName } : {}),
    targetRef: {
      kind: "Pod",
      namespace: pod.metadata?.namespace as string,
      name: pod.metadata?.name as string,
      uid: pod.metadata?.uid as string,
    },
  };
}

function addressType(address: string): "IPv4" | "IPv6" {
  return address.includes(":") ? "IPv6" : "IPv4";
}

const portsKey = (type: string, ports: readonly Partial<BackendPort>[]): string =>
  `${type}${JSON.stringify(ports.map(({ name = "", port, protocol = "TCP", appProtocol }) => [name, port, protocol, appProtocol]))}`;

function labelsOf(service: Service): Record<string, string> {
  return {
    ...service.metadata?.labels,
    [serviceNameLabel]: service.metadata?.name as string,
    [managedByLabel]: manager,
    ...(service.spec?.clusterIP === "None" ? { [headlessLabel]: "" } : {}),
  };
}

function newSlice(service: Service, type: "IPv4" | "IPv6", ports: BackendPort[], endpoints: Endpoint[]): EndpointSlice {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      generateName: `${(service.metadata?.name ?? "").slice(0, 240)}-`,
      namespace: service.metadata?.namespace as string,
      labels: labelsOf(service),
      ownerReferences: [
        {
          apiVersion: "v1",
          kind: "Service",
          name: service.metadata?.name as string,
          uid: service.metadata?.uid as string,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    addressType: type,
    ports,
    endpoints,
  };
}

/**
 * What to write so that a service's slices hold its backends: endpoints stay in the slice that they are in,
 * new ones fill gaps first, a slice holds 100 at most. A service without backends keeps one empty slice.
 * Pure.
 */
export function planSlices(
  service: Service,
  groups: readonly BackendGroup[],
  existing: readonly EndpointSlice[],
): SlicePlan {
  const plan: SlicePlan = { create: [], update: [], delete: [] };
  const wanted = new Map<string, { type: "IPv4" | "IPv6"; ports: BackendPort[]; endpoints: Map<string, Endpoint> }>();
  for (const { ports, backends } of groups) {
    for (const backend of backends) {
      const type = addressType(backend.address);
      const key = portsKey(type, ports);
      let entry = wanted.get(key);
      if (entry === undefined) wanted.set(key, (entry = { type, ports, endpoints: new Map() }));
      entry.endpoints.set(`${backend.pod.metadata?.uid}/${backend.address}`, endpointOf(backend));
    }
  }
  if (wanted.size === 0) wanted.set(portsKey("IPv4", []), { type: "IPv4", ports: [], endpoints: new Map() });
  const labels = labelsOf(service);
  const slicesOf = new Map<string, EndpointSlice[]>();
  for (const slice of existing) {
    const key = portsKey(slice.addressType, (slice.ports ?? []) as BackendPort[]);
    if (!wanted.has(key)) plan.delete.push(slice);
    else slicesOf.set(key, [...(slicesOf.get(key) ?? []), slice]);
  }
  for (const [key, { type, ports, endpoints }] of wanted) {
    const left = new Map(endpoints);
    const drafts = (slicesOf.get(key) ?? []).map((slice) => {
      const kept: Endpoint[] = [];
      for (const endpoint of slice.endpoints ?? []) {
        const id = `${endpoint.targetRef?.uid}/${endpoint.addresses[0]}`;
        const next = left.get(id);
        if (next === undefined) continue;
        left.delete(id);
        kept.push(next);
      }
      return { slice, kept };
    });
    const waiting = [...left.values()];
    for (const draft of drafts)
      while (draft.kept.length < maxEndpoints && waiting.length > 0) draft.kept.push(waiting.shift() as Endpoint);
    const keepsOne = drafts.some((draft) => draft.kept.length > 0) || waiting.length > 0;
    for (const [at, { slice, kept }] of drafts.entries()) {
      if (kept.length === 0 && (keepsOne || at > 0)) plan.delete.push(slice);
      else if (!sameValue(slice.endpoints ?? [], kept) || !sameValue(slice.metadata?.labels, labels)) {
        plan.update.push({ ...slice, metadata: { ...slice.metadata, labels }, endpoints: kept });
      }
    }
    while (waiting.length > 0) plan.create.push(newSlice(service, type, ports, waiting.splice(0, maxEndpoints)));
    if (drafts.length === 0 && endpoints.size === 0) plan.create.push(newSlice(service, type, ports, []));
  }
  return plan;
}

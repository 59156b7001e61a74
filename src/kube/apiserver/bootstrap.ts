import { hasCode } from "#base/errors.ts";
import type { KubeObject } from "#api/kube/object.ts";
import { bootstrapPolicy } from "./rbac-bootstrap.ts";
import type { Registry } from "./registry.ts";
import { contextFor } from "./request-context.ts";
import type { ResourceStore } from "./resource-store.ts";
import type { Mutable } from "./resource-type.ts";
import { cidrRange, numberToIp } from "./strategies/address-allocator.ts";
import { loopbackUser } from "./user.ts";

export interface BootstrapOptions {
  serviceCidr: string;
  advertise: { address: string; port: number };
}

const namespaces = ["kube-system", "default", "kube-public", "kube-node-lease"];
const priorityClasses: [string, number, string][] = [
  [
    "system-node-critical",
    2_000_001_000,
    "Used for system critical pods that must not be moved from their current node.",
  ],
  [
    "system-cluster-critical",
    2_000_000_000,
    "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
  ],
];

/** Makes the objects that every cluster has, where they are missing. Runs at every start. */
export async function bootstrapObjects(
  registry: Registry,
  store: ResourceStore,
  options: BootstrapOptions,
): Promise<void> {
  const context = contextFor(loopbackUser);
  const ensure = async (resource: string, object: KubeObject): Promise<void> => {
    const handle = registry.handle(resource);
    await handle.cache.ready();
    const namespace = object.metadata?.namespace ?? "";
    if (handle.cache.get(handle.cache.keyOf(namespace, object.metadata?.name ?? "")) !== undefined) return;
    try {
      await store.create(handle, namespace, object as Mutable, context);
    } catch (error) {
      if (!hasCode(error, "already-exists")) throw error;
    }
  };
  const { roles, bindings } = bootstrapPolicy();
  // All at once: the store writes them in one commit.
  await Promise.all([
    ...namespaces.map((name) => ensure("/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name } })),
    ...roles.map((role) => ensure("rbac.authorization.k8s.io/clusterroles", role)),
    ...bindings.map((binding) => ensure("rbac.authorization.k8s.io/clusterrolebindings", binding)),
    ...priorityClasses.map(([name, value, description]) =>
      ensure("scheduling.k8s.io/priorityclasses", {
        apiVersion: "scheduling.k8s.io/v1",
        kind: "PriorityClass",
        metadata: { name },
        value,
        description,
        preemptionPolicy: "PreemptLowerPriority",
      } as KubeObject),
    ),
  ]);
  await ensure("/services", kubernetesService(options.serviceCidr));
  await ensureEndpoints(registry, store, options);
}

function kubernetesService(serviceCidr: string): KubeObject {
  const clusterIP = numberToIp(cidrRange(serviceCidr).base + 1);
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "kubernetes", namespace: "default", labels: { component: "apiserver", provider: "kubernetes" } },
    spec: {
      type: "ClusterIP",
      clusterIP,
      clusterIPs: [clusterIP],
      ports: [{ name: "https", port: 443, protocol: "TCP", targetPort: 6443 }],
      sessionAffinity: "None",
      internalTrafficPolicy: "Cluster",
    },
  } as KubeObject;
}

/** The API server writes its own endpoints, at every start: the address may be another one. */
async function ensureEndpoints(
  registry: Registry,
  store: ResourceStore,
  { advertise }: BootstrapOptions,
): Promise<void> {
  const context = contextFor(loopbackUser);
  const { address, port } = advertise;
  const write = async (resource: string, object: Mutable): Promise<void> => {
    const handle = registry.handle(resource);
    const name = object.metadata?.name ?? "";
    try {
      await store.update(
        handle,
        "default",
        name,
        (current) => {
          const { metadata, ...rest } = object;
          return {
            ...current,
            ...rest,
            metadata: { ...current?.metadata, labels: { ...current?.metadata?.labels, ...metadata?.labels } },
          } as Mutable;
        },
        context,
      );
    } catch (error) {
      if (!hasCode(error, "not-found")) throw error;
      await store.create(handle, "default", object, context);
    }
  };
  await write("discovery.k8s.io/endpointslices", {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "kubernetes", namespace: "default", labels: { "kubernetes.io/service-name": "kubernetes" } },
    addressType: "IPv4",
    endpoints: [{ addresses: [address], conditions: { ready: true } }],
    ports: [{ name: "https", port, protocol: "TCP" }],
  });
  await write("/endpoints", {
    apiVersion: "v1",
    kind: "Endpoints",
    metadata: {
      name: "kubernetes",
      namespace: "default",
      labels: { "endpointslice.kubernetes.io/skip-mirror": "true" },
    },
    subsets: [{ addresses: [{ ip: address }], ports: [{ name: "https", port, protocol: "TCP" }] }],
  });
}

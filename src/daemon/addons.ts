import { type KubeObject, type ResourceRef, ref } from "#api/kube/object.ts";
import type { Clock } from "#base/clock.ts";
import { errorMessage, hasCode } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { KubeClient } from "#kube/client/client.ts";
import type { InstanceConfig } from "./instance-config.ts";

interface Addon {
  resource: ResourceRef;
  object: KubeObject & Record<string, unknown>;
}

/** What every cluster has from the start: the DNS service, and the rights of the parts on the nodes. */
function addons(config: InstanceConfig): Addon[] {
  const rbac = "rbac.authorization.k8s.io/v1";
  const labels = { "kubernetes.io/bootstrapping": "rbac-defaults" };
  return [
    {
      resource: ref("services"),
      object: {
        apiVersion: "v1",
        kind: "Service",
        metadata: {
          name: "kube-dns",
          namespace: "kube-system",
          labels: { "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS" },
        },
        spec: {
          clusterIP: config.clusterDnsIp,
          ports: [
            { name: "dns", port: 53, protocol: "UDP" },
            { name: "dns-tcp", port: 53, protocol: "TCP" },
          ],
        },
      },
    },
    {
      resource: ref(rbac, "clusterroles"),
      object: {
        apiVersion: rbac,
        kind: "ClusterRole",
        metadata: { name: "system:coredns", labels },
        rules: [
          {
            apiGroups: [""],
            resources: ["services", "pods", "namespaces", "endpoints", "nodes"],
            verbs: ["get", "list", "watch"],
          },
          { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["get", "list", "watch"] },
        ],
      },
    },
    {
      resource: ref(rbac, "clusterrolebindings"),
      object: {
        apiVersion: rbac,
        kind: "ClusterRoleBinding",
        metadata: { name: "system:coredns", labels },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:coredns" },
        subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "system:coredns" }],
      },
    },
  ];
}

/** Creates what is missing of the addons, until it has succeeded once. What is there stays as it is. */
export async function applyAddons(
  config: InstanceConfig,
  client: KubeClient,
  log: Logger,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  for (const { resource, object } of addons(config)) {
    while (!signal.aborted) {
      try {
        await client.create(resource, object);
        break;
      } catch (error) {
        if (hasCode(error, "already-exists")) break;
        log.warn("An addon could not be created and will be tried again.", {
          kind: object.kind,
          name: object.metadata?.name,
          error: errorMessage(error),
        });
        await clock.sleep(1_000, signal);
      }
    }
  }
}

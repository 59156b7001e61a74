/** Defaults of core/v1 kinds other than pods (Kubernetes 1.36). */
import { type DefaultRule, each, type Fields, isEmpty, part, set } from "./rule.ts";

function service(object: Fields): void {
  const spec = part(object, "spec");
  set(spec, "sessionAffinity", "None");
  if (spec["sessionAffinity"] === "None") delete spec["sessionAffinityConfig"];
  if (spec["sessionAffinity"] === "ClientIP") {
    const config = spec["sessionAffinityConfig"] as { clientIP?: { timeoutSeconds?: number } } | undefined;
    if (config?.clientIP?.timeoutSeconds === undefined)
      spec["sessionAffinityConfig"] = { clientIP: { timeoutSeconds: 10800 } };
  }
  set(spec, "type", "ClusterIP");
  for (const port of each(spec, "ports")) {
    set(port, "protocol", "TCP");
    if (port["targetPort"] === undefined || port["targetPort"] === 0 || port["targetPort"] === "")
      port["targetPort"] = port["port"];
  }
  const type = spec["type"];
  const external =
    type === "LoadBalancer" || type === "NodePort" || (type === "ClusterIP" && !isEmpty(spec["externalIPs"]));
  if (external) set(spec, "externalTrafficPolicy", "Cluster");
  if (type === "ClusterIP" || type === "NodePort" || type === "LoadBalancer")
    set(spec, "internalTrafficPolicy", "Cluster");
  if (type === "LoadBalancer") {
    set(spec, "allocateLoadBalancerNodePorts", true);
    const status = (object["status"] as { loadBalancer?: Fields } | undefined)?.loadBalancer;
    if (status !== undefined)
      for (const ingress of each(status, "ingress")) if (ingress["ip"]) set(ingress, "ipMode", "VIP");
  }
}

export const coreDefaults: Record<string, DefaultRule> = {
  "core/v1.Service": service,
  "core/v1.Secret": (object) => set(object, "type", "Opaque"),
  "core/v1.Namespace": (object) => {
    const metadata = part(object, "metadata");
    if (metadata["name"]) part(metadata, "labels")["kubernetes.io/metadata.name"] = metadata["name"];
  },
  "core/v1.NamespaceStatus": (object) => set(object, "phase", "Active"),
  "core/v1.NodeStatus": (object) => {
    if (isEmpty(object["allocatable"]) && !isEmpty(object["capacity"]))
      object["allocatable"] = { ...(object["capacity"] as Fields) };
  },
  "core/v1.ReplicationController": (object) => {
    const spec = part(object, "spec");
    const labels = (spec["template"] as { metadata?: { labels?: Fields } } | undefined)?.metadata?.labels;
    if (labels === undefined) return;
    if (isEmpty(spec["selector"])) spec["selector"] = { ...labels };
    const metadata = part(object, "metadata");
    if (isEmpty(metadata["labels"])) metadata["labels"] = { ...labels };
  },
  "core/v1.PersistentVolume": (object) => {
    set(part(object, "status"), "phase", "Pending");
    const spec = part(object, "spec");
    set(spec, "persistentVolumeReclaimPolicy", "Retain");
    set(spec, "volumeMode", "Filesystem");
  },
  "core/v1.PersistentVolumeClaim": (object) => set(part(object, "status"), "phase", "Pending"),
  "core/v1.PersistentVolumeClaimSpec": (object) => set(object, "volumeMode", "Filesystem"),
  "core/v1.EndpointPort": (object) => set(object, "protocol", "TCP"),
  "core/v1.LimitRangeItem": (object) => {
    if (object["type"] !== "Container") return;
    const limits = { ...(object["max"] as Fields), ...(object["default"] as Fields) };
    const requests = { ...(object["min"] as Fields), ...limits, ...(object["defaultRequest"] as Fields) };
    object["default"] = limits;
    object["defaultRequest"] = requests;
  },
};

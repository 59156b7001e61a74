/**
 * Defaults of the built-in kinds (kubernetes, pkg/apis/<group>/<version>/defaults.go), by `group/Kind`.
 * Objects are in their storage version and are changed in place.
 */
import { defaultPod, defaultTemplate, fieldsOf, type Fields, fill, listOf } from "./pod-defaults.ts";

type Default = (spec: Fields, object: Fields) => void;

const rbacGroup = "rbac.authorization.k8s.io";

function deployment(spec: Fields): void {
  fill(spec, "replicas", 1);
  fill(spec, "strategy", {});
  const strategy = spec["strategy"] as Fields;
  if (!strategy["type"]) strategy["type"] = "RollingUpdate";
  if (strategy["type"] === "RollingUpdate") {
    fill(strategy, "rollingUpdate", {});
    fill(strategy["rollingUpdate"] as Fields, "maxUnavailable", "25%");
    fill(strategy["rollingUpdate"] as Fields, "maxSurge", "25%");
  }
  fill(spec, "revisionHistoryLimit", 10);
  fill(spec, "progressDeadlineSeconds", 600);
  defaultTemplate(spec);
}

function claim(spec: Fields): void {
  fill(spec, "volumeMode", "Filesystem");
}

function statefulSet(spec: Fields): void {
  if (!spec["podManagementPolicy"]) spec["podManagementPolicy"] = "OrderedReady";
  fill(spec, "updateStrategy", {});
  const strategy = spec["updateStrategy"] as Fields;
  if (!strategy["type"]) strategy["type"] = "RollingUpdate";
  if (strategy["type"] === "RollingUpdate") {
    fill(strategy, "rollingUpdate", {});
    fill(strategy["rollingUpdate"] as Fields, "partition", 0);
  }
  fill(spec, "replicas", 1);
  fill(spec, "revisionHistoryLimit", 10);
  fill(spec, "persistentVolumeClaimRetentionPolicy", {});
  const retention = spec["persistentVolumeClaimRetentionPolicy"] as Fields;
  if (!retention["whenDeleted"]) retention["whenDeleted"] = "Retain";
  if (!retention["whenScaled"]) retention["whenScaled"] = "Retain";
  for (const template of listOf(spec["volumeClaimTemplates"])) {
    template["apiVersion"] = "v1";
    template["kind"] = "PersistentVolumeClaim";
    const claimSpec = fieldsOf(template["spec"]);
    if (claimSpec !== undefined) claim(claimSpec);
    template["status"] = { phase: "Pending" };
  }
  defaultTemplate(spec);
}

function daemonSet(spec: Fields): void {
  fill(spec, "updateStrategy", {});
  const strategy = spec["updateStrategy"] as Fields;
  if (!strategy["type"]) strategy["type"] = "RollingUpdate";
  if (strategy["type"] === "RollingUpdate") {
    fill(strategy, "rollingUpdate", {});
    fill(strategy["rollingUpdate"] as Fields, "maxUnavailable", 1);
    fill(strategy["rollingUpdate"] as Fields, "maxSurge", 0);
  }
  fill(spec, "revisionHistoryLimit", 10);
  defaultTemplate(spec);
}

function job(spec: Fields): void {
  if (spec["completions"] === undefined && spec["parallelism"] === undefined) spec["completions"] = 1;
  fill(spec, "parallelism", 1);
  fill(spec, "backoffLimit", spec["backoffLimitPerIndex"] === undefined ? 6 : 2147483647);
  fill(spec, "completionMode", "NonIndexed");
  fill(spec, "suspend", false);
  fill(spec, "manualSelector", false);
  fill(spec, "podReplacementPolicy", spec["podFailurePolicy"] === undefined ? "TerminatingOrFailed" : "Failed");
  for (const rule of listOf(fieldsOf(spec["podFailurePolicy"])?.["rules"]))
    for (const pattern of listOf(rule["onPodConditions"])) if (!pattern["status"]) pattern["status"] = "True";
  defaultTemplate(spec);
}

function service(spec: Fields): void {
  if (!spec["sessionAffinity"]) spec["sessionAffinity"] = "None";
  if (spec["sessionAffinity"] === "None") delete spec["sessionAffinityConfig"];
  if (spec["sessionAffinity"] === "ClientIP") {
    fill(spec, "sessionAffinityConfig", {});
    fill(spec["sessionAffinityConfig"] as Fields, "clientIP", {});
    fill((spec["sessionAffinityConfig"] as Fields)["clientIP"] as Fields, "timeoutSeconds", 10800);
  }
  if (!spec["type"]) spec["type"] = "ClusterIP";
  for (const port of listOf(spec["ports"])) {
    if (!port["protocol"]) port["protocol"] = "TCP";
    if (port["targetPort"] === undefined || port["targetPort"] === 0 || port["targetPort"] === "") port["targetPort"] = port["port"];
  }
  const outside = spec["type"] === "NodePort" || spec["type"] === "LoadBalancer";
  if (outside && !spec["externalTrafficPolicy"])
    spec["externalTrafficPolicy"] = "Cluster";
  if (!outside && !(Array.isArray(spec["externalIPs"]) && spec["externalIPs"].length > 0)) delete spec["externalTrafficPolicy"];
  if (spec["type"] !== "ExternalName") fill(spec, "internalTrafficPolicy", "Cluster");
  if (spec["type"] === "LoadBalancer") fill(spec, "allocateLoadBalancerNodePorts", true);
  else delete spec["allocateLoadBalancerNodePorts"];
}

function networkPolicy(spec: Fields): void {
  if (spec["podSelector"] === undefined) spec["podSelector"] = {};
  if (!Array.isArray(spec["policyTypes"]) || spec["policyTypes"].length === 0)
    spec["policyTypes"] = Array.isArray(spec["egress"]) && spec["egress"].length > 0 ? ["Ingress", "Egress"] : ["Ingress"];
  for (const rule of [...listOf(spec["ingress"]), ...listOf(spec["egress"])])
    for (const port of listOf(rule["ports"])) fill(port, "protocol", "TCP");
}

function binding(_spec: Fields, object: Fields): void {
  const role = fieldsOf(object["roleRef"]);
  if (role !== undefined && !role["apiGroup"]) role["apiGroup"] = rbacGroup;
  for (const subject of listOf(object["subjects"]))
    if (!subject["apiGroup"] && (subject["kind"] === "User" || subject["kind"] === "Group")) subject["apiGroup"] = rbacGroup;
}

function webhooks(mutating: boolean): Default {
  return (_spec, object) => {
    for (const webhook of listOf(object["webhooks"])) {
      fill(webhook, "failurePolicy", "Fail");
      fill(webhook, "matchPolicy", "Equivalent");
      fill(webhook, "namespaceSelector", {});
      fill(webhook, "objectSelector", {});
      fill(webhook, "timeoutSeconds", 10);
      if (mutating) fill(webhook, "reinvocationPolicy", "Never");
      for (const rule of listOf(webhook["rules"])) fill(rule, "scope", "*");
      const target = fieldsOf(fieldsOf(webhook["clientConfig"])?.["service"]);
      if (target !== undefined) fill(target, "port", 443);
    }
  };
}

function admissionPolicy(spec: Fields): void {
  fill(spec, "failurePolicy", "Fail");
  const match = fieldsOf(spec["matchConstraints"]);
  if (match !== undefined) matchResources(match);
}

function matchResources(match: Fields): void {
  fill(match, "matchPolicy", "Equivalent");
  fill(match, "namespaceSelector", {});
  fill(match, "objectSelector", {});
  for (const rule of [...listOf(match["resourceRules"]), ...listOf(match["excludeResourceRules"])]) fill(rule, "scope", "*");
}

function autoscaler(spec: Fields): void {
  fill(spec, "minReplicas", 1);
  if (listOf(spec["metrics"]).length === 0)
    spec["metrics"] = [{ type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 80 } } }];
  const behavior = fieldsOf(spec["behavior"]);
  if (behavior === undefined) return;
  const rules = (name: "scaleUp" | "scaleDown", presets: Fields): void => {
    fill(behavior, name, {});
    for (const [field, value] of Object.entries(presets)) fill(behavior[name] as Fields, field, value);
  };
  rules("scaleUp", {
    stabilizationWindowSeconds: 0,
    selectPolicy: "Max",
    policies: [
      { type: "Pods", value: 4, periodSeconds: 15 },
      { type: "Percent", value: 100, periodSeconds: 15 },
    ],
  });
  rules("scaleDown", { selectPolicy: "Max", policies: [{ type: "Percent", value: 100, periodSeconds: 15 }] });
}

function customResourceDefinition(spec: Fields): void {
  const names = fieldsOf(spec["names"]);
  if (names !== undefined) {
    const kind = String(names["kind"] ?? "");
    if (!names["singular"]) names["singular"] = kind.toLowerCase();
    if (!names["listKind"] && kind !== "") names["listKind"] = `${kind}List`;
  }
  fill(spec, "conversion", { strategy: "None" });
  const target = fieldsOf(fieldsOf(fieldsOf(fieldsOf(spec["conversion"])?.["webhook"])?.["clientConfig"])?.["service"]);
  if (target !== undefined) fill(target, "port", 443);
}

function limitRange(spec: Fields): void {
  for (const item of listOf(spec["limits"])) {
    if (item["type"] !== "Container") continue;
    const max = fieldsOf(item["max"]) ?? {};
    const preset = { ...max, ...fieldsOf(item["default"]) };
    if (Object.keys(preset).length > 0) item["default"] = preset;
    const request = { ...fieldsOf(item["min"]), ...preset, ...fieldsOf(item["defaultRequest"]) };
    if (Object.keys(request).length > 0) item["defaultRequest"] = request;
  }
}

const byKind: Record<string, Default> = {
  "/Pod": (_spec, object) => defaultPod(object),
  "/PodTemplate": (_spec, object) => defaultTemplate(object),
  "/Service": service,
  "/ReplicationController": (spec) => {
    fill(spec, "replicas", 1);
    const labels = fieldsOf(fieldsOf(fieldsOf(spec["template"])?.["metadata"])?.["labels"]);
    if (labels !== undefined && Object.keys(fieldsOf(spec["selector"]) ?? {}).length === 0) spec["selector"] = { ...labels };
    defaultTemplate(spec);
  },
  "/Secret": (_spec, object) => {
    if (!object["type"]) object["type"] = "Opaque";
  },
  "/Endpoints": (_spec, object) => {
    for (const subset of listOf(object["subsets"])) for (const port of listOf(subset["ports"])) if (!port["protocol"]) port["protocol"] = "TCP";
  },
  "/PersistentVolume": (spec) => {
    if (!spec["persistentVolumeReclaimPolicy"]) spec["persistentVolumeReclaimPolicy"] = "Retain";
    fill(spec, "volumeMode", "Filesystem");
    const hostPath = fieldsOf(spec["hostPath"]);
    if (hostPath !== undefined) fill(hostPath, "type", "");
  },
  "/PersistentVolumeClaim": claim,
  "/LimitRange": limitRange,
  "apps/Deployment": deployment,
  "apps/ReplicaSet": (spec) => {
    fill(spec, "replicas", 1);
    defaultTemplate(spec);
  },
  "apps/StatefulSet": statefulSet,
  "apps/DaemonSet": daemonSet,
  "batch/Job": job,
  "batch/CronJob": (spec) => {
    if (!spec["concurrencyPolicy"]) spec["concurrencyPolicy"] = "Allow";
    fill(spec, "suspend", false);
    fill(spec, "successfulJobsHistoryLimit", 3);
    fill(spec, "failedJobsHistoryLimit", 1);
    const jobSpec = fieldsOf(fieldsOf(spec["jobTemplate"])?.["spec"]);
    if (jobSpec !== undefined) defaultTemplate(jobSpec);
  },
  "autoscaling/HorizontalPodAutoscaler": autoscaler,
  "discovery.k8s.io/EndpointSlice": (_spec, object) => {
    for (const port of listOf(object["ports"])) {
      fill(port, "name", "");
      fill(port, "protocol", "TCP");
    }
  },
  "networking.k8s.io/NetworkPolicy": networkPolicy,
  "networking.k8s.io/IngressClass": (spec) => {
    const parameters = fieldsOf(spec["parameters"]);
    if (parameters !== undefined) fill(parameters, "scope", "Cluster");
  },
  [`${rbacGroup}/ClusterRoleBinding`]: binding,
  [`${rbacGroup}/RoleBinding`]: binding,
  "storage.k8s.io/StorageClass": (_spec, object) => {
    fill(object, "reclaimPolicy", "Delete");
    fill(object, "volumeBindingMode", "Immediate");
  },
  "storage.k8s.io/CSIDriver": (spec) => {
    const presets = { attachRequired: true, podInfoOnMount: false, storageCapacity: false, fsGroupPolicy: "ReadWriteOnceWithFSType", requiresRepublish: false, seLinuxMount: false };
    for (const [field, value] of Object.entries(presets)) fill(spec, field, value);
    if (!Array.isArray(spec["volumeLifecycleModes"]) || spec["volumeLifecycleModes"].length === 0) spec["volumeLifecycleModes"] = ["Persistent"];
  },
  "scheduling.k8s.io/PriorityClass": (_spec, object) => fill(object, "preemptionPolicy", "PreemptLowerPriority"),
  "admissionregistration.k8s.io/MutatingWebhookConfiguration": webhooks(true),
  "admissionregistration.k8s.io/ValidatingWebhookConfiguration": webhooks(false),
  "admissionregistration.k8s.io/ValidatingAdmissionPolicy": admissionPolicy,
  "admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding": (spec) => {
    const match = fieldsOf(spec["matchResources"]);
    if (match !== undefined) matchResources(match);
  },
  "apiextensions.k8s.io/CustomResourceDefinition": customResourceDefinition,
};

/** Fills in what a client left out. */
export function applyObjectDefaults(group: string, kind: string, object: Record<string, unknown>): void {
  const apply = byKind[`${group}/${kind}`];
  if (apply !== undefined) apply(fieldsOf(object["spec"]) ?? {}, object);
}

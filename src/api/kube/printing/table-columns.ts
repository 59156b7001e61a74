/**
 * What `kubectl get` shows of each built-in kind: the columns of Kubernetes' own printers (printers/
 * internalversion), as functions of the stored object. A column's name that begins with `+` is shown with
 * `-o wide` only.
 */
import { formatLabelSelector, labelSelectorOf, type LabelSelectorObject } from "#base/label-selector.ts";
import { humanDuration, since } from "./human-time.ts";
import { podSummary, type PrintedPod } from "./pod-row.ts";

export type Loose = Record<string, unknown>;
type Cell = (object: Loose, now: number) => unknown;
export type Columns = readonly (readonly [name: string, cell: Cell])[];

/** A value deep inside; undefined when the way ends. */
function at(object: unknown, path: string): unknown {
  let value = object;
  for (const part of path.split(".")) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Loose)[part];
  }
  return value;
}

const items = (object: unknown, path: string): Loose[] => (at(object, path) as Loose[] | undefined) ?? [];
const none = (value: unknown): unknown => (value === undefined || value === "" || value === null ? "<none>" : value);
const text =
  (path: string, absent = ""): Cell =>
  (object) =>
    at(object, path) ?? absent;
const number =
  (path: string): Cell =>
  (object) =>
    at(object, path) ?? 0;
const orNone =
  (path: string): Cell =>
  (object) =>
    none(at(object, path));
const unset =
  (path: string): Cell =>
  (object) =>
    at(object, path) ?? "<unset>";
const join = (values: readonly unknown[] | undefined): string =>
  values === undefined || values.length === 0 ? "<none>" : values.join(",");
const name: readonly [string, Cell] = ["Name", text("metadata.name")];
const age: readonly [string, Cell] = ["Age", (object, now) => since(at(object, "metadata.creationTimestamp"), now)];
const createdAt: readonly [string, Cell] = ["Created At", text("metadata.creationTimestamp", "<unknown>")];

function selectorText(value: unknown): string {
  const selector = value as LabelSelectorObject | undefined;
  if (selector === undefined) return "<none>";
  const shown = formatLabelSelector(labelSelectorOf(selector) ?? []);
  return shown === "" ? "<none>" : shown;
}

const selector =
  (path: string): Cell =>
  (object) =>
    selectorText(at(object, path));
function mapText(value: unknown): string {
  const entries = Object.entries((value ?? {}) as Record<string, string>);
  return entries.length === 0
    ? "<none>"
    : entries
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, each]) => `${key}=${each}`)
        .join(",");
}

const containers = (path: string): readonly (readonly [string, Cell])[] => [
  [
    "+Containers",
    (object) =>
      items(object, `${path}.containers`)
        .map((each) => each["name"])
        .join(","),
  ],
  [
    "+Images",
    (object) =>
      items(object, `${path}.containers`)
        .map((each) => each["image"])
        .join(","),
  ],
];
const template = containers("spec.template.spec");

const podColumns: Columns = [
  name,
  ["Ready", (object, now) => podSummary(object as PrintedPod, now).ready],
  ["Status", (object, now) => podSummary(object as PrintedPod, now).status],
  ["Restarts", (object, now) => podSummary(object as PrintedPod, now).restarts],
  age,
  ["+IP", (object) => none(at(object, "status.podIPs.0.ip") ?? at(object, "status.podIP"))],
  ["+Node", orNone("spec.nodeName")],
  ["+Nominated Node", orNone("status.nominatedNodeName")],
  [
    "+Readiness Gates",
    (object) => {
      const gates = items(object, "spec.readinessGates");
      if (gates.length === 0) return "<none>";
      const met = gates.filter((gate) =>
        items(object, "status.conditions").some(
          ({ type, status }) => type === gate["conditionType"] && status === "True",
        ),
      );
      return `${met.length}/${gates.length}`;
    },
  ],
];

function externalAddress(service: Loose): string {
  const type = at(service, "spec.type");
  const external = at(service, "spec.externalIPs") as string[] | undefined;
  if (type === "ExternalName") return String(at(service, "spec.externalName") ?? "");
  if (type === "LoadBalancer") {
    const addresses = items(service, "status.loadBalancer.ingress").map(({ ip, hostname }) => ip ?? hostname);
    if (external?.length) return [...addresses, ...external].join(",");
    return addresses.length > 0 ? addresses.join(",") : "<pending>";
  }
  return join(external);
}

function servicePorts(service: Loose): string {
  return join(
    items(service, "spec.ports").map(
      ({ port, nodePort, protocol }) => `${port}${nodePort ? `:${nodePort}` : ""}/${protocol}`,
    ),
  );
}

function nodeStatus(node: Loose): string {
  const ready = items(node, "status.conditions").find(({ type }) => type === "Ready");
  const out = [ready === undefined ? "Unknown" : ready["status"] === "True" ? "Ready" : "NotReady"];
  if (at(node, "spec.unschedulable") === true) out.push("SchedulingDisabled");
  return out.join(",");
}

function nodeRoles(node: Loose): string {
  const roles: string[] = [];
  for (const [label, value] of Object.entries((at(node, "metadata.labels") ?? {}) as Record<string, string>)) {
    if (label.startsWith("node-role.kubernetes.io/")) roles.push(label.slice("node-role.kubernetes.io/".length));
    else if (label === "kubernetes.io/role" && value !== "") roles.push(value);
  }
  return join([...new Set(roles)].filter((role) => role !== "").sort());
}

const nodeAddress =
  (kind: string): Cell =>
  (object) =>
    none(items(object, "status.addresses").find(({ type }) => type === kind)?.["address"]);

function jobStatus(job: Loose): string {
  const has = (type: string): boolean =>
    items(job, "status.conditions").some((each) => each["type"] === type && each["status"] === "True");
  if (has("Complete")) return "Complete";
  if (has("Failed")) return "Failed";
  if (at(job, "metadata.deletionTimestamp") !== undefined) return "Terminating";
  if (has("Suspended")) return "Suspended";
  if (has("FailureTarget")) return "FailureTarget";
  return has("SuccessCriteriaMet") ? "SuccessCriteriaMet" : "Running";
}

function jobDuration(job: Loose, now: number): string {
  const start = Date.parse(String(at(job, "status.startTime") ?? ""));
  if (Number.isNaN(start)) return "";
  const end = Date.parse(String(at(job, "status.completionTime") ?? ""));
  return humanDuration((Number.isNaN(end) ? now : end) - start);
}

function ingressHosts(ingress: Loose): string {
  const hosts = items(ingress, "spec.rules")
    .map(({ host }) => host)
    .filter((host) => host);
  return hosts.length === 0
    ? "*"
    : hosts.length > 3
      ? `${hosts.slice(0, 3).join(",")} + ${hosts.length - 3} more...`
      : hosts.join(",");
}

const accessModes: Record<string, string> = {
  ReadWriteOnce: "RWO",
  ReadOnlyMany: "ROX",
  ReadWriteMany: "RWX",
  ReadWriteOncePod: "RWOP",
};
const modes = (value: unknown): string =>
  ((value as string[] | undefined) ?? []).map((mode) => accessModes[mode] ?? mode).join(",");

function endpointsText(endpoints: Loose): string {
  const all: string[] = [];
  for (const subset of items(endpoints, "subsets")) {
    const ports = subset["ports"] as { port: number }[] | undefined;
    for (const { ip } of (subset["addresses"] as { ip: string }[] | undefined) ?? [])
      for (const port of ports?.length ? ports : [undefined])
        all.push(port === undefined ? ip : `${ip.includes(":") ? `[${ip}]` : ip}:${port.port}`);
  }
  if (all.length === 0) return "<none>";
  return all.length > 3 ? `${all.slice(0, 3).join(",")} + ${all.length - 3} more...` : all.join(",");
}

function firstThree(values: readonly unknown[]): string {
  if (values.length === 0) return "<unset>";
  return values.length > 3 ? `${values.slice(0, 3).join(",")} + ${values.length - 3} more...` : values.join(",");
}

function quotaText(quota: Loose, wanted: (resource: string) => boolean): string {
  const hard = (at(quota, "status.hard") ?? {}) as Record<string, string>;
  const used = (at(quota, "status.used") ?? {}) as Record<string, string>;
  return Object.keys(hard)
    .sort()
    .filter(wanted)
    .map((resource) => `${resource}: ${used[resource] ?? "0"}/${hard[resource]}`)
    .join(", ");
}

const subjects =
  (kind: string): Cell =>
  (object) =>
    items(object, "subjects")
      .filter((each) => each["kind"] === kind)
      .map((each) => (kind === "ServiceAccount" ? `${each["namespace"]}/${each["name"]}` : each["name"]))
      .join(", ");
const binding: Columns = [
  name,
  ["Role", (object) => `${at(object, "roleRef.kind")}/${at(object, "roleRef.name")}`],
  age,
  ["+Users", subjects("User")],
  ["+Groups", subjects("Group")],
  ["+ServiceAccounts", subjects("ServiceAccount")],
];

function csrCondition(csr: Loose): string {
  const conditions = items(csr, "status.conditions").map(({ type }) => type);
  let out = conditions.includes("Denied") ? "Denied" : conditions.includes("Approved") ? "Approved" : "Pending";
  if (conditions.includes("Failed")) out += ",Failed";
  if (at(csr, "status.certificate")) out += ",Issued";
  return out;
}

function eventObject(event: Loose): string {
  const kind = String(at(event, "involvedObject.kind") ?? "").toLowerCase();
  return `${kind}/${at(event, "involvedObject.name") ?? ""}`;
}

function lastSeen(event: Loose, now: number): string {
  const times = [
    at(event, "series.lastObservedTime"),
    at(event, "lastTimestamp"),
    at(event, "eventTime"),
    at(event, "firstTimestamp"),
  ];
  const seen = since(
    times.find((time) => time),
    now,
  );
  const count = Number(at(event, "series.count") ?? at(event, "count") ?? 0);
  const first = at(event, "firstTimestamp") ?? at(event, "eventTime");
  return count > 1 ? `${seen} (x${count} over ${since(first, now)})` : seen;
}

function autoscalerTargets(hpa: Loose): string {
  const current = items(hpa, "status.currentMetrics");
  const shown = items(hpa, "spec.metrics").map((metric, index) => {
    const kind = String(metric["type"]);
    const field = `${kind.slice(0, 1).toLowerCase()}${kind.slice(1)}`;
    const now = at(current[index], `${field}.current`) as Loose | undefined;
    const target = (at(metric, `${field}.target`) ?? {}) as Loose;
    if (target["averageUtilization"] !== undefined)
      return `${at(metric, `${field}.name`)}: ${now?.["averageUtilization"] === undefined ? "<unknown>" : `${now["averageUtilization"]}%`}/${target["averageUtilization"]}%`;
    const wanted = target["averageValue"] ?? target["value"];
    return `${at(metric, `${field}.name`) ?? kind}: ${now?.["averageValue"] ?? now?.["value"] ?? "<unknown>"}/${wanted}${target["averageValue"] === undefined ? "" : " (avg)"}`;
  });
  if (shown.length === 0) return "<none>";
  return shown.length > 2 ? `${shown.slice(0, 2).join(", ")} + ${shown.length - 2} more...` : shown.join(", ");
}

const webhooks: Columns = [name, ["Webhooks", (object) => items(object, "webhooks").length], age];

/** Columns by `group/Kind`. */
export const tableColumns: Readonly<Record<string, Columns>> = {
  "/Pod": podColumns,
  "/PodTemplate": [
    name,
    [
      "Containers",
      (object) =>
        items(object, "template.spec.containers")
          .map((each) => each["name"])
          .join(","),
    ],
    [
      "Images",
      (object) =>
        items(object, "template.spec.containers")
          .map((each) => each["image"])
          .join(","),
    ],
    ["Pod Labels", (object) => mapText(at(object, "template.metadata.labels"))],
  ],
  "/ReplicationController": [
    name,
    ["Desired", number("spec.replicas")],
    ["Current", number("status.replicas")],
    ["Ready", number("status.readyReplicas")],
    age,
    ...template,
    ["+Selector", (object) => mapText(at(object, "spec.selector"))],
  ],
  "/Service": [
    name,
    ["Type", text("spec.type")],
    ["Cluster-IP", orNone("spec.clusterIP")],
    ["External-IP", externalAddress],
    ["Port(s)", servicePorts],
    age,
    ["+Selector", (object) => mapText(at(object, "spec.selector"))],
  ],
  "/Endpoints": [name, ["Endpoints", endpointsText], age],
  "/Node": [
    name,
    ["Status", nodeStatus],
    ["Roles", nodeRoles],
    age,
    ["Version", text("status.nodeInfo.kubeletVersion")],
    ["+Internal-IP", nodeAddress("InternalIP")],
    ["+External-IP", nodeAddress("ExternalIP")],
    ["+OS-Image", (object) => at(object, "status.nodeInfo.osImage") || "<unknown>"],
    ["+Kernel-Version", (object) => at(object, "status.nodeInfo.kernelVersion") || "<unknown>"],
    ["+Container-Runtime", (object) => at(object, "status.nodeInfo.containerRuntimeVersion") || "<unknown>"],
  ],
  "/Event": [
    ["Last Seen", lastSeen],
    ["Type", text("type")],
    ["Reason", text("reason")],
    ["Object", eventObject],
    ["+Subobject", text("involvedObject.fieldPath")],
    [
      "+Source",
      (object) =>
        [at(object, "source.component") ?? at(object, "reportingComponent"), at(object, "source.host")]
          .filter((part) => part)
          .join(", "),
    ],
    ["Message", (object) => String(at(object, "message") ?? "").trim()],
    ["+First Seen", (object, now) => since(at(object, "firstTimestamp") ?? at(object, "eventTime"), now)],
    ["+Count", (object) => at(object, "series.count") ?? at(object, "count") ?? 1],
    ["+Name", text("metadata.name")],
  ],
  "/Namespace": [name, ["Status", text("status.phase")], age],
  "/Secret": [
    name,
    ["Type", text("type")],
    ["Data", (object) => Object.keys((at(object, "data") ?? {}) as object).length],
    age,
  ],
  "/ServiceAccount": [name, age],
  "/ConfigMap": [
    name,
    [
      "Data",
      (object) =>
        Object.keys((at(object, "data") ?? {}) as object).length +
        Object.keys((at(object, "binaryData") ?? {}) as object).length,
    ],
    age,
  ],
  "/PersistentVolume": [
    name,
    ["Capacity", text("spec.capacity.storage")],
    ["Access Modes", (object) => modes(at(object, "spec.accessModes"))],
    ["Reclaim Policy", text("spec.persistentVolumeReclaimPolicy")],
    [
      "Status",
      (object) =>
        at(object, "metadata.deletionTimestamp") === undefined ? (at(object, "status.phase") ?? "") : "Terminating",
    ],
    [
      "Claim",
      (object) =>
        at(object, "spec.claimRef") === undefined
          ? ""
          : `${at(object, "spec.claimRef.namespace")}/${at(object, "spec.claimRef.name")}`,
    ],
    ["StorageClass", text("spec.storageClassName")],
    ["VolumeAttributesClass", unset("spec.volumeAttributesClassName")],
    ["Reason", text("status.reason")],
    age,
    ["+VolumeMode", unset("spec.volumeMode")],
  ],
  "/PersistentVolumeClaim": [
    name,
    [
      "Status",
      (object) =>
        at(object, "metadata.deletionTimestamp") === undefined ? (at(object, "status.phase") ?? "") : "Terminating",
    ],
    ["Volume", text("spec.volumeName")],
    ["Capacity", (object) => (at(object, "spec.volumeName") ? (at(object, "status.capacity.storage") ?? "") : "")],
    ["Access Modes", (object) => (at(object, "spec.volumeName") ? modes(at(object, "status.accessModes")) : "")],
    ["StorageClass", text("spec.storageClassName")],
    ["VolumeAttributesClass", unset("spec.volumeAttributesClassName")],
    age,
    ["+VolumeMode", unset("spec.volumeMode")],
  ],
  "/ResourceQuota": [
    name,
    ["Request", (object) => quotaText(object, (resource) => !resource.startsWith("limits."))],
    ["Limit", (object) => quotaText(object, (resource) => resource.startsWith("limits."))],
    age,
  ],
  "apps/Deployment": [
    name,
    ["Ready", (object) => `${at(object, "status.readyReplicas") ?? 0}/${at(object, "spec.replicas") ?? 0}`],
    ["Up-to-date", number("status.updatedReplicas")],
    ["Available", number("status.availableReplicas")],
    age,
    ...template,
    ["+Selector", selector("spec.selector")],
  ],
  "apps/ReplicaSet": [
    name,
    ["Desired", number("spec.replicas")],
    ["Current", number("status.replicas")],
    ["Ready", number("status.readyReplicas")],
    age,
    ...template,
    ["+Selector", selector("spec.selector")],
  ],
  "apps/StatefulSet": [
    name,
    ["Ready", (object) => `${at(object, "status.readyReplicas") ?? 0}/${at(object, "spec.replicas") ?? 0}`],
    age,
    ...template,
  ],
  "apps/DaemonSet": [
    name,
    ["Desired", number("status.desiredNumberScheduled")],
    ["Current", number("status.currentNumberScheduled")],
    ["Ready", number("status.numberReady")],
    ["Up-to-date", number("status.updatedNumberScheduled")],
    ["Available", number("status.numberAvailable")],
    ["Node Selector", (object) => mapText(at(object, "spec.template.spec.nodeSelector"))],
    age,
    ...template,
    ["+Selector", selector("spec.selector")],
  ],
  "apps/ControllerRevision": [
    name,
    [
      "Controller",
      (object) => {
        const owner = items(object, "metadata.ownerReferences").find(({ controller }) => controller === true);
        if (owner === undefined) return "<none>";
        const group = String(owner["apiVersion"]).split("/");
        return `${String(owner["kind"]).toLowerCase()}${group.length > 1 ? `.${group[0]}` : ""}/${owner["name"]}`;
      },
    ],
    ["Revision", number("revision")],
    age,
  ],
  "batch/Job": [
    name,
    ["Status", jobStatus],
    [
      "Completions",
      (object) => {
        const done = at(object, "status.succeeded") ?? 0;
        const wanted = at(object, "spec.completions");
        if (wanted !== undefined) return `${done}/${wanted}`;
        const parallelism = Number(at(object, "spec.parallelism") ?? 0);
        return parallelism > 1 ? `${done}/1 of ${parallelism}` : `${done}/1`;
      },
    ],
    ["Duration", jobDuration],
    age,
    ...template,
    ["+Selector", selector("spec.selector")],
  ],
  "batch/CronJob": [
    name,
    ["Schedule", text("spec.schedule")],
    ["Timezone", (object) => at(object, "spec.timeZone") ?? "<none>"],
    ["Suspend", (object) => (at(object, "spec.suspend") === true ? "True" : "False")],
    ["Active", (object) => items(object, "status.active").length],
    [
      "Last Schedule",
      (object, now) =>
        at(object, "status.lastScheduleTime") === undefined
          ? "<none>"
          : since(at(object, "status.lastScheduleTime"), now),
    ],
    age,
    ...containers("spec.jobTemplate.spec.template.spec"),
    ["+Selector", selector("spec.jobTemplate.spec.selector")],
  ],
  "autoscaling/HorizontalPodAutoscaler": [
    name,
    ["Reference", (object) => `${at(object, "spec.scaleTargetRef.kind")}/${at(object, "spec.scaleTargetRef.name")}`],
    ["Targets", autoscalerTargets],
    ["MinPods", unset("spec.minReplicas")],
    ["MaxPods", number("spec.maxReplicas")],
    ["Replicas", number("status.currentReplicas")],
    age,
  ],
  "policy/PodDisruptionBudget": [
    name,
    ["Min Available", (object) => at(object, "spec.minAvailable") ?? "N/A"],
    ["Max Unavailable", (object) => at(object, "spec.maxUnavailable") ?? "N/A"],
    ["Allowed Disruptions", number("status.disruptionsAllowed")],
    age,
  ],
  "networking.k8s.io/Ingress": [
    name,
    ["Class", orNone("spec.ingressClassName")],
    ["Hosts", ingressHosts],
    [
      "Address",
      (object) =>
        items(object, "status.loadBalancer.ingress")
          .map(({ ip, hostname }) => ip ?? hostname)
          .join(","),
    ],
    ["Ports", (object) => (items(object, "spec.tls").length > 0 ? "80, 443" : "80")],
    age,
  ],
  "networking.k8s.io/IngressClass": [
    name,
    ["Controller", text("spec.controller")],
    [
      "Parameters",
      (object) => {
        const parameters = at(object, "spec.parameters") as Loose | undefined;
        if (parameters === undefined) return "<none>";
        const group = parameters["apiGroup"];
        return `${parameters["kind"]}${group ? `.${group}` : ""}/${parameters["name"]}`;
      },
    ],
    age,
  ],
  "networking.k8s.io/NetworkPolicy": [name, ["Pod-Selector", selector("spec.podSelector")], age],
  "networking.k8s.io/ServiceCIDR": [
    name,
    ["CIDRs", (object) => join(at(object, "spec.cidrs") as string[] | undefined)],
    age,
  ],
  "networking.k8s.io/IPAddress": [
    name,
    [
      "ParentRef",
      (object) =>
        ["resource", "group", "namespace", "name"]
          .map((part) => at(object, `spec.parentRef.${part}`))
          .filter((part) => part)
          .join("/"),
    ],
  ],
  "discovery.k8s.io/EndpointSlice": [
    name,
    ["AddressType", text("addressType")],
    ["Ports", (object) => firstThree(items(object, "ports").map((each) => each["port"] ?? "*"))],
    ["Endpoints", (object) => firstThree(items(object, "endpoints").flatMap((each) => each["addresses"] as string[]))],
    age,
  ],
  "rbac.authorization.k8s.io/Role": [name, createdAt],
  "rbac.authorization.k8s.io/ClusterRole": [name, createdAt],
  "rbac.authorization.k8s.io/RoleBinding": binding,
  "rbac.authorization.k8s.io/ClusterRoleBinding": binding,
  "certificates.k8s.io/CertificateSigningRequest": [
    name,
    age,
    ["SignerName", orNone("spec.signerName")],
    ["Requestor", text("spec.username")],
    [
      "RequestedDuration",
      (object) =>
        at(object, "spec.expirationSeconds") === undefined
          ? "<none>"
          : humanDuration(Number(at(object, "spec.expirationSeconds")) * 1000),
    ],
    ["Condition", csrCondition],
  ],
  "coordination.k8s.io/Lease": [name, ["Holder", text("spec.holderIdentity")], age],
  "storage.k8s.io/StorageClass": [
    [
      "Name",
      (object) =>
        `${at(object, "metadata.name")}${((at(object, "metadata.annotations") ?? {}) as Loose)["storageclass.kubernetes.io/is-default-class"] === "true" ? " (default)" : ""}`,
    ],
    ["Provisioner", text("provisioner")],
    ["ReclaimPolicy", text("reclaimPolicy", "Delete")],
    ["VolumeBindingMode", text("volumeBindingMode", "Immediate")],
    ["AllowVolumeExpansion", (object) => at(object, "allowVolumeExpansion") === true],
    age,
  ],
  "storage.k8s.io/VolumeAttachment": [
    name,
    ["Attacher", text("spec.attacher")],
    ["PV", text("spec.source.persistentVolumeName")],
    ["Node", text("spec.nodeName")],
    ["Attached", (object) => at(object, "status.attached") === true],
    age,
  ],
  "storage.k8s.io/CSINode": [name, ["Drivers", (object) => items(object, "spec.drivers").length], age],
  "storage.k8s.io/CSIDriver": [
    name,
    ["AttachRequired", (object) => at(object, "spec.attachRequired") ?? true],
    ["PodInfoOnMount", (object) => at(object, "spec.podInfoOnMount") ?? false],
    ["StorageCapacity", (object) => at(object, "spec.storageCapacity") ?? false],
    [
      "TokenRequests",
      (object) =>
        items(object, "spec.tokenRequests").length === 0
          ? "<unset>"
          : items(object, "spec.tokenRequests")
              .map((each) => each["audience"])
              .join(","),
    ],
    ["RequiresRepublish", (object) => at(object, "spec.requiresRepublish") ?? false],
    ["Modes", (object) => ((at(object, "spec.volumeLifecycleModes") as string[] | undefined) ?? []).join(",")],
    age,
  ],
  "scheduling.k8s.io/PriorityClass": [
    name,
    ["Value", number("value")],
    ["Global-Default", (object) => at(object, "globalDefault") === true],
    age,
    ["PreemptionPolicy", text("preemptionPolicy", "PreemptLowerPriority")],
  ],
  "node.k8s.io/RuntimeClass": [name, ["Handler", text("handler")], age],
  "admissionregistration.k8s.io/MutatingWebhookConfiguration": webhooks,
  "admissionregistration.k8s.io/ValidatingWebhookConfiguration": webhooks,
  "admissionregistration.k8s.io/ValidatingAdmissionPolicy": [
    name,
    ["Validations", (object) => items(object, "spec.validations").length],
    [
      "ParamKind",
      (object) =>
        at(object, "spec.paramKind") === undefined
          ? "<unset>"
          : `${at(object, "spec.paramKind.apiVersion")}/${at(object, "spec.paramKind.kind")}`,
    ],
    age,
  ],
  "admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding": [
    name,
    ["PolicyName", text("spec.policyName")],
    [
      "ParamRef",
      (object) =>
        at(object, "spec.paramRef") === undefined
          ? "<unset>"
          : `${at(object, "spec.paramRef.namespace") ?? "*"}/${at(object, "spec.paramRef.name") ?? "*"}`,
    ],
    age,
  ],
  "flowcontrol.apiserver.k8s.io/FlowSchema": [
    name,
    ["PriorityLevel", text("spec.priorityLevelConfiguration.name")],
    ["MatchingPrecedence", number("spec.matchingPrecedence")],
    ["DistinguisherMethod", orNone("spec.distinguisherMethod.type")],
    age,
    [
      "MissingPL",
      (object) => items(object, "status.conditions").find(({ type }) => type === "Dangling")?.["status"] ?? "?",
    ],
  ],
  "flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration": [
    name,
    ["Type", text("spec.type")],
    ["NominalConcurrencyShares", orNone("spec.limited.nominalConcurrencyShares")],
    ["Queues", orNone("spec.limited.limitResponse.queuing.queues")],
    ["HandSize", orNone("spec.limited.limitResponse.queuing.handSize")],
    ["QueueLengthLimit", orNone("spec.limited.limitResponse.queuing.queueLengthLimit")],
    age,
  ],
};

/** Columns of a kind that has none of its own. */
export const plainColumns: Columns = [name, createdAt];

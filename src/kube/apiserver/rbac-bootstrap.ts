/**
 * The roles and bindings that every cluster starts with: the names and permissions that Kubernetes documents
 * ("Using RBAC Authorization", default roles), as data.
 */
import type { KubeObject } from "#api/kube/object.ts";
import type { PolicyRule } from "./rbac-rules.ts";

const list = (text: string): string[] => (text === "" ? [""] : text.split(" "));

/** `groups` and the others are separated by spaces; "core" is the group "". */
function rule(verbs: string, groups: string, resources: string, names?: string): PolicyRule {
  return {
    verbs: list(verbs),
    apiGroups: list(groups).map((group) => (group === "core" ? "" : group)),
    resources: list(resources),
    ...(names === undefined ? {} : { resourceNames: list(names) }),
  };
}

const urls = (verbs: string, paths: string): PolicyRule => ({ verbs: list(verbs), nonResourceURLs: list(paths) });

const read = "get list watch";
const write = "create delete deletecollection patch update";
const readWrite = `${read} ${write}`;
const events = rule("create patch update", "core events.k8s.io", "events");

const workloads =
  "daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status controllerrevisions";

const viewRules: PolicyRule[] = [
  rule(
    read,
    "core",
    "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
  ),
  rule(
    read,
    "core",
    "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status",
  ),
  rule(read, "core", "namespaces"),
  rule(read, "discovery.k8s.io", "endpointslices"),
  rule(read, "apps", workloads),
  rule(read, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
  rule(read, "batch", "cronjobs cronjobs/status jobs jobs/status"),
  rule(read, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
  rule(read, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
  rule(read, "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
];

const editRules: PolicyRule[] = [
  rule(read, "core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
  rule("impersonate", "core", "serviceaccounts"),
  rule(write, "core", "pods pods/attach pods/exec pods/portforward pods/proxy"),
  rule("create", "core", "pods/eviction"),
  rule(
    write,
    "core",
    "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy",
  ),
  rule("create", "core", "serviceaccounts/token"),
  rule(
    write,
    "apps",
    "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale",
  ),
  rule(write, "autoscaling", "horizontalpodautoscalers"),
  rule(write, "batch", "cronjobs jobs"),
  rule(write, "policy", "poddisruptionbudgets"),
  rule(write, "networking.k8s.io", "ingresses networkpolicies"),
  rule(readWrite, "coordination.k8s.io", "leases"),
  rule(write, "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
];

const adminRules: PolicyRule[] = [
  rule("create", "authorization.k8s.io", "localsubjectaccessreviews"),
  rule(readWrite, "rbac.authorization.k8s.io", "roles rolebindings"),
];

const nodeRules: PolicyRule[] = [
  rule("create", "authentication.k8s.io", "tokenreviews"),
  rule("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
  rule(read, "core", "services"),
  rule("create get list watch", "core", "nodes"),
  rule("patch update", "core", "nodes/status"),
  rule("patch update", "core", "nodes"),
  events,
  rule(read, "core", "pods"),
  rule("create delete", "core", "pods"),
  rule("patch update", "core", "pods/status"),
  rule("create", "core", "pods/eviction"),
  rule(read, "core", "configmaps secrets"),
  rule("get", "core", "persistentvolumeclaims persistentvolumes"),
  rule("get patch update", "core", "persistentvolumeclaims/status"),
  rule("get", "core", "endpoints"),
  rule("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
  rule("create delete get patch update", "coordination.k8s.io", "leases"),
  rule("get", "storage.k8s.io", "volumeattachments"),
  rule("create", "core", "serviceaccounts/token"),
  rule(read, "storage.k8s.io", "csidrivers"),
  rule("create delete get patch update", "storage.k8s.io", "csinodes"),
  rule(read, "node.k8s.io", "runtimeclasses"),
  rule("get list watch", "core", "namespaces"),
  rule(read, "discovery.k8s.io", "endpointslices"),
  rule("create delete deletecollection get list patch update watch", "resource.k8s.io", "resourceslices"),
  rule("get", "resource.k8s.io", "resourceclaims"),
];

const aggregate = (to: string): Record<string, string> => ({
  [`rbac.authorization.k8s.io/aggregate-to-${to}`]: "true",
});

interface RoleSeed {
  name: string;
  rules: PolicyRule[];
  labels?: Record<string, string>;
  /** Filled from the roles that carry this aggregation label. */
  aggregate?: string;
}

const discovery = "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/";

const roles: RoleSeed[] = [
  { name: "cluster-admin", rules: [rule("*", "*", "*"), urls("*", "*")] },
  { name: "system:discovery", rules: [urls("get", discovery)] },
  { name: "system:public-info-viewer", rules: [urls("get", "/healthz /livez /readyz /version /version/")] },
  {
    name: "system:monitoring",
    rules: [urls("get", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*")],
  },
  {
    name: "system:basic-user",
    rules: [
      rule("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
      rule("create", "authentication.k8s.io", "selfsubjectreviews"),
    ],
  },
  { name: "system:aggregate-to-admin", labels: aggregate("admin"), rules: adminRules },
  { name: "system:aggregate-to-edit", labels: aggregate("edit"), rules: editRules },
  { name: "system:aggregate-to-view", labels: aggregate("view"), rules: viewRules },
  { name: "admin", aggregate: "admin", rules: [...adminRules, ...editRules, ...viewRules] },
  { name: "edit", aggregate: "edit", labels: aggregate("admin"), rules: [...editRules, ...viewRules] },
  { name: "view", aggregate: "view", labels: aggregate("edit"), rules: viewRules },
  { name: "system:node", rules: nodeRules },
  {
    name: "system:node-problem-detector",
    rules: [rule("get", "core", "nodes"), rule("patch", "core", "nodes/status"), events],
  },
  {
    name: "system:node-proxier",
    rules: [
      rule("list watch", "core", "endpoints services"),
      rule("get list watch", "core", "nodes"),
      events,
      rule("list watch", "discovery.k8s.io", "endpointslices"),
      rule("list watch", "networking.k8s.io", "servicecidrs"),
    ],
  },
  {
    name: "system:kubelet-api-admin",
    rules: [
      rule("get list watch proxy", "core", "nodes"),
      rule("*", "core", "nodes/log nodes/metrics nodes/proxy nodes/stats nodes/configz nodes/healthz nodes/pods"),
    ],
  },
  {
    name: "system:node-bootstrapper",
    rules: [rule("create get list watch", "certificates.k8s.io", "certificatesigningrequests")],
  },
  {
    name: "system:auth-delegator",
    rules: [
      rule("create", "authentication.k8s.io", "tokenreviews"),
      rule("create", "authorization.k8s.io", "subjectaccessreviews"),
    ],
  },
  { name: "system:kube-aggregator", rules: [rule(read, "core", "endpoints services")] },
  {
    name: "system:kube-dns",
    rules: [
      rule("list watch", "core", "endpoints services"),
      rule("list watch", "discovery.k8s.io", "endpointslices"),
      rule("list watch", "core", "namespaces pods"),
    ],
  },
  {
    name: "system:service-account-issuer-discovery",
    rules: [
      urls(
        "get",
        "/.well-known/openid-configuration /openid/v1/jwks /.well-known/openid-configuration/ /openid/v1/jwks/",
      ),
    ],
  },
  {
    name: "system:persistent-volume-provisioner",
    rules: [
      rule("create delete get list watch", "core", "persistentvolumes"),
      rule("get list update watch", "core", "persistentvolumeclaims"),
      rule(read, "storage.k8s.io", "storageclasses"),
      rule("watch", "core", "events"),
      events,
    ],
  },
  {
    name: "system:volume-scheduler",
    rules: [
      rule("get list patch update watch", "core", "persistentvolumes persistentvolumeclaims"),
      rule(read, "storage.k8s.io", "storageclasses"),
    ],
  },
  {
    name: "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
    rules: [rule("create", "certificates.k8s.io", "certificatesigningrequests/nodeclient")],
  },
  {
    name: "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
    rules: [rule("create", "certificates.k8s.io", "certificatesigningrequests/selfnodeclient")],
  },
  {
    name: "system:certificates.k8s.io:kube-apiserver-client-approver",
    rules: [rule("approve", "certificates.k8s.io", "signers", "kubernetes.io/kube-apiserver-client")],
  },
  {
    name: "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
    rules: [rule("approve", "certificates.k8s.io", "signers", "kubernetes.io/kube-apiserver-client-kubelet")],
  },
  {
    name: "system:certificates.k8s.io:kubelet-serving-approver",
    rules: [rule("approve", "certificates.k8s.io", "signers", "kubernetes.io/kubelet-serving")],
  },
  {
    name: "system:certificates.k8s.io:legacy-unknown-approver",
    rules: [rule("approve", "certificates.k8s.io", "signers", "kubernetes.io/legacy-unknown")],
  },
  {
    name: "system:kube-scheduler",
    rules: [
      events,
      rule("create", "coordination.k8s.io", "leases"),
      rule("get list update watch", "coordination.k8s.io", "leases", "kube-scheduler"),
      rule(read, "core", "nodes"),
      rule("delete get list watch", "core", "pods"),
      rule("create", "core", "bindings pods/binding"),
      rule("patch update", "core", "pods/status"),
      rule(read, "core", "replicationcontrollers services"),
      rule(read, "apps", "replicasets statefulsets"),
      rule(read, "policy", "poddisruptionbudgets"),
      rule("get list patch update watch", "core", "persistentvolumeclaims persistentvolumes"),
      rule("create", "authentication.k8s.io", "tokenreviews"),
      rule("create", "authorization.k8s.io", "subjectaccessreviews"),
      rule(read, "storage.k8s.io", "csinodes csidrivers csistoragecapacities storageclasses volumeattachments"),
      rule(read, "core", "namespaces"),
      rule(read, "scheduling.k8s.io", "priorityclasses"),
      rule(read, "resource.k8s.io", "deviceclasses resourceslices"),
      rule("get list patch update watch", "resource.k8s.io", "resourceclaims resourceclaims/status"),
    ],
  },
  {
    name: "system:kube-controller-manager",
    rules: [
      events,
      rule("create", "coordination.k8s.io", "leases"),
      rule("get list update watch", "coordination.k8s.io", "leases", "kube-controller-manager"),
      rule("create", "core", "secrets serviceaccounts"),
      rule("delete", "core", "secrets"),
      rule("get", "core", "configmaps namespaces secrets serviceaccounts"),
      rule("update", "core", "secrets serviceaccounts"),
      rule("create", "authentication.k8s.io", "tokenreviews"),
      rule("create", "authorization.k8s.io", "subjectaccessreviews"),
      rule("list watch", "*", "*"),
      rule("create", "core", "serviceaccounts/token"),
    ],
  },
];

/** Permissions of each controller's service account in kube-system. */
const controllers: Record<string, PolicyRule[]> = {
  "attachdetach-controller": [
    rule("list watch", "core", "persistentvolumeclaims persistentvolumes"),
    rule(read, "core", "nodes"),
    rule("patch update", "core", "nodes/status"),
    rule("list watch", "core", "pods"),
    events,
    rule(readWrite, "storage.k8s.io", "volumeattachments"),
    rule(read, "storage.k8s.io", "csidrivers csinodes"),
  ],
  "clusterrole-aggregation-controller": [
    rule("escalate get list patch update watch", "rbac.authorization.k8s.io", "clusterroles"),
  ],
  "cronjob-controller": [
    rule("get list update watch", "batch", "cronjobs"),
    rule("create delete get list patch update watch", "batch", "jobs"),
    rule("update", "batch", "cronjobs/finalizers cronjobs/status"),
    rule("delete list", "core", "pods"),
    events,
  ],
  "daemon-set-controller": [
    rule(read, "apps", "daemonsets"),
    rule("update", "apps", "daemonsets/finalizers daemonsets/status"),
    rule("list watch", "core", "nodes"),
    rule("create delete list patch watch", "core", "pods"),
    rule("create", "core", "pods/binding"),
    rule("create delete get list patch update watch", "apps", "controllerrevisions"),
    events,
  ],
  "deployment-controller": [
    rule("get list update watch", "apps", "deployments"),
    rule("update", "apps", "deployments/finalizers deployments/status"),
    rule("create delete get list patch update watch", "apps", "replicasets"),
    rule("get list update watch", "core", "pods"),
    events,
  ],
  "disruption-controller": [
    rule(read, "apps", "deployments replicasets statefulsets"),
    rule(read, "core", "replicationcontrollers pods"),
    rule(read, "policy", "poddisruptionbudgets"),
    rule("update", "policy", "poddisruptionbudgets/status"),
    rule("patch update", "core", "pods/status"),
    rule("get", "*", "*/scale"),
    events,
  ],
  "endpoint-controller": [
    rule(read, "core", "pods services"),
    rule("create delete get list update watch", "core", "endpoints"),
    rule("create", "core", "endpoints/restricted"),
    events,
  ],
  "endpointslice-controller": [
    rule(read, "core", "nodes pods services"),
    rule("update", "core", "services/finalizers"),
    rule("create delete get list update watch", "discovery.k8s.io", "endpointslices"),
    rule("create", "discovery.k8s.io", "endpointslices/restricted"),
    events,
  ],
  "endpointslicemirroring-controller": [
    rule(read, "core", "endpoints services"),
    rule("update", "core", "services/finalizers endpoints/finalizers"),
    rule("create delete get list update watch", "discovery.k8s.io", "endpointslices"),
    rule("create", "discovery.k8s.io", "endpointslices/restricted"),
    events,
  ],
  "ephemeral-volume-controller": [
    rule("update", "core", "pods/finalizers"),
    rule(read, "core", "pods"),
    rule("create get list watch", "core", "persistentvolumeclaims"),
    events,
  ],
  "expand-controller": [
    rule("get list patch update watch", "core", "persistentvolumes"),
    rule("patch update", "core", "persistentvolumeclaims/status"),
    rule(read, "core", "persistentvolumeclaims endpoints services"),
    rule(read, "storage.k8s.io", "storageclasses"),
    rule("get", "core", "secrets"),
    events,
  ],
  "generic-garbage-collector": [rule("delete get list patch update watch", "*", "*"), events],
  "horizontal-pod-autoscaler": [
    rule(read, "autoscaling", "horizontalpodautoscalers"),
    rule("update", "autoscaling", "horizontalpodautoscalers/status"),
    rule("get update", "*", "*/scale"),
    rule("list", "core", "pods"),
    rule("list", "metrics.k8s.io", "pods"),
    rule("get list", "custom.metrics.k8s.io external.metrics.k8s.io", "*"),
    events,
  ],
  "job-controller": [
    rule("get list patch update watch", "batch", "jobs"),
    rule("update", "batch", "jobs/finalizers jobs/status"),
    rule("create delete list patch watch", "core", "pods"),
    events,
  ],
  "namespace-controller": [
    rule("delete get list watch", "core", "namespaces"),
    rule("update", "core", "namespaces/finalize namespaces/status"),
    rule("delete deletecollection get list", "*", "*"),
  ],
  "node-controller": [
    rule("delete get list patch update watch", "core", "nodes"),
    rule("patch update", "core", "nodes/status"),
    rule("patch update", "core", "pods/status"),
    rule("delete get list", "core", "pods"),
    rule("create delete get list update watch", "coordination.k8s.io", "leases"),
    events,
  ],
  "persistent-volume-binder": [
    rule("create delete get list update watch", "core", "persistentvolumes"),
    rule("update", "core", "persistentvolumes/status persistentvolumeclaims/status"),
    rule("get list update watch", "core", "persistentvolumeclaims"),
    rule("create delete get list watch", "core", "pods"),
    rule(read, "storage.k8s.io", "storageclasses"),
    rule("get list watch", "core", "nodes"),
    events,
  ],
  "pod-garbage-collector": [
    rule("delete list watch", "core", "pods"),
    rule("get list", "core", "nodes"),
    rule("patch update", "core", "pods/status"),
  ],
  "pv-protection-controller": [rule("get list update watch", "core", "persistentvolumes"), events],
  "pvc-protection-controller": [
    rule("get list update watch", "core", "persistentvolumeclaims"),
    rule(read, "core", "pods"),
    events,
  ],
  "replicaset-controller": [
    rule("get list update watch", "apps", "replicasets"),
    rule("update", "apps", "replicasets/finalizers replicasets/status"),
    rule("create delete list patch watch", "core", "pods"),
    events,
  ],
  "replication-controller": [
    rule("get list update watch", "core", "replicationcontrollers"),
    rule("update", "core", "replicationcontrollers/finalizers replicationcontrollers/status"),
    rule("create delete list patch watch", "core", "pods"),
    events,
  ],
  "resourcequota-controller": [rule("list watch", "*", "*"), rule("update", "core", "resourcequotas/status"), events],
  "root-ca-cert-publisher": [rule("create update", "core", "configmaps"), events],
  "service-account-controller": [rule("create", "core", "serviceaccounts"), events],
  "service-controller": [
    rule(read, "core", "services"),
    rule("patch update", "core", "services/status"),
    rule("list watch", "core", "nodes"),
    events,
  ],
  "statefulset-controller": [
    rule("list watch", "core", "pods"),
    rule(read, "apps", "statefulsets"),
    rule("update", "apps", "statefulsets/finalizers statefulsets/status"),
    rule("create delete get patch update", "core", "pods"),
    rule("create delete get list patch update watch", "apps", "controllerrevisions"),
    rule("create delete get list update watch", "core", "persistentvolumeclaims"),
    events,
  ],
  "ttl-after-finished-controller": [rule("delete get list watch", "batch", "jobs"), events],
  "ttl-controller": [rule("list patch update watch", "core", "nodes"), events],
};

interface Subject {
  kind: "Group" | "User" | "ServiceAccount";
  name: string;
  namespace?: string;
}

const group = (name: string): Subject => ({ kind: "Group", name });
const user = (name: string): Subject => ({ kind: "User", name });

const bindings: [name: string, role: string, subjects: Subject[]][] = [
  ["cluster-admin", "cluster-admin", [group("system:masters")]],
  ["system:discovery", "system:discovery", [group("system:authenticated")]],
  ["system:basic-user", "system:basic-user", [group("system:authenticated")]],
  [
    "system:public-info-viewer",
    "system:public-info-viewer",
    [group("system:authenticated"), group("system:unauthenticated")],
  ],
  ["system:monitoring", "system:monitoring", [group("system:monitoring")]],
  ["system:node", "system:node", [group("system:nodes")]],
  ["system:node-proxier", "system:node-proxier", [user("system:kube-proxy")]],
  ["system:kube-controller-manager", "system:kube-controller-manager", [user("system:kube-controller-manager")]],
  ["system:kube-dns", "system:kube-dns", [{ kind: "ServiceAccount", name: "kube-dns", namespace: "kube-system" }]],
  ["system:kube-scheduler", "system:kube-scheduler", [user("system:kube-scheduler")]],
  ["system:volume-scheduler", "system:volume-scheduler", [user("system:kube-scheduler")]],
  [
    "system:service-account-issuer-discovery",
    "system:service-account-issuer-discovery",
    [group("system:serviceaccounts")],
  ],
];

const bootstrapping = { "kubernetes.io/bootstrapping": "rbac-defaults" };
const autoupdate = { "rbac.authorization.kubernetes.io/autoupdate": "true" };
const apiVersion = "rbac.authorization.k8s.io/v1";
const apiGroup = "rbac.authorization.k8s.io";

function clusterRole({ name, rules, labels, aggregate: to }: RoleSeed): KubeObject {
  return {
    apiVersion,
    kind: "ClusterRole",
    metadata: { name, labels: { ...bootstrapping, ...labels }, annotations: autoupdate },
    ...(to === undefined ? {} : { aggregationRule: { clusterRoleSelectors: [{ matchLabels: aggregate(to) }] } }),
    rules,
  } as KubeObject;
}

function clusterRoleBinding(name: string, role: string, subjects: Subject[]): KubeObject {
  return {
    apiVersion,
    kind: "ClusterRoleBinding",
    metadata: { name, labels: bootstrapping, annotations: autoupdate },
    roleRef: { apiGroup, kind: "ClusterRole", name: role },
    subjects: subjects.map((subject) => (subject.kind === "ServiceAccount" ? subject : { ...subject, apiGroup })),
  } as KubeObject;
}

/** The ClusterRoles and ClusterRoleBindings of a new cluster. */
export function bootstrapPolicy(): { roles: KubeObject[]; bindings: KubeObject[] } {
  const named = Object.entries(controllers);
  return {
    roles: [
      ...roles.map(clusterRole),
      ...named.map(([name, rules]) => clusterRole({ name: `system:controller:${name}`, rules })),
    ],
    bindings: [
      ...bindings.map(([name, role, subjects]) => clusterRoleBinding(name, role, subjects)),
      ...named.map(([name]) =>
        clusterRoleBinding(`system:controller:${name}`, `system:controller:${name}`, [
          { kind: "ServiceAccount", name, namespace: "kube-system" },
        ]),
      ),
    ],
  };
}

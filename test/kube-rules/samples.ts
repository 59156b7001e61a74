/** Objects that hold much of what their kinds can hold: the ones that run.ts mutates. */
export type Sample = Record<string, unknown>;

const podSpec = {
  containers: [
    {
      name: "c",
      image: "x:1",
      ports: [{ containerPort: 80, name: "web" }],
      env: [
        { name: "A", value: "1" },
        { name: "B", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
        { name: "C", valueFrom: { secretKeyRef: { name: "s", key: "k" } } },
      ],
      resources: { limits: { cpu: "1500m", memory: "1024Mi" }, requests: { cpu: "0.5" } },
      livenessProbe: { httpGet: { port: 80 } },
      readinessProbe: { tcpSocket: { port: "web" } },
      volumeMounts: [{ name: "v", mountPath: "/v" }],
    },
    { name: "d", image: "y", lifecycle: { preStop: { exec: { command: ["a"] } } } },
  ],
  initContainers: [{ name: "i", image: `z@sha256:${"0".repeat(64)}` }],
  volumes: [
    { name: "v" },
    { name: "s", secret: { secretName: "q" } },
    { name: "cm", configMap: { name: "q", items: [{ key: "a", path: "b" }] } },
    { name: "h", hostPath: { path: "/x" } },
    { name: "p", projected: { sources: [{ serviceAccountToken: { path: "t" } }] } },
  ],
  nodeSelector: { a: "b" },
  tolerations: [{ key: "k", operator: "Exists", effect: "NoSchedule" }],
  securityContext: { runAsUser: 1 },
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: "a", operator: "In", values: ["b"] }] }],
      },
    },
    podAntiAffinity: {
      preferredDuringSchedulingIgnoredDuringExecution: [
        { weight: 1, podAffinityTerm: { topologyKey: "t", labelSelector: { matchLabels: { a: "b" } } } },
      ],
    },
  },
  topologySpreadConstraints: [{ maxSkew: 1, topologyKey: "z", whenUnsatisfiable: "DoNotSchedule" }],
  dnsConfig: { nameservers: ["1.1.1.1"], searches: ["a.b"] },
  hostAliases: [{ ip: "1.2.3.4", hostnames: ["h"] }],
  imagePullSecrets: [{ name: "x" }],
};
const template = { metadata: { labels: { a: "b" } }, spec: podSpec };
const once = { ...template, spec: { ...podSpec, restartPolicy: "Never" } };
const selector = { matchLabels: { a: "b" } };
const metadata = { name: "x", namespace: "n", labels: { a: "b" }, annotations: { "x.y/z": "v" } };
const plain = { name: "x" };

function sample(apiVersion: string, kind: string, rest: Sample, meta: Sample = metadata): Sample {
  return { apiVersion, kind, metadata: meta, ...rest };
}

const claim = { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1024Mi" } } };

export const samples: readonly Sample[] = [
  sample("v1", "Pod", {
    spec: { ...podSpec, serviceAccountName: "sa", restartPolicy: "Always", terminationGracePeriodSeconds: 3 },
  }),
  sample("apps/v1", "Deployment", {
    spec: {
      replicas: 2,
      selector,
      template,
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: "30%" } },
      minReadySeconds: 1,
      progressDeadlineSeconds: 10,
    },
  }),
  sample("apps/v1", "ReplicaSet", { spec: { replicas: 2, selector, template } }),
  sample("apps/v1", "DaemonSet", {
    spec: { selector, template, updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1 } } },
  }),
  sample("apps/v1", "StatefulSet", {
    spec: {
      replicas: 1,
      serviceName: "s",
      selector,
      template,
      volumeClaimTemplates: [{ metadata: { name: "data" }, spec: claim }],
    },
  }),
  sample("v1", "Service", {
    spec: {
      type: "NodePort",
      selector: { a: "b" },
      ports: [
        { port: 80, name: "web", targetPort: "web", nodePort: 30000 },
        { port: 81, name: "x" },
      ],
      sessionAffinity: "ClientIP",
      externalIPs: ["1.2.3.4"],
    },
  }),
  sample("v1", "Service", {
    spec: { type: "LoadBalancer", ports: [{ port: 80 }], loadBalancerSourceRanges: ["10.0.0.0/8"] },
  }),
  sample("v1", "ConfigMap", { data: { a: "b" }, binaryData: { c: "aGk=" } }),
  sample("v1", "Secret", { type: "kubernetes.io/tls", data: { "tls.crt": "aGk=", "tls.key": "aGk=" } }),
  sample("v1", "Namespace", {}, plain),
  sample("batch/v1", "Job", { spec: { template: once } }),
  sample("batch/v1", "CronJob", { spec: { schedule: "* * * * *", jobTemplate: { spec: { template: once } } } }),
  sample("networking.k8s.io/v1", "Ingress", {
    spec: {
      rules: [
        {
          host: "a.b",
          http: {
            paths: [{ path: "/", pathType: "Prefix", backend: { service: { name: "s", port: { number: 80 } } } }],
          },
        },
      ],
      tls: [{ hosts: ["a.b"], secretName: "s" }],
    },
  }),
  sample("networking.k8s.io/v1", "NetworkPolicy", {
    spec: { podSelector: {}, ingress: [{ from: [{ podSelector: {} }], ports: [{ port: 80 }] }], egress: [{}] },
  }),
  sample("rbac.authorization.k8s.io/v1", "Role", { rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }] }),
  sample("rbac.authorization.k8s.io/v1", "RoleBinding", {
    roleRef: { kind: "Role", name: "r" },
    subjects: [
      { kind: "User", name: "u" },
      { kind: "ServiceAccount", name: "s", namespace: "n" },
    ],
  }),
  sample("v1", "PersistentVolumeClaim", { spec: claim }),
  sample(
    "v1",
    "PersistentVolume",
    { spec: { capacity: { storage: "1Gi" }, accessModes: ["ReadWriteOnce"], hostPath: { path: "/x" } } },
    plain,
  ),
  sample("autoscaling/v2", "HorizontalPodAutoscaler", {
    spec: {
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "d" },
      maxReplicas: 3,
      behavior: { scaleUp: {} },
    },
  }),
  sample("storage.k8s.io/v1", "StorageClass", { provisioner: "x" }, plain),
  sample("policy/v1", "PodDisruptionBudget", { spec: { minAvailable: 1, selector } }),
  sample("discovery.k8s.io/v1", "EndpointSlice", {
    addressType: "IPv4",
    endpoints: [{ addresses: ["1.2.3.4"] }],
    ports: [{ port: 80 }],
  }),
  sample("v1", "Endpoints", { subsets: [{ addresses: [{ ip: "1.2.3.4" }], ports: [{ port: 80 }] }] }),
  sample("v1", "LimitRange", { spec: { limits: [{ type: "Container", max: { cpu: "1" }, min: { memory: "1Mi" } }] } }),
  sample("v1", "ReplicationController", { spec: { template } }),
  sample("scheduling.k8s.io/v1", "PriorityClass", { value: 3 }, plain),
];

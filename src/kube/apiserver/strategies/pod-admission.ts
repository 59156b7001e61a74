import type { KubeObject } from "#api/kube/object.ts";
import { randomSuffix } from "#base/ids.ts";
import { forbidden } from "../api-error.ts";
import type { Mutable } from "../resource-type.ts";
import type { WatchCache } from "../watch-cache.ts";

interface Mount {
  name: string;
  mountPath: string;
  readOnly?: boolean;
}

interface Container {
  volumeMounts?: Mount[];
}

interface PodSpec {
  serviceAccountName?: string;
  serviceAccount?: string;
  automountServiceAccountToken?: boolean;
  imagePullSecrets?: { name: string }[];
  volumes?: { name: string; [source: string]: unknown }[];
  containers?: Container[];
  initContainers?: Container[];
  priorityClassName?: string;
  priority?: number;
  preemptionPolicy?: string;
  tolerations?: { key?: string; operator?: string; effect?: string; tolerationSeconds?: number }[];
  runtimeClassName?: string;
}

interface ServiceAccount extends KubeObject {
  automountServiceAccountToken?: boolean;
  imagePullSecrets?: { name: string }[];
}

interface PriorityClass extends KubeObject {
  value: number;
  globalDefault?: boolean;
  preemptionPolicy?: string;
}

const tokenPath = "/var/run/secrets/kubernetes.io/serviceaccount";
const mirrorAnnotation = "kubernetes.io/config.mirror";
const pods = { group: "", resource: "pods" };

export interface PodAdmissionCaches {
  serviceAccounts: WatchCache;
  priorityClasses: WatchCache;
}

/**
 * What the cluster adds to a new pod: its service account and token, its priority, and how long it stays on a
 * node that is lost (upstream's plugins ServiceAccount, Priority, DefaultTolerationSeconds).
 */
export class PodAdmission {
  readonly #caches: PodAdmissionCaches;

  constructor(caches: PodAdmissionCaches) {
    this.#caches = caches;
  }

  async admit(pod: Mutable): Promise<void> {
    const spec = pod["spec"] as PodSpec | undefined;
    if (spec === undefined) return;
    await this.#serviceAccount(pod, spec);
    await this.#priority(pod, spec);
    addTolerations(spec);
  }

  async #serviceAccount(pod: Mutable, spec: PodSpec): Promise<void> {
    if (pod.metadata?.annotations?.[mirrorAnnotation] !== undefined) return;
    const name = spec.serviceAccountName || spec.serviceAccount || "default";
    spec.serviceAccountName = name;
    spec.serviceAccount = name;
    const account = await this.#account(pod.metadata?.namespace ?? "", name);
    if (account === undefined)
      throw forbidden(
        pods,
        pod.metadata?.name ?? pod.metadata?.generateName ?? "",
        `error looking up service account ${pod.metadata?.namespace}/${name}: serviceaccount "${name}" not found`,
      );
    if ((spec.imagePullSecrets?.length ?? 0) === 0 && (account.imagePullSecrets?.length ?? 0) > 0)
      spec.imagePullSecrets = (account.imagePullSecrets ?? []).map(({ name: secret }) => ({ name: secret }));
    if ((spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true) === true) mountToken(spec);
  }

  /** The controller that makes the default account may be a moment behind a new namespace. */
  async #account(namespace: string, name: string): Promise<ServiceAccount | undefined> {
    const cache = this.#caches.serviceAccounts;
    await cache.ready();
    for (let wait = 0; ; wait += 50) {
      const found = cache.get(cache.keyOf(namespace, name));
      if (found !== undefined) return found.object as ServiceAccount;
      if (wait >= (name === "default" ? 1_000 : 100)) return undefined;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async #priority(pod: Mutable, spec: PodSpec): Promise<void> {
    const cache = this.#caches.priorityClasses;
    await cache.ready();
    const named = spec.priorityClassName;
    let found: PriorityClass | undefined;
    const podName = pod.metadata?.name ?? pod.metadata?.generateName ?? "";
    if (named) {
      await cache.consistent();
      found = cache.get(cache.keyOf("", named))?.object as PriorityClass | undefined;
      if (found === undefined) throw forbidden(pods, podName, `no PriorityClass with name ${named} was found`);
    } else {
      for (const { object } of cache.list("")) {
        const candidate = object as PriorityClass;
        if (candidate.globalDefault === true && (found === undefined || candidate.value < found.value))
          found = candidate;
      }
      if (found?.metadata?.name !== undefined) spec.priorityClassName = found.metadata.name;
    }
    const priority = found?.value ?? 0;
    if (spec.priority !== undefined && spec.priority !== priority)
      throw forbidden(
        pods,
        podName,
        `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${priority} from the given PriorityClass name`,
      );
    spec.priority = priority;
    const policy = found?.preemptionPolicy ?? "PreemptLowerPriority";
    if (spec.preemptionPolicy !== undefined && spec.preemptionPolicy !== policy)
      throw forbidden(
        pods,
        podName,
        `the string value of PreemptionPolicy (${spec.preemptionPolicy}) must not be provided in pod spec; priority admission controller computed ${policy} from the given PriorityClass name`,
      );
    spec.preemptionPolicy = policy;
  }
}

function mountToken(spec: PodSpec): void {
  const containers = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
  const needing = containers.filter(
    ({ volumeMounts = [] }) => !volumeMounts.some(({ mountPath }) => mountPath === tokenPath),
  );
  if (needing.length === 0) return;
  let name = spec.volumes?.find((volume) => volume.name.startsWith("kube-api-access-"))?.name;
  if (name === undefined) {
    name = `kube-api-access-${randomSuffix()}`;
    spec.volumes = [
      ...(spec.volumes ?? []),
      {
        name,
        projected: {
          sources: [
            { serviceAccountToken: { expirationSeconds: 3607, path: "token" } },
            { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
            {
              downwardAPI: {
                items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }],
              },
            },
          ],
          defaultMode: 420,
        },
      },
    ];
  }
  for (const container of needing)
    container.volumeMounts = [...(container.volumeMounts ?? []), { name, readOnly: true, mountPath: tokenPath }];
}

function addTolerations(spec: PodSpec): void {
  const tolerations = spec.tolerations ?? [];
  const added = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].filter(
    (key) =>
      !tolerations.some(
        (known) => (!known.key || known.key === key) && (!known.effect || known.effect === "NoExecute"),
      ),
  );
  if (added.length === 0) return;
  spec.tolerations = [
    ...tolerations,
    ...added.map((key) => ({ key, operator: "Exists", effect: "NoExecute", tolerationSeconds: 300 })),
  ];
}

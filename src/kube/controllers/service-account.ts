import type { ConfigMap, Namespace, ServiceAccount } from "#api/kube/generated/types.ts";
import { ref } from "#api/kube/object.ts";
import { hasCode } from "#base/errors.ts";
import { Controller } from "#control/controller.ts";
import type { Informer } from "#control/informer.ts";
import type { ControllerParts } from "./controller-parts.ts";
import { namespaces } from "./namespace-deletion.ts";
import { isTerminating } from "./pod-control.ts";

const serviceAccounts = ref("serviceaccounts");
const configMaps = ref("configmaps");
export const rootCaConfigMap = "kube-root-ca.crt";

function isActive(namespace: Namespace | undefined): boolean {
  return namespace !== undefined && namespace.metadata?.deletionTimestamp === undefined;
}

/**
 * Gives every namespace what its pods need to talk to the API server: the service account `default` and the
 * authority's certificate in the ConfigMap `kube-root-ca.crt` (serviceaccounts_controller, rootcacertpublisher).
 */
export class ServiceAccountController {
  readonly #parts: ControllerParts;
  readonly #caPem: string;
  readonly #namespaces: Informer<Namespace>;
  readonly #accounts: Informer<ServiceAccount>;
  readonly #maps: Informer<ConfigMap>;
  readonly #controller: Controller;

  constructor(options: { caPem: string }, parts: ControllerParts) {
    this.#parts = parts;
    this.#caPem = options.caPem;
    this.#namespaces = parts.informers.informer<Namespace>(namespaces);
    this.#accounts = parts.informers.informer<ServiceAccount>(serviceAccounts, {
      fieldSelector: "metadata.name=default",
    });
    this.#maps = parts.informers.informer<ConfigMap>(configMaps, { fieldSelector: `metadata.name=${rootCaConfigMap}` });
    this.#controller = new Controller(
      {
        name: "serviceaccount",
        workers: 2,
        waitFor: [this.#namespaces.synced, this.#accounts.synced, this.#maps.synced],
        reconcile: (key) => this.#reconcile(key),
      },
      parts,
    );
    const enqueue = (namespace: Namespace): void => this.#controller.enqueueObject(namespace);
    this.#namespaces.addHandlers({ add: enqueue, update: enqueue });
    this.#accounts.addHandlers({
      delete: (account) => this.#controller.enqueue(account.metadata?.namespace as string),
    });
    const changed = (map: ConfigMap): void => this.#controller.enqueue(map.metadata?.namespace as string);
    this.#maps.addHandlers({ update: changed, delete: changed });
  }

  start(): void {
    this.#controller.start(this.#parts.tasks);
  }

  async #reconcile(name: string): Promise<void> {
    if (!isActive(this.#namespaces.get(name))) return;
    try {
      if (this.#accounts.get(`${name}/default`) === undefined) {
        await this.#create(() =>
          this.#parts.client.create<ServiceAccount>(serviceAccounts, {
            apiVersion: "v1",
            kind: "ServiceAccount",
            metadata: { name: "default", namespace: name },
          }),
        );
      }
      await this.#ensureRootCa(name);
    } catch (error) {
      if (!isTerminating(error)) throw error;
    }
  }

  async #ensureRootCa(namespace: string): Promise<void> {
    const data = { "ca.crt": this.#caPem };
    const current = this.#maps.get(`${namespace}/${rootCaConfigMap}`);
    if (current === undefined) {
      const annotations = {
        "kubernetes.io/description":
          "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc.",
      };
      await this.#create(() =>
        this.#parts.client.create<ConfigMap>(configMaps, {
          apiVersion: "v1",
          kind: "ConfigMap",
          metadata: { name: rootCaConfigMap, namespace, annotations },
          data,
        }),
      );
    } else if (current.data?.["ca.crt"] !== this.#caPem || Object.keys(current.data).length !== 1) {
      await this.#parts.client.update(configMaps, { ...current, data });
    }
  }

  /** Somebody else may have made it meanwhile. */
  async #create(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!hasCode(error, "already-exists")) throw error;
    }
  }
}

import type { EndpointSlice, Endpoints, Pod, Service } from "#api/kube/generated/types.ts";
import { objectKey, ref } from "#api/kube/object.ts";
import { hasCode } from "#base/errors.ts";
import { equalitySelector, matchesLabels } from "#base/label-selector.ts";
import { Controller } from "#control/controller.ts";
import type { Informer } from "#control/informer.ts";
import { type ControllerParts, sameValue } from "./controller-parts.ts";
import { type SlicePlan, managedByLabel, manager, planSlices, serviceNameLabel } from "./endpoint-slice-plan.ts";
import { isTerminating, pods } from "./pod-control.ts";
import { type BackendGroup, serviceBackends } from "./service-endpoints.ts";

export const services = ref("services");
export const endpointSlices = ref("discovery.k8s.io/v1", "endpointslices");
const endpoints = ref("endpoints");
/** Endpoints hold 1,000 addresses at most (kubernetes, endpoints controller). */
const maxAddresses = 1000;

/**
 * Keeps the EndpointSlices, and for older clients the Endpoints, of every service with a selector
 * (kubernetes, pkg/controller/endpointslice and endpoint).
 */
export class EndpointSliceController {
  readonly #parts: ControllerParts;
  readonly #services: Informer<Service>;
  readonly #pods: Informer<Pod>;
  readonly #slices: Informer<EndpointSlice>;
  readonly #endpoints: Informer<Endpoints>;
  readonly #controller: Controller;
  /** Slices that were created and not seen yet, by service: until then a second round would create them again. */
  readonly #unseen = new Map<string, Set<string>>();

  constructor(parts: ControllerParts) {
    this.#parts = parts;
    this.#services = parts.informers.informer<Service>(services);
    this.#pods = parts.informers.informer<Pod>(pods);
    this.#slices = parts.informers.informer<EndpointSlice>(endpointSlices, {
      indexers: {
        service: (slice) => [`${slice.metadata?.namespace}/${slice.metadata?.labels?.[serviceNameLabel] ?? ""}`],
      },
    });
    this.#endpoints = parts.informers.informer<Endpoints>(endpoints);
    this.#controller = new Controller(
      {
        name: "endpointslice",
        workers: 5,
        waitFor: [this.#services.synced, this.#pods.synced, this.#slices.synced, this.#endpoints.synced],
        reconcile: (key) => this.#reconcile(key),
      },
      parts,
    );
    const enqueue = (service: Service): void => this.#controller.enqueueObject(service);
    this.#services.addHandlers({ add: enqueue, update: enqueue, delete: enqueue });
    this.#pods.addHandlers({
      add: (pod) => this.#enqueueFor(pod),
      update: (pod, old) => {
        if (!changesEndpoints(pod, old)) return;
        this.#enqueueFor(pod);
        if (!sameValue(pod.metadata?.labels, old.metadata?.labels)) this.#enqueueFor(old);
      },
      delete: (pod) => this.#enqueueFor(pod),
    });
    const sliceChanged = (slice: EndpointSlice): void => {
      if (slice.metadata?.labels?.[managedByLabel] !== manager) return;
      const key = `${slice.metadata.namespace}/${slice.metadata.labels[serviceNameLabel]}`;
      this.#unseen.get(key)?.delete(slice.metadata.name as string);
      this.#controller.enqueue(key);
    };
    this.#slices.addHandlers({ add: sliceChanged, update: sliceChanged, delete: sliceChanged });
  }

  start(): void {
    this.#controller.start(this.#parts.tasks);
  }

  #enqueueFor(pod: Pod): void {
    for (const service of this.#services.list(pod.metadata?.namespace ?? "")) {
      const { selector } = service.spec ?? {};
      if (selector !== undefined && matchesLabels(equalitySelector(selector), pod.metadata?.labels))
        this.#controller.enqueueObject(service);
    }
  }

  async #reconcile(key: string): Promise<void> {
    const service = this.#services.get(key);
    if (service === undefined) {
      this.#unseen.delete(key);
      return this.#removeEndpoints(key);
    }
    const { selector, type } = service.spec ?? {};
    if (
      selector === undefined ||
      Object.keys(selector).length === 0 ||
      type === "ExternalName" ||
      service.metadata?.deletionTimestamp !== undefined
    )
      return;
    // What is created comes back through the informer and enqueues the service again.
    if ((this.#unseen.get(key)?.size ?? 0) > 0) return;
    const matching = equalitySelector(selector);
    const selected = this.#pods
      .list(service.metadata?.namespace ?? "")
      .filter((pod) => matchesLabels(matching, pod.metadata?.labels));
    const groups = serviceBackends(service, selected);
    const existing = this.#slices
      .byIndex("service", key)
      .filter(
        (slice) =>
          slice.metadata?.labels?.[managedByLabel] === manager && slice.metadata.deletionTimestamp === undefined,
      );
    try {
      await this.#apply(key, planSlices(service, groups, existing));
      await this.#writeEndpoints(service, groups);
    } catch (error) {
      if (!isTerminating(error)) throw error;
    }
  }

  async #apply(key: string, plan: SlicePlan): Promise<void> {
    const { client } = this.#parts;
    for (const slice of plan.create) {
      const made = await client.create(endpointSlices, slice);
      if (this.#slices.get(objectKey(made)) !== undefined) continue;
      const unseen = this.#unseen.get(key) ?? new Set();
      this.#unseen.set(key, unseen.add(made.metadata?.name as string));
    }
    for (const slice of plan.update) await client.update(endpointSlices, slice);
    for (const slice of plan.delete) {
      await client
        .delete(endpointSlices, slice.metadata?.namespace, slice.metadata?.name as string)
        .catch((error: unknown) => {
          if (!hasCode(error, "not-found")) throw error;
        });
    }
  }

  async #writeEndpoints(service: Service, groups: readonly BackendGroup[]): Promise<void> {
    const { namespace, name } = service.metadata ?? {};
    const subsets = subsetsOf(groups);
    const labels = {
      ...service.metadata?.labels,
      "endpoints.kubernetes.io/managed-by": "endpoint-controller",
      ...(service.spec?.clusterIP === "None" ? { "service.kubernetes.io/headless": "" } : {}),
    };
    const current = this.#endpoints.get(`${namespace}/${name}`);
    if (current === undefined) {
      const made: Endpoints = {
        apiVersion: "v1",
        kind: "Endpoints",
        metadata: { name: name as string, namespace: namespace as string, labels },
        subsets,
      };
      await this.#parts.client.create(endpoints, made).catch((error: unknown) => {
        if (!hasCode(error, "already-exists")) throw error;
      });
    } else if (!sameValue(current.subsets ?? [], subsets) || !sameValue(current.metadata?.labels, labels)) {
      await this.#parts.client.update(endpoints, { ...current, metadata: { ...current.metadata, labels }, subsets });
    }
  }

  async #removeEndpoints(key: string): Promise<void> {
    const current = this.#endpoints.get(key);
    if (current === undefined) return;
    await this.#parts.client
      .delete(endpoints, current.metadata?.namespace, current.metadata?.name as string)
      .catch((error: unknown) => {
        if (!hasCode(error, "not-found")) throw error;
      });
  }
}

function changesEndpoints(pod: Pod, old: Pod): boolean {
  return (
    pod.status?.podIP !== old.status?.podIP ||
    pod.status?.phase !== old.status?.phase ||
    pod.spec?.nodeName !== old.spec?.nodeName ||
    pod.metadata?.deletionTimestamp !== old.metadata?.deletionTimestamp ||
    !sameValue(pod.metadata?.labels, old.metadata?.labels) ||
    !sameValue(
      pod.status?.conditions?.find((condition) => condition.type === "Ready")?.status,
      old.status?.conditions?.find((condition) => condition.type === "Ready")?.status,
    )
  );
}

/** The older form: ready and not-ready addresses per set of ports. Terminating pods are left out. */
function subsetsOf(groups: readonly BackendGroup[]): NonNullable<Endpoints["subsets"]> {
  return groups
    .map(({ ports, backends }) => {
      const address = ({ address: ip, pod }: (typeof backends)[number]): object => ({
        ip,
        ...(pod.spec?.hostname !== undefined && pod.spec.subdomain !== undefined
          ? { hostname: pod.spec.hostname }
          : {}),
        ...(pod.spec?.nodeName ? { nodeName: pod.spec.nodeName } : {}),
        targetRef: {
          kind: "Pod",
          namespace: pod.metadata?.namespace,
          name: pod.metadata?.name,
          uid: pod.metadata?.uid,
        },
      });
      const listed = backends.filter((backend) => !backend.terminating || backend.ready).slice(0, maxAddresses);
      const ready = listed.filter((backend) => backend.ready).map(address);
      const notReady = listed.filter((backend) => !backend.ready).map(address);
      return {
        ...(ready.length === 0 ? {} : { addresses: ready }),
        ...(notReady.length === 0 ? {} : { notReadyAddresses: notReady }),
        ports: ports.map(({ name, ...rest }) => ({ ...(name === "" ? {} : { name }), ...rest })),
      };
    })
    .filter((subset) => subset.addresses !== undefined || subset.notReadyAddresses !== undefined) as NonNullable<
    Endpoints["subsets"]
  >;
}

import type { Namespace } from "#api/kube/generated/types.ts";
import { ref } from "#api/kube/object.ts";
import { errorMessage, hasCode } from "#base/errors.ts";
import { Controller, type ReconcileResult } from "#control/controller.ts";
import type { Informer } from "#control/informer.ts";
import type { ServedResource } from "#kube/client/client.ts";
import { type ControllerParts, apiTime, sameValue } from "./controller-parts.ts";

export const namespaces = ref("namespaces");
const finalizer = "kubernetes";
const pollMs = 500;

interface Remaining {
  resource: ServedResource;
  count: number;
  finalizers: Map<string, number>;
}

type Condition = NonNullable<NonNullable<Namespace["status"]>["conditions"]>[number];

/** Empties a namespace that is being deleted, then takes its finalizer off (kubernetes, pkg/controller/namespace). */
export class NamespaceController {
  readonly #parts: ControllerParts;
  readonly #namespaces: Informer<Namespace>;
  readonly #controller: Controller;

  constructor(parts: ControllerParts) {
    this.#parts = parts;
    this.#namespaces = parts.informers.informer<Namespace>(namespaces);
    this.#controller = new Controller(
      { name: "namespace", workers: 2, waitFor: [this.#namespaces.synced], reconcile: (key) => this.#reconcile(key) },
      parts,
    );
    const enqueue = (namespace: Namespace): void => {
      if (namespace.metadata?.deletionTimestamp !== undefined) this.#controller.enqueueObject(namespace);
    };
    this.#namespaces.addHandlers({ add: enqueue, update: enqueue });
  }

  start(): void {
    this.#controller.start(this.#parts.tasks);
  }

  async #reconcile(name: string): Promise<ReconcileResult | void> {
    const namespace = this.#namespaces.get(name);
    if (namespace?.metadata?.deletionTimestamp === undefined || !namespace.spec?.finalizers?.includes(finalizer))
      return;
    const { client } = this.#parts;
    const resources = (await client.resources()).filter(
      (resource) => resource.namespaced && resource.verbs.includes("list"),
    );
    const failures: string[] = [];
    for (const resource of resources) {
      if (!resource.verbs.includes("deletecollection")) continue;
      try {
        await client.deleteCollection(resource, name, { propagationPolicy: "Background" });
      } catch (error) {
        failures.push(`${resource.resource}: ${errorMessage(error)}`);
      }
    }
    const remaining = await this.#remaining(name, resources);
    if (remaining.length === 0 && failures.length === 0) {
      const spec = { ...namespace.spec, finalizers: namespace.spec.finalizers.filter((other) => other !== finalizer) };
      await client.update(namespaces, { ...namespace, spec }, { subresource: "finalize" }).catch((error: unknown) => {
        if (!hasCode(error, "not-found")) throw error;
      });
      return;
    }
    await this.#report(namespace, remaining, failures);
    return { requeueAfterMs: pollMs };
  }

  async #remaining(namespace: string, resources: readonly ServedResource[]): Promise<Remaining[]> {
    const out: Remaining[] = [];
    for (const resource of resources) {
      const { items } = await this.#parts.client.list(resource, { namespace });
      if (items.length === 0) continue;
      const finalizers = new Map<string, number>();
      for (const item of items)
        for (const each of item.metadata?.finalizers ?? []) finalizers.set(each, (finalizers.get(each) ?? 0) + 1);
      out.push({ resource, count: items.length, finalizers });
    }
    return out;
  }

  async #report(namespace: Namespace, remaining: Remaining[], failures: string[]): Promise<void> {
    const conditions = deletionConditions(
      namespace.status?.conditions ?? [],
      remaining,
      failures,
      apiTime(this.#parts.clock),
    );
    if (sameValue(conditions, namespace.status?.conditions ?? [])) return;
    await this.#parts.client
      .update(namespaces, { ...namespace, status: { ...namespace.status, conditions } }, { subresource: "status" })
      .catch((error: unknown) => {
        if (!hasCode(error, "not-found", "conflict")) throw error;
      });
  }
}

/** The five conditions that tell why a namespace is still there, in upstream's words (deletion/status_condition_utils.go). */
function deletionConditions(
  before: readonly Condition[],
  remaining: readonly Remaining[],
  failures: readonly string[],
  now: string,
): Condition[] {
  const nameOf = ({ resource, count }: Remaining): string =>
    `${resource.group === "" ? resource.resource : `${resource.resource}.${resource.group}`} has ${count} resource instances`;
  const finalizers = new Map<string, number>();
  for (const { finalizers: each } of remaining)
    for (const [name, count] of each) finalizers.set(name, (finalizers.get(name) ?? 0) + count);
  const wanted: Pick<Condition, "type" | "status" | "reason" | "message">[] = [
    {
      type: "NamespaceDeletionDiscoveryFailure",
      status: "False",
      reason: "ResourcesDiscovered",
      message: "All resources successfully discovered",
    },
    {
      type: "NamespaceDeletionGroupVersionParsingFailure",
      status: "False",
      reason: "ParsedGroupVersions",
      message: "All legacy kube types successfully parsed",
    },
    failures.length === 0
      ? {
          type: "NamespaceDeletionContentFailure",
          status: "False",
          reason: "ContentDeleted",
          message: "All content successfully deleted, may be waiting on finalization",
        }
      : {
          type: "NamespaceDeletionContentFailure",
          status: "True",
          reason: "ContentDeletionFailed",
          message: `Failed to delete all resource types, ${failures.length} remaining: ${failures.join(", ")}`,
        },
    remaining.length === 0
      ? {
          type: "NamespaceContentRemaining",
          status: "False",
          reason: "ContentRemoved",
          message: "All content successfully removed",
        }
      : {
          type: "NamespaceContentRemaining",
          status: "True",
          reason: "SomeResourcesRemain",
          message: `Some resources are remaining: ${remaining.map(nameOf).join(", ")}`,
        },
    finalizers.size === 0
      ? {
          type: "NamespaceFinalizersRemaining",
          status: "False",
          reason: "ContentHasNoFinalizers",
          message: "All content-preserving finalizers finished",
        }
      : {
          type: "NamespaceFinalizersRemaining",
          status: "True",
          reason: "SomeFinalizersRemain",
          message: `Some content in the namespace has finalizers remaining: ${[...finalizers].map(([name, count]) => `${name} in ${count} resource instances`).join(", ")}`,
        },
  ];
  return wanted.map((condition) => {
    const old = before.find((other) => other.type === condition.type);
    const lastTransitionTime = old?.status === condition.status ? (old.lastTransitionTime ?? now) : now;
    return { ...condition, lastTransitionTime };
  });
}

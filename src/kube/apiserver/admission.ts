import type { KubeObject } from "#api/kube/object.ts";
import type { FieldProblem } from "./api-error.ts";
import { forbidden, notFound } from "./api-error.ts";
import { applyDefaults, validateObject } from "./machinery.ts";
import { notInForce } from "./not-in-force.ts";
import type { RequestContext } from "./request-context.ts";
import type { ObjectRules } from "./resource-store.ts";
import type { Mutable, ResourceHandle } from "./resource-type.ts";
import type { WatchCache } from "./watch-cache.ts";

const namespaces = { group: "", resource: "namespaces" };

/** A check of one write that can refuse it by throwing: webhooks, policies and quotas are such. */
export type FinalCheck = (
  handle: ResourceHandle,
  object: KubeObject | undefined,
  old: KubeObject | undefined,
  context: RequestContext,
) => void | Promise<void>;

/** The steps of every write: defaults, admission, validation. */
export class Admission implements ObjectRules {
  readonly #namespaces: () => WatchCache;
  readonly #checks: FinalCheck[] = [];

  constructor(namespaceCache: () => WatchCache) {
    this.#namespaces = namespaceCache;
  }

  /** Adds a check that runs after validation, in the order added. */
  addCheck(check: FinalCheck): void {
    this.#checks.push(check);
  }

  applyDefaults(handle: ResourceHandle, object: Mutable): void {
    applyDefaults(handle.type, object);
  }

  validate(
    handle: ResourceHandle,
    object: KubeObject,
    old: KubeObject | undefined,
    subresource: string,
  ): FieldProblem[] {
    return validateObject(handle.type, object, old, subresource);
  }

  async admitCreate(
    handle: ResourceHandle,
    namespace: string,
    object: Mutable,
    context: RequestContext,
  ): Promise<void> {
    const idle = notInForce.get(`${handle.type.group}/${handle.type.kind}`);
    if (idle !== undefined)
      context.warnings.push(`${handle.type.kind} is stored, but not in force in this version of Gantry: ${idle}`);
    if (handle.type.namespaced) await this.#checkNamespace(handle, namespace, object);
  }

  async admitUpdate(): Promise<void> {}

  async admitFinally(
    handle: ResourceHandle,
    object: KubeObject | undefined,
    old: KubeObject | undefined,
    context: RequestContext,
  ): Promise<void> {
    for (const check of this.#checks) await check(handle, object, old, context);
  }

  /** Nothing is made in a namespace that is not there or is going away (upstream's NamespaceLifecycle). */
  async #checkNamespace({ type }: ResourceHandle, namespace: string, object: Mutable): Promise<void> {
    const cache = this.#namespaces();
    await cache.ready();
    let found = cache.get(cache.keyOf("", namespace));
    if (found === undefined) {
      await cache.consistent();
      found = cache.get(cache.keyOf("", namespace));
    }
    if (found === undefined) throw notFound(namespaces, namespace);
    if (found.object.metadata?.deletionTimestamp === undefined) return;
    throw forbidden(
      type,
      object.metadata?.name ?? object.metadata?.generateName ?? "",
      `unable to create new content in namespace ${namespace} because it is being terminated`,
      [
        {
          reason: "NamespaceTerminating",
          message: `namespace ${namespace} is being terminated`,
          field: "metadata.namespace",
        },
      ],
    );
  }
}

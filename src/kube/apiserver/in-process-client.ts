import type { KubeList, KubeObject, ResourceRef } from "#api/kube/object.ts";
import { errorFromStatus } from "#kube/client/error-from-status.ts";
import type {
  DeleteQuery,
  KubeClient,
  ListQuery,
  PatchType,
  ServedResource,
  WatchEvent,
  WatchQuery,
  WriteQuery,
} from "#kube/client/client.ts";
import { statusOf } from "./api-error.ts";
import { cloneJson } from "./json-clone.ts";
import { fromStorage } from "./conversion.ts";
import { noListOptions } from "./list-options.ts";
import type { Operations, Target } from "./operations.ts";
import { contextFor, type RequestContext } from "./request-context.ts";
import { apiVersionOf, type Mutable } from "./resource-type.ts";
import type { UserInfo } from "./user.ts";
import { bookmarkObject } from "./watch-stream.ts";

/**
 * The API without HTTP: same verbs, same authorisation and admission, but objects are the cache's own frozen
 * ones. What a caller passes is copied.
 */
export class InProcessClient implements KubeClient {
  readonly #operations: Operations;
  readonly #user: UserInfo;
  readonly #open: () => Promise<void>;

  /** `open` is awaited before each call: the server behind may not have read its store yet. */
  constructor(operations: Operations, user: UserInfo, open: () => Promise<void>) {
    this.#operations = operations;
    this.#user = user;
    this.#open = open;
  }

  async get<T extends KubeObject>(resource: ResourceRef, namespace: string | undefined, name: string): Promise<T> {
    return this.#run(
      async (context) => (await this.#operations.get(this.#target(resource, namespace, name), context)).object as T,
    );
  }

  async list<T extends KubeObject>(resource: ResourceRef, query: ListQuery = {}): Promise<KubeList<T>> {
    return this.#run(async (context) => {
      const { namespace = "", ...rest } = query;
      const served = this.#operations.registry.need(resource);
      const answer = await this.#operations.list(served, namespace, { ...noListOptions, ...defined(rest) }, context);
      return {
        kind: `${served.type.kind}List`,
        apiVersion: apiVersionOf(served.type.group, served.version),
        metadata: {
          resourceVersion: String(answer.revision),
          ...(answer.continue === "" ? {} : { continue: answer.continue }),
          ...(answer.remaining === undefined ? {} : { remainingItemCount: answer.remaining }),
        },
        items: answer.entries.map((entry) => entry.object as T),
      };
    });
  }

  async *watch<T extends KubeObject>(resource: ResourceRef, query: WatchQuery): AsyncGenerator<WatchEvent<T>> {
    const { namespace = "", signal, bookmarks = false, ...rest } = query;
    if (signal.aborted) return;
    const served = this.#operations.registry.need(resource);
    const options = {
      ...noListOptions,
      ...defined(rest),
      allowWatchBookmarks: bookmarks,
      sendInitialEvents: undefined,
      timeoutSeconds: 0,
    };
    const watcher = await this.#run((context) => this.#operations.watch(served, namespace, options, context));
    const stop = (): void => watcher.end();
    signal.addEventListener("abort", stop, { once: true });
    try {
      for await (const batch of watcher.batches()) {
        for (const item of batch) {
          if (signal.aborted) return;
          const object =
            item.type === "BOOKMARK"
              ? bookmarkObject(served, item)
              : fromStorage(served, item.event.shown(item.type).object);
          yield { type: item.type, object: object as T };
        }
      }
    } finally {
      signal.removeEventListener("abort", stop);
      watcher.end();
    }
  }

  create<T extends KubeObject>(resource: ResourceRef, object: T, query: WriteQuery = {}): Promise<T> {
    return this.#run(async (context) => {
      const { namespace, name } = object.metadata ?? {};
      const target = this.#target(
        resource,
        namespace,
        query.subresource === undefined ? "" : (name ?? ""),
        query.subresource,
      );
      return (await this.#operations.create(target, cloneJson(object) as Mutable, context)).object as T;
    }, query);
  }

  update<T extends KubeObject>(resource: ResourceRef, object: T, query: WriteQuery = {}): Promise<T> {
    return this.#run(async (context) => {
      const { namespace, name = "" } = object.metadata ?? {};
      const target = this.#target(resource, namespace, name, query.subresource);
      return (await this.#operations.update(target, cloneJson(object) as Mutable, context)).entry.object as T;
    }, query);
  }

  patch<T extends KubeObject>(
    resource: ResourceRef,
    namespace: string | undefined,
    name: string,
    type: PatchType,
    patch: unknown,
    query: WriteQuery = {},
  ): Promise<T> {
    return this.#run(async (context) => {
      const target = this.#target(resource, namespace, name, query.subresource);
      return (await this.#operations.patch(target, type, cloneJson(patch), context)).entry.object as T;
    }, query);
  }

  async delete(
    resource: ResourceRef,
    namespace: string | undefined,
    name: string,
    query: DeleteQuery = {},
  ): Promise<void> {
    await this.#run((context) =>
      this.#operations.delete(this.#target(resource, namespace, name), { ...query }, context),
    );
  }

  async deleteCollection(
    resource: ResourceRef,
    namespace: string | undefined,
    query: DeleteQuery & { labelSelector?: string; fieldSelector?: string } = {},
  ): Promise<void> {
    const { labelSelector = "", fieldSelector = "", ...deletion } = query;
    const options = { ...noListOptions, labelSelector, fieldSelector };
    await this.#run((context) =>
      this.#operations.deleteCollection(
        this.#operations.registry.need(resource),
        namespace ?? "",
        options,
        deletion,
        context,
      ),
    );
  }

  post<T extends KubeObject>(
    resource: ResourceRef,
    namespace: string | undefined,
    name: string,
    subresource: string,
    body: unknown,
  ): Promise<T> {
    return this.#run(async (context) => {
      const target = this.#target(resource, namespace, name, subresource);
      return (await this.#operations.create(target, cloneJson(body) as Mutable, context)).object as T;
    });
  }

  async resources(): Promise<ServedResource[]> {
    return this.#operations.registry.types.flatMap(({ group, resource, kind, namespaced, versions }) => {
      const preferred = versions[0];
      if (preferred === undefined) return [];
      return [{ group, version: preferred.version, resource, kind, namespaced, verbs: preferred.verbs }];
    });
  }

  #target(resource: ResourceRef, namespace: string | undefined, name: string, subresource = ""): Target {
    return { served: this.#operations.registry.need(resource), namespace: namespace ?? "", name, subresource };
  }

  /** Errors are the same as those of the HTTPS client: the code follows from the Status. */
  async #run<T>(work: (context: RequestContext) => Promise<T>, query: WriteQuery = {}): Promise<T> {
    const { fieldManager, dryRun = false, force = false } = query;
    const context = contextFor(this.#user, { fieldManager: fieldManager ?? this.#user.username, dryRun, force });
    try {
      await this.#open();
      return await work(context);
    } catch (error) {
      throw errorFromStatus(statusOf(error));
    }
  }
}

function defined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const out: Record<string, unknown> = {};
  for (const [key, each] of Object.entries(value)) if (each !== undefined) out[key] = each;
  return out as { [K in keyof T]?: Exclude<T[K], undefined> };
}

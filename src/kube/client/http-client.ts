import type { Dispatcher } from "undici";
import { GantryError, hasCode } from "#base/errors.ts";
import type { KubeList, KubeObject, ResourceRef } from "#api/kube/object.ts";
import type {
  DeleteQuery,
  KubeClient,
  ListQuery,
  PatchType,
  ServedResource,
  WatchEvent,
  WatchQuery,
  WriteQuery,
} from "./client.ts";
import { errorFromStatus } from "./error-from-status.ts";
import { splitLines } from "./lines.ts";
import { queryString, resourcePath } from "./resource-path.ts";

export interface HttpClientOptions {
  /** `https://host:port`. */
  server: string;
  /** PEM of the authority of the server's certificate. */
  ca?: string;
  /** Client certificate and key, PEM. */
  cert?: string;
  key?: string;
  token?: string;
  /** Shown in the server's log. */
  userAgent?: string;
  /** How long one request, other than a watch, may take. Default 60 s. */
  timeoutMs?: number;
}

/** A KubeClient over HTTPS that owns connections. */
export interface HttpKubeClient extends KubeClient {
  /** A GET of any path, as text: `/version`, `/readyz`. */
  raw(path: string): Promise<string>;
  /** Closes idle connections and ends watches. */
  close(): Promise<void>;
}

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** Builds a client over HTTPS. Connections are opened as they are needed. */
export async function createHttpClient(options: HttpClientOptions): Promise<HttpKubeClient> {
  const { Agent } = await import("undici");
  const { ca, cert, key } = options;
  const agent = new Agent({
    connect: { ca, cert, key, timeout: 10_000 },
    pipelining: 1,
    // A watch may say nothing for a long time.
    bodyTimeout: 0,
    headersTimeout: 0,
    keepAliveTimeout: 60_000,
  });
  return new UndiciKubeClient(options, agent);
}

class UndiciKubeClient implements HttpKubeClient {
  readonly #options: HttpClientOptions;
  readonly #agent: Dispatcher;
  readonly #headers: Record<string, string>;
  readonly #closing = new AbortController();

  constructor(options: HttpClientOptions, agent: Dispatcher) {
    this.#options = options;
    this.#agent = agent;
    this.#headers = { accept: "application/json", "user-agent": options.userAgent ?? "gantry" };
    if (options.token !== undefined) this.#headers["authorization"] = `Bearer ${options.token}`;
  }

  get<T extends KubeObject>(resource: ResourceRef, namespace: string | undefined, name: string): Promise<T> {
    return this.#json<T>("GET", resourcePath(resource, namespace, name));
  }

  async list<T extends KubeObject>(resource: ResourceRef, query: ListQuery = {}): Promise<KubeList<T>> {
    const { namespace, ...rest } = query;
    const list = await this.#json<KubeList<T>>("GET", resourcePath(resource, namespace) + queryString(rest));
    // Items of a list come without their kind; in process they have it.
    const kind = list.kind?.replace(/List$/, "");
    for (const item of list.items) {
      item.apiVersion ??= list.apiVersion ?? "";
      item.kind ??= kind ?? "";
    }
    return list;
  }

  async *watch<T extends KubeObject>(resource: ResourceRef, query: WatchQuery): AsyncGenerator<WatchEvent<T>> {
    const { namespace, signal, bookmarks, limit: _limit, continue: _continue, ...rest } = query;
    const path =
      resourcePath(resource, namespace) +
      queryString({ ...rest, watch: true, ...(bookmarks === true ? { allowWatchBookmarks: true } : {}) });
    const stop = AbortSignal.any([signal, this.#closing.signal]);
    if (stop.aborted) return;
    try {
      const { statusCode, body } = await this.#agent.request({
        origin: this.#options.server,
        path,
        method: "GET",
        headers: this.#headers,
        signal: stop,
      });
      if (statusCode !== 200) throw errorFromStatus(parseStatus(await body.text()), statusCode);
      for await (const line of splitLines(body)) {
        const event = JSON.parse(line) as WatchEvent<T> | { type: "ERROR"; object: { message?: string } };
        if (event.type === "ERROR") throw errorFromStatus(event.object);
        if (event.type === "BOOKMARK" && bookmarks !== true) continue;
        yield event as WatchEvent<T>;
      }
    } catch (error) {
      if (stop.aborted) return;
      throw asGantryError(error, this.#options.server);
    }
  }

  create<T extends KubeObject>(resource: ResourceRef, object: T, query: WriteQuery = {}): Promise<T> {
    const { namespace, name } = object.metadata ?? {};
    const path = resourcePath(
      resource,
      namespace,
      query.subresource === undefined ? undefined : name,
      query.subresource,
    );
    return this.#json<T>("POST", path + writeQuery(query), object);
  }

  update<T extends KubeObject>(resource: ResourceRef, object: T, query: WriteQuery = {}): Promise<T> {
    const { namespace, name } = object.metadata ?? {};
    return this.#json<T>("PUT", resourcePath(resource, namespace, name, query.subresource) + writeQuery(query), object);
  }

  patch<T extends KubeObject>(
    resource: ResourceRef,
    namespace: string | undefined,
    name: string,
    type: PatchType,
    patch: unknown,
    query: WriteQuery = {},
  ): Promise<T> {
    const path = resourcePath(resource, namespace, name, query.subresource) + writeQuery(query);
    return this.#json<T>("PATCH", path, patch, type);
  }

  async delete(
    resource: ResourceRef,
    namespace: string | undefined,
    name: string,
    query: DeleteQuery = {},
  ): Promise<void> {
    await this.#json("DELETE", resourcePath(resource, namespace, name), {
      kind: "DeleteOptions",
      apiVersion: "v1",
      ...query,
    });
  }

  async deleteCollection(
    resource: ResourceRef,
    namespace: string | undefined,
    query: DeleteQuery & { labelSelector?: string; fieldSelector?: string } = {},
  ): Promise<void> {
    const { labelSelector, fieldSelector, ...rest } = query;
    const path = resourcePath(resource, namespace) + queryString({ labelSelector, fieldSelector });
    await this.#json("DELETE", path, { kind: "DeleteOptions", apiVersion: "v1", ...rest });
  }

  post<T extends KubeObject>(
    resource: ResourceRef,
    namespace: string | undefined,
    name: string,
    subresource: string,
    body: unknown,
  ): Promise<T> {
    return this.#json<T>("POST", resourcePath(resource, namespace, name, subresource), body);
  }

  async resources(): Promise<ServedResource[]> {
    interface GroupList {
      groups: { name: string; preferredVersion: { version: string } }[];
    }
    interface ResourceList {
      resources: { name: string; kind: string; namespaced: boolean; verbs: string[] }[];
    }
    const { groups } = await this.#json<GroupList>("GET", "/apis");
    const versions = [
      { group: "", version: "v1", path: "/api/v1" },
      ...groups.map(({ name, preferredVersion: { version } }) => ({
        group: name,
        version,
        path: `/apis/${name}/${version}`,
      })),
    ];
    const lists = await Promise.all(
      versions.map(async ({ group, version, path }) => {
        const list = await this.#json<ResourceList>("GET", path);
        return list.resources
          .filter(({ name }) => !name.includes("/"))
          .map(({ name, kind, namespaced, verbs }) => ({ group, version, resource: name, kind, namespaced, verbs }));
      }),
    );
    return lists.flat();
  }

  async raw(path: string): Promise<string> {
    return (await this.#send("GET", path)).text;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#agent.destroy();
  }

  async #json<T>(method: Method, path: string, body?: unknown, contentType = "application/json"): Promise<T> {
    const { text } = await this.#send(method, path, body, contentType);
    return JSON.parse(text) as T;
  }

  async #send(method: Method, path: string, body?: unknown, contentType?: string): Promise<{ text: string }> {
    try {
      const response = await this.#agent.request({
        origin: this.#options.server,
        path,
        method,
        headers: body === undefined ? this.#headers : { ...this.#headers, "content-type": contentType as string },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.any([this.#closing.signal, AbortSignal.timeout(this.#options.timeoutMs ?? 60_000)]),
      });
      const text = await response.body.text();
      if (response.statusCode >= 300) throw errorFromStatus(parseStatus(text), response.statusCode);
      return { text };
    } catch (error) {
      throw asGantryError(error, this.#options.server);
    }
  }
}

function writeQuery({ fieldManager, dryRun, force }: WriteQuery): string {
  return queryString({ fieldManager, force, ...(dryRun === true ? { dryRun: "All" } : {}) });
}

function parseStatus(text: string): { message?: string; reason?: string; code?: number } {
  try {
    const value = JSON.parse(text) as { kind?: string };
    if (value.kind === "Status") return value as { message?: string };
  } catch {
    // Not JSON: a proxy's or a health check's plain text.
  }
  return { message: text.slice(0, 1000).trim() };
}

function asGantryError(error: unknown, server: string): unknown {
  if (error instanceof GantryError || hasCode(error, "cancelled")) return error;
  if (error instanceof Error && error.name === "TimeoutError")
    return new GantryError("timeout", `The API server at ${server} did not answer in time.`, { cause: error });
  if (error instanceof Error && error.name === "AbortError")
    return new GantryError("cancelled", "The client was closed.", { cause: error });
  return new GantryError("unavailable", `The API server at ${server} cannot be reached.`, { cause: error });
}

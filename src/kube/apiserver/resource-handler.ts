import type { Clock } from "#base/clock.ts";
import { type GantryError, hasCode } from "#base/errors.ts";
import type { KubeObject } from "#api/kube/object.ts";
import type { HttpRequest, HttpResponse } from "#web/http.ts";
import {
  badRequest,
  invalid,
  methodUnknown,
  notAcceptable,
  pathNotFound,
  statusOf,
  tooLarge,
  unsupportedMediaType,
} from "./api-error.ts";
import type { CacheWatcher } from "./cache-watcher.ts";
import { type CacheEntry, joinEntries } from "./cache-entry.ts";
import type { DeleteOptions } from "./deletion.ts";
import { parseListOptions } from "./list-options.ts";
import type { ListAnswer } from "./list-reader.ts";
import { acceptedMediaTypes, decodeBody, decodePatch, toProtobuf, toYaml } from "./machinery.ts";
import { chooseForm, type Wanted } from "./negotiation.ts";
import type { NodeConnection } from "./node-connection.ts";
import type { Operations, Target } from "./operations.ts";
import type { Served } from "./registry.ts";
import type { FieldValidation, RequestContext } from "./request-context.ts";
import type { ResourcePath } from "./request-info.ts";
import { apiVersionOf, type KindRef, type Mutable, servedVersion } from "./resource-type.ts";
import { type IncludeObject, partialMetadata, tableOf, transformObject } from "./transform.ts";
import type { UserInfo } from "./user.ts";
import { streamWatch } from "./watch-stream.ts";

export interface ResourceHandlerParts {
  operations: Operations;
  nodes: NodeConnection;
  clock: Clock;
  /** Ends watches when the server stops. */
  signal: AbortSignal;
}

export const bodyLimit = 3 * 1024 * 1024;

const patchTypes = [
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
  "application/apply-patch+yaml",
];
const proxyVerbs: Record<string, string> = {
  GET: "get",
  HEAD: "get",
  POST: "create",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
  OPTIONS: "get",
};

/** Requests for resources, from HTTP to operations and back. */
export class ResourceHandler {
  readonly #parts: ResourceHandlerParts;

  constructor(parts: ResourceHandlerParts) {
    this.#parts = parts;
  }

  async serve(path: ResourcePath, user: UserInfo, request: HttpRequest, response: HttpResponse): Promise<void> {
    const { operations } = this.#parts;
    const found = operations.registry.find(path);
    if (found === undefined) {
      // Nobody learns what is there without being allowed to.
      operations.authorize(user, {
        verb: verbOf(path, request),
        group: path.group,
        resource: path.resource,
        subresource: path.subresource,
        namespace: path.namespace,
        name: path.name,
      });
      throw pathNotFound();
    }
    const target: Target = { served: found, namespace: path.namespace, name: path.name, subresource: path.subresource };
    if (
      found.type.namespaced !== (path.namespace !== "") &&
      (path.name !== "" || path.namespace !== "" || request.method === "POST")
    )
      throw pathNotFound();
    const connect = connectVerb(target);
    if (connect) return this.#connect(path, target, user, request, response);
    const context = contextOf(user, request);
    if (path.name === "") return this.#collection(target, path.legacyWatch, context, request, response);
    if (path.rest !== "") throw pathNotFound();
    switch (request.method) {
      case "GET":
      case "HEAD":
        if (path.legacyWatch) return this.#watch(target, context, request, response);
        return this.#object(
          target,
          await operations.get(target, context, versionParameter(request)),
          200,
          context,
          request,
          response,
        );
      case "PUT": {
        const body = await this.#body(target, request, context);
        const { entry, created } = await operations.update(target, body, context);
        return this.#object(target, entry, created ? 201 : 200, context, request, response);
      }
      case "PATCH": {
        const contentType = mediaType(request);
        if (!patchTypes.includes(contentType)) throw unsupportedMediaType(patchTypes);
        checkPatchOptions(contentType, request.query);
        const patch = await decodePatch(contentType, await readBody(request));
        const { entry, created } = await operations.patch(target, contentType, patch, context);
        return this.#object(target, entry, created ? 201 : 200, context, request, response);
      }
      case "POST": {
        if (path.subresource === "") throw methodUnknown();
        const body = await this.#body(target, request, context);
        return this.#object(target, await operations.create(target, body, context), 201, context, request, response);
      }
      case "DELETE":
        return this.#delete(target, context, request, response);
      default:
        throw methodUnknown();
    }
  }

  async #collection(
    target: Target,
    legacyWatch: boolean,
    context: RequestContext,
    request: HttpRequest,
    response: HttpResponse,
  ): Promise<void> {
    const { operations } = this.#parts;
    const { served, namespace } = target;
    switch (request.method) {
      case "GET":
      case "HEAD": {
        const options = parseListOptions(request.query);
        if (options.watch || legacyWatch) return this.#watch(target, context, request, response);
        return this.#list(
          served,
          await operations.list(served, namespace, options, context),
          context,
          request,
          response,
        );
      }
      case "POST": {
        const body = await this.#body(target, request, context);
        const named = { ...target, name: body.metadata?.name ?? "" };
        return this.#object(
          target,
          await operations.create({ ...named, name: "" }, body, context),
          201,
          context,
          request,
          response,
        );
      }
      case "DELETE": {
        const deletion = await deleteOptions(request, context);
        const list = await operations.deleteCollection(
          served,
          namespace,
          parseListOptions(request.query),
          deletion,
          context,
        );
        return this.#list(served, list, context, request, response);
      }
      default:
        throw methodUnknown();
    }
  }

  async #delete(target: Target, context: RequestContext, request: HttpRequest, response: HttpResponse): Promise<void> {
    const { served } = target;
    const options = await deleteOptions(request, context);
    const { entry, gone } = await this.#parts.operations.delete(target, options, context);
    if (!gone) {
      const policy = options.propagationPolicy;
      return this.#object(
        target,
        entry,
        policy === "Foreground" || options.orphanDependents === false ? 202 : 200,
        context,
        request,
        response,
      );
    }
    // A pod's deletion is answered with the pod itself; anything else's with a Status.
    if (served.type.resource === "pods" && served.type.group === "")
      return this.#object(target, entry, 200, context, request, response);
    const { group, resource } = served.type;
    const status = {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Success",
      details: {
        name: target.name,
        ...(group === "" ? {} : { group }),
        kind: resource,
        uid: entry.object.metadata?.uid,
      },
    };
    await send(response, 200, context, request, status as unknown as KubeObject);
  }

  /** One object, in the form that the client wants. */
  async #object(
    target: Target,
    entry: CacheEntry,
    code: number,
    context: RequestContext,
    request: HttpRequest,
    response: HttpResponse,
  ): Promise<void> {
    const form = formOf(request);
    if (form.as !== "" && form.as !== "PartialObjectMetadataList") {
      const object = transformObject(kindOf(target), entry.object, form, includeOf(request), this.#parts.clock.now());
      return send(response, code, context, request, object, form);
    }
    if (form.format === "json" && !isPretty(request)) return sendBytes(response, code, context, entry.bytes());
    return send(response, code, context, request, entry.object, form);
  }

  async #list(
    served: Served,
    answer: ListAnswer,
    context: RequestContext,
    request: HttpRequest,
    response: HttpResponse,
  ): Promise<void> {
    const form = formOf(request);
    const { type, version } = served;
    const metadata: Record<string, unknown> = { resourceVersion: String(answer.revision) };
    if (answer.continue !== "") metadata["continue"] = answer.continue;
    if (answer.remaining !== undefined) metadata["remainingItemCount"] = answer.remaining;
    const apiVersion = apiVersionOf(type.group, version);
    if (form.as === "" && form.format === "json" && !isPretty(request)) {
      const head = `{"kind":"${type.kind}List","apiVersion":"${apiVersion}","metadata":${JSON.stringify(metadata)},"items":[`;
      return sendBytes(response, 200, context, joinEntries(head, answer.entries));
    }
    const objects = answer.entries.map((entry) => entry.object);
    if (form.as === "Table") {
      const kind = { group: type.group, version, kind: type.kind };
      const table = tableOf(kind, objects, metadata, {
        include: includeOf(request),
        version: form.version,
        headers: true,
        now: this.#parts.clock.now(),
      });
      return send(response, 200, context, request, table, form);
    }
    const list =
      form.as === ""
        ? { kind: `${type.kind}List`, apiVersion, metadata, items: objects }
        : {
            kind: "PartialObjectMetadataList",
            apiVersion: `meta.k8s.io/${form.version}`,
            metadata,
            items: objects.map((object) => partialMetadata(object, form.version)),
          };
    return send(response, 200, context, request, list as unknown as KubeObject, form);
  }

  async #watch(target: Target, context: RequestContext, request: HttpRequest, response: HttpResponse): Promise<void> {
    const { served, namespace, name } = target;
    const { watch: _watch, ...options } = parseListOptions(request.query);
    if (name !== "")
      options.fieldSelector = [`metadata.name=${name}`, options.fieldSelector].filter((text) => text !== "").join(",");
    const form = formOf(request);
    let watcher: CacheWatcher;
    try {
      watcher = await this.#parts.operations.watch(served, namespace, options, context);
    } catch (error) {
      if (!hasCode(error, "gone")) throw error;
      // Upstream tells this inside the stream, and clients look for it there.
      response.send(
        200,
        { "content-type": "application/json" },
        `${JSON.stringify({ type: "ERROR", object: statusOf(error) })}\n`,
      );
      return;
    }
    await streamWatch({
      served,
      watcher,
      form,
      include: includeOf(request),
      timeoutSeconds: options.timeoutSeconds,
      clock: this.#parts.clock,
      signal: AbortSignal.any([request.signal, this.#parts.signal]),
      response,
      headers: warningHeaders(context),
    });
  }

  async #connect(
    path: ResourcePath,
    target: Target,
    user: UserInfo,
    request: HttpRequest,
    response: HttpResponse,
  ): Promise<void> {
    const { operations, nodes } = this.#parts;
    const { served, namespace, subresource } = target;
    // Opening a session is a create for everything but the log, however it is asked for.
    const verb =
      subresource === "log"
        ? "get"
        : subresource === "proxy"
          ? (proxyVerbs[request.method] ?? "get")
          : request.method === "POST"
            ? "create"
            : "get";
    // The port is no part of the name that is granted.
    const name = subresource === "proxy" ? path.name : target.name;
    operations.allow(user, verb, { ...target, name });
    if (subresource === "proxy") {
      if (served.type.resource === "nodes") return nodes.nodeProxy(path.name, path.rest, request, response);
      if (served.type.resource === "services")
        return nodes.serviceProxy(namespace, path.name, path.rest, request, response);
      return nodes.podProxy(namespace, path.name, path.rest, request, response);
    }
    if (path.rest !== "") throw pathNotFound();
    return nodes.pod(subresource as "log", namespace, path.name, request, response);
  }

  async #body(target: Target, request: HttpRequest, context: RequestContext): Promise<Mutable> {
    const body = await readBody(request);
    return decodeBody(body, mediaType(request), kindOf(target), context.fieldValidation, context.warnings);
  }
}

/** Who applies must be named; only who applies may force. Throws 422. */
function checkPatchOptions(contentType: string, query: URLSearchParams): void {
  const refuse = (reason: string, field: string, message: string): GantryError =>
    invalid({ group: "meta.k8s.io", kind: "PatchOptions" }, "", [{ reason, field, message }]);
  if (contentType !== "application/apply-patch+yaml") {
    if (query.get("force") !== null)
      throw refuse("FieldValueForbidden", "force", "Forbidden: may not be specified for non-apply patch");
  } else if (!query.get("fieldManager")) {
    throw refuse("FieldValueRequired", "fieldManager", "Required value: is required for apply patch");
  }
}

/** Throws 406 when the client accepts nothing that we have. */
function formOf(request: HttpRequest): Wanted {
  const form = chooseForm(request.header("accept"));
  if (form === undefined) throw notAcceptable(acceptedMediaTypes);
  return form;
}

function kindOf({ served: { type, version }, subresource }: Target): KindRef {
  if (subresource !== "") {
    const info = servedVersion(type, version)?.subresources.get(subresource);
    if (info !== undefined) return info.kind;
  }
  return { group: type.group, version, kind: type.kind };
}

function connectVerb({ served: { type }, subresource }: Target): boolean {
  if (type.group !== "") return false;
  if (subresource === "proxy") return ["pods", "services", "nodes"].includes(type.resource);
  return type.resource === "pods" && ["log", "exec", "attach", "portforward"].includes(subresource);
}

function verbOf(path: ResourcePath, request: HttpRequest): string {
  const one = path.name !== "";
  switch (request.method) {
    case "POST":
      return "create";
    case "PUT":
      return "update";
    case "PATCH":
      return "patch";
    case "DELETE":
      return one ? "delete" : "deletecollection";
    default:
      return one ? "get" : request.query.get("watch") ? "watch" : "list";
  }
}

function mediaType(request: HttpRequest): string {
  return (request.header("content-type").split(";")[0] ?? "").trim().toLowerCase();
}

function versionParameter(request: HttpRequest): string {
  const value = request.query.get("resourceVersion") ?? "";
  if (value !== "" && !/^\d+$/.test(value))
    throw badRequest(`resourceVersion: Invalid value: ${JSON.stringify(value)}`);
  return value;
}

async function readBody(request: HttpRequest): Promise<Buffer> {
  try {
    return await request.readBody(bodyLimit);
  } catch (error) {
    if (hasCode(error, "too-large")) throw tooLarge(bodyLimit);
    throw error;
  }
}

function contextOf(user: UserInfo, request: HttpRequest): RequestContext {
  const { query } = request;
  const dry = query.getAll("dryRun").filter((value) => value !== "");
  for (const value of dry)
    if (value !== "All")
      throw invalid({ group: "meta.k8s.io", kind: optionsKind(request.method) }, "", [
        {
          reason: "FieldValueNotSupported",
          field: "dryRun",
          message: `Unsupported value: ${JSON.stringify(value)}: supported values: "All"`,
        },
      ]);
  const validation = query.get("fieldValidation") ?? "";
  if (!["", "Strict", "Warn", "Ignore"].includes(validation))
    throw invalid({ group: "meta.k8s.io", kind: optionsKind(request.method) }, "", [
      {
        reason: "FieldValueNotSupported",
        field: "fieldValidation",
        message: `Unsupported value: ${JSON.stringify(validation)}: supported values: "Ignore", "Strict", "Warn"`,
      },
    ]);
  const agent = request.header("user-agent");
  return {
    user,
    warnings: [],
    dryRun: dry.length > 0,
    fieldManager: query.get("fieldManager") || (agent.split("/")[0] ?? "").slice(0, 128) || "unknown",
    force: query.get("force") === "true",
    fieldValidation: validation === "" ? "Warn" : (validation as FieldValidation),
  };
}

function optionsKind(method: string): string {
  return (
    { POST: "CreateOptions", PUT: "UpdateOptions", PATCH: "PatchOptions", DELETE: "DeleteOptions" }[method] ??
    "ListOptions"
  );
}

async function deleteOptions(request: HttpRequest, context: RequestContext): Promise<DeleteOptions> {
  const body = await readBody(request);
  const options: DeleteOptions =
    body.length === 0
      ? {}
      : ((await decodeBody(
          body,
          mediaType(request),
          { group: "", version: "v1", kind: "DeleteOptions" },
          "Ignore",
          [],
        )) as DeleteOptions);
  if (body.length === 0) {
    const { query } = request;
    const grace = query.get("gracePeriodSeconds");
    const policy = query.get("propagationPolicy");
    const orphan = query.get("orphanDependents");
    if (grace !== null && grace !== "") options.gracePeriodSeconds = Number(grace);
    if (policy !== null && policy !== "") options.propagationPolicy = policy;
    if (orphan !== null && orphan !== "") options.orphanDependents = orphan === "true";
  }
  if (options.dryRun?.includes("All") === true) context.dryRun = true;
  return options;
}

function includeOf(request: HttpRequest): IncludeObject {
  const value = request.query.get("includeObject") ?? "";
  if (value === "") return "Metadata";
  if (value === "None" || value === "Metadata" || value === "Object") return value;
  throw badRequest(
    `includeObject: Invalid value: ${JSON.stringify(value)}: must be 'Metadata', 'Object', 'None', or empty`,
  );
}

function isPretty(request: HttpRequest): boolean {
  const value = request.query.get("pretty");
  if (value !== null) return value === "" || value === "true" || value === "1";
  return /^(curl|Wget|Mozilla)/.test(request.header("user-agent"));
}

function warningHeaders({ warnings }: RequestContext): Record<string, string[]> {
  if (warnings.length === 0) return {};
  const texts = [...new Set(warnings)].map((text) => `299 - ${JSON.stringify(text.replaceAll("\n", " "))}`);
  return { warning: texts };
}

function sendBytes(response: HttpResponse, code: number, context: RequestContext, bytes: Buffer): void {
  response.send(code, { "content-type": "application/json", ...warningHeaders(context) }, bytes);
}

async function send(
  response: HttpResponse,
  code: number,
  context: RequestContext,
  request: HttpRequest,
  object: KubeObject,
  form?: Wanted,
): Promise<void> {
  const headers = warningHeaders(context);
  if (form?.format === "protobuf") {
    const bytes = toProtobuf(object);
    if (bytes !== undefined)
      return response.send(code, { "content-type": "application/vnd.kubernetes.protobuf", ...headers }, bytes);
  }
  if (form?.format === "yaml")
    return response.send(code, { "content-type": "application/yaml", ...headers }, await toYaml(object));
  const text = JSON.stringify(object, undefined, isPretty(request) ? 2 : undefined);
  response.send(code, { "content-type": "application/json", ...headers }, `${text}\n`);
}

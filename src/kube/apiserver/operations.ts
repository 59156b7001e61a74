import { hasCode } from "#base/errors.ts";
import type { KubeObject, ObjectMeta } from "#api/kube/object.ts";
import { badRequest, conflict, forbidden, forbiddenPath, methodNotAllowed, pathNotFound } from "./api-error.ts";
import { CacheEntry, encodeStored } from "./cache-entry.ts";
import type { CacheWatcher } from "./cache-watcher.ts";
import { fromStorage, isStorageForm, toStorage } from "./conversion.ts";
import { checkDeleteOptions, type DeleteOptions } from "./deletion.ts";
import type { ListOptions, WatchRequest } from "./list-options.ts";
import type { ListAnswer } from "./list-reader.ts";
import { applyPatch } from "./machinery.ts";
import { deniedMessage, type RbacAuthorizer } from "./rbac-authorizer.ts";
import type { AccessRequest } from "./rbac-rules.ts";
import type { Registry, Served } from "./registry.ts";
import type { RequestContext } from "./request-context.ts";
import type { Deleted, ResourceStore, Written } from "./resource-store.ts";
import { type Mutable, servedVersion } from "./resource-type.ts";
import { parseSelection } from "./selection.ts";
import { expired } from "./watch-cache.ts";
import type { UserInfo } from "./user.ts";

/** One object that a request is about. */
export interface Target {
  served: Served;
  /** "" for cluster-scoped. */
  namespace: string;
  name: string;
  /** "" for the object itself. */
  subresource: string;
}

/**
 * A subresource that is more than a part of the object: what it answers to each verb. The request has been
 * authorised, and the body decoded, when these are called.
 */
export interface SubresourceHandler {
  get?(target: Target, context: RequestContext): Promise<KubeObject>;
  update?(target: Target, body: Mutable, context: RequestContext): Promise<KubeObject>;
  create?(target: Target, body: Mutable, context: RequestContext): Promise<KubeObject>;
}

/** A resource that is not stored: reviews, which are asked and answered. */
export type VirtualResource = (body: Mutable, namespace: string, context: RequestContext) => Promise<KubeObject>;

export interface OperationsParts {
  registry: Registry;
  store: ResourceStore;
  authorizer: RbacAuthorizer;
  /** By `group/resource/subresource`. */
  subresources: ReadonlyMap<string, SubresourceHandler>;
  /** By `group/resource`. */
  virtual: ReadonlyMap<string, VirtualResource>;
}

/** Subresources that write a part of the object itself. */
const partWrites = new Set(["status", "ephemeralcontainers", "resize", "finalize", "approval"]);

/** The verbs of the API, with authorisation: what HTTP handlers and in-process clients both call. */
export class Operations {
  readonly #parts: OperationsParts;

  constructor(parts: OperationsParts) {
    this.#parts = parts;
  }

  get registry(): Registry {
    return this.#parts.registry;
  }

  get store(): ResourceStore {
    return this.#parts.store;
  }

  /** Throws 403 in upstream's words. */
  authorize(user: UserInfo, request: AccessRequest): void {
    const decision = this.#parts.authorizer.authorize(user, request);
    if (decision.allowed) return;
    const why = deniedMessage(user, request) + (decision.reason === "" ? "" : `: ${decision.reason}`);
    if ("path" in request) throw forbiddenPath(`forbidden: ${why}`);
    throw forbidden(request, request.name, why);
  }

  allow(user: UserInfo, verb: string, { served, namespace, name, subresource }: Target): void {
    const { type, version } = served;
    this.authorize(user, { verb, group: type.group, version, resource: type.resource, subresource, namespace, name });
  }

  async get(target: Target, context: RequestContext, resourceVersion = ""): Promise<CacheEntry> {
    this.#needVerb(target, "get");
    this.allow(context.user, "get", target);
    const { served, namespace, name, subresource } = target;
    const special = this.#special(target);
    if (special !== undefined) {
      if (special.get === undefined) throw methodNotAllowed(served.type, "get");
      return virtualEntry(await special.get(target, context));
    }
    if (subresource !== "" && !partWrites.has(subresource)) throw pathNotFound();
    return this.shown(served, await this.#parts.store.get(served.handle, namespace, name, resourceVersion));
  }

  async list(served: Served, namespace: string, options: ListOptions, context: RequestContext): Promise<ListAnswer> {
    const target = { served, namespace, name: "", subresource: "" };
    this.#needVerb(target, "list");
    const selection = parseSelection(served.handle.type, options.labelSelector, options.fieldSelector);
    this.allow(context.user, "list", { ...target, name: selection.name ?? "" });
    const answer = await this.#parts.store.list(served.handle, namespace, options);
    if (isStorageForm(served)) return answer;
    return { ...answer, entries: answer.entries.map((entry) => this.shown(served, entry)) };
  }

  /** A watch from where the request says. Throws 410 when that is forgotten. */
  async watch(
    served: Served,
    namespace: string,
    options: WatchRequest,
    context: RequestContext,
  ): Promise<CacheWatcher> {
    const target = { served, namespace, name: "", subresource: "" };
    this.#needVerb(target, "watch");
    const { cache, type } = served.handle;
    const selection = parseSelection(type, options.labelSelector, options.fieldSelector);
    this.allow(context.user, "watch", { ...target, name: selection.name ?? "" });
    const asked = options.resourceVersion === "" ? 0 : Number(options.resourceVersion);
    const initial = options.sendInitialEvents ?? asked === 0;
    if (options.resourceVersion === "") await cache.consistent();
    else {
      await cache.ready();
      if (options.sendInitialEvents === true && asked > 0) await cache.waitFor(asked);
    }
    try {
      return await cache.watch({
        afterRevision: initial ? undefined : asked === 0 ? cache.revision : asked,
        markInitialEnd: options.sendInitialEvents === true,
        namespace,
        match: selection.match,
        bookmarks: options.allowWatchBookmarks,
      });
    } catch (error) {
      if (hasCode(error, "gone")) throw expired(asked, cache.oldest);
      throw error;
    }
  }

  /** Creates an object, or calls a subresource that is posted to. `body` becomes the server's. */
  async create(target: Target, body: Mutable, context: RequestContext): Promise<CacheEntry> {
    this.#needVerb(target, "create");
    this.allow(context.user, "create", target);
    const { served, namespace } = target;
    if (target.subresource !== "") {
      const special = this.#special(target);
      if (special?.create === undefined) throw methodNotAllowed(served.type, "create");
      return virtualEntry(await special.create(target, body, context));
    }
    const virtual = this.#parts.virtual.get(`${served.type.group}/${served.type.resource}`);
    if (virtual !== undefined) return virtualEntry(await virtual(body, namespace, context));
    const entry = await this.#parts.store.create(served.handle, namespace, toStorage(served, body), context);
    return this.shown(served, entry);
  }

  async update(target: Target, body: Mutable, context: RequestContext): Promise<Written> {
    this.#needVerb(target, "update");
    this.allow(context.user, "update", target);
    const { served } = target;
    const special = this.#special(target);
    if (special !== undefined) {
      if (special.update === undefined) throw methodNotAllowed(served.type, "update");
      return { entry: virtualEntry(await special.update(target, body, context)), created: false, deleted: false };
    }
    const object = toStorage(served, body);
    const createIfMissing = target.subresource === "" && served.handle.strategy.allowCreateOnUpdate === true;
    return this.#change(target, async () => object, context, createIfMissing);
  }

  async patch(target: Target, contentType: string, patch: unknown, context: RequestContext): Promise<Written> {
    this.#needVerb(target, "patch");
    this.allow(context.user, "patch", target);
    const { served, subresource } = target;
    const { group, kind } = served.type;
    const apply = contentType.startsWith("application/apply-patch");
    const applying = { ...context, applying: apply };
    const special = this.#special(target);
    if (special !== undefined) {
      if (special.get === undefined || special.update === undefined) throw methodNotAllowed(served.type, "patch");
      const info = servedVersion(served.type, served.version)?.subresources.get(subresource);
      const current = (await special.get(target, context)) as Mutable;
      const subject = info?.kind ?? { group, version: served.version, kind };
      const changed = await applyPatch(contentType, subject, structuredClone(current), patch, context, subresource);
      return { entry: virtualEntry(await special.update(target, changed, context)), created: false, deleted: false };
    }
    const change = async (current: Mutable | undefined): Promise<Mutable> => {
      const shown = current === undefined ? undefined : (fromStorage(served, current) as Mutable);
      const changed = await applyPatch(
        contentType,
        { group, version: served.version, kind },
        shown,
        patch,
        context,
        subresource,
      );
      this.#checkPatched(target, changed);
      return toStorage(served, changed);
    };
    return this.#change(target, change, applying, apply && subresource === "");
  }

  async delete(target: Target, options: DeleteOptions, context: RequestContext): Promise<Deleted> {
    this.#needVerb(target, "delete");
    this.allow(context.user, "delete", target);
    const { served, namespace, name } = target;
    const deleted = await this.#parts.store.delete(served.handle, namespace, name, options, context);
    return { ...deleted, entry: this.shown(served, deleted.entry) };
  }

  /** Deletes what the options select; the answer lists it. */
  async deleteCollection(
    served: Served,
    namespace: string,
    options: ListOptions,
    deletion: DeleteOptions,
    context: RequestContext,
  ): Promise<ListAnswer> {
    const target = { served, namespace, name: "", subresource: "" };
    this.#needVerb(target, "deletecollection");
    this.allow(context.user, "deletecollection", target);
    checkDeleteOptions(deletion);
    const found = await this.#parts.store.list(served.handle, namespace, options);
    const { preconditions: _one, ...each } = deletion;
    const gone: CacheEntry[] = [];
    // Some at a time: one commit takes many writes, and memory stays bounded.
    for (let at = 0; at < found.entries.length; at += 64) {
      const chunk = found.entries.slice(at, at + 64);
      await Promise.all(
        chunk.map(async (entry) => {
          try {
            const { entry: last } = await this.#parts.store.delete(
              served.handle,
              entry.namespace,
              entry.name,
              each,
              context,
            );
            gone.push(this.shown(served, last));
          } catch (error) {
            if (!hasCode(error, "not-found", "conflict")) throw error;
          }
        }),
      );
    }
    return { entries: gone, revision: served.handle.cache.revision, continue: "", remaining: undefined };
  }

  /** A stored entry in the version that the request speaks. */
  shown(served: Served, entry: CacheEntry): CacheEntry {
    if (isStorageForm(served)) return entry;
    const object = fromStorage(served, entry.object);
    return new CacheEntry(entry.key, entry.namespace, entry.name, entry.revision, encodeStored(object));
  }

  async #change(
    target: Target,
    change: (current: Mutable | undefined) => Promise<Mutable>,
    context: RequestContext,
    createIfMissing: boolean,
  ): Promise<Written> {
    const { served, namespace, name, subresource } = target;
    if (subresource !== "" && !partWrites.has(subresource)) throw pathNotFound();
    const part = partChange[subresource];
    const written = await this.#parts.store.update(
      served.handle,
      namespace,
      name,
      async (current) => {
        if (current === undefined && createIfMissing) this.allow(context.user, "create", target);
        const before = part === undefined ? undefined : structuredClone(current);
        const changed = structuredClone(await change(current)) as Mutable;
        return part === undefined || before === undefined ? changed : part(before, changed, context);
      },
      context,
      { subresource, createIfMissing },
    );
    return { ...written, entry: this.shown(served, written.entry) };
  }

  /** A patch may not move an object. */
  #checkPatched({ name }: Target, changed: Mutable): void {
    const { metadata } = changed;
    if (metadata?.name !== undefined && metadata.name !== name && name !== "")
      throw badRequest(`the name of the object (${metadata.name}) does not match the name on the URL (${name})`);
  }

  #special({ served, subresource }: Target): SubresourceHandler | undefined {
    if (subresource === "") return undefined;
    return (
      this.#parts.subresources.get(`${served.type.group}/${served.type.resource}/${subresource}`) ??
      this.#parts.subresources.get(`*/${subresource}`)
    );
  }

  /** Throws 404 for a subresource that is not there, 405 for a verb that it does not have. */
  #needVerb({ served, subresource }: Target, verb: string): void {
    const version = servedVersion(served.type, served.version);
    if (subresource === "") {
      if (version?.verbs.includes(verb) !== true) throw methodNotAllowed(served.type, verb);
      return;
    }
    const info = version?.subresources.get(subresource);
    if (info === undefined) throw pathNotFound();
    if (!info.verbs.includes(verb)) throw methodNotAllowed(served.type, verb);
  }
}

/** An answer that is nowhere stored, as an entry: its resourceVersion stays what the object says. */
function virtualEntry(object: KubeObject): CacheEntry {
  const raw = Buffer.from(JSON.stringify(object));
  return new CacheEntry("", object.metadata?.namespace ?? "", object.metadata?.name ?? "", 0, raw);
}

type PartChange = (before: Mutable, changed: Mutable, context: RequestContext) => Mutable;

type Containers = { name: string }[];

/** What each part-writing subresource takes of the changed object. */
const partChange: Record<string, PartChange> = {
  ephemeralcontainers(before, changed) {
    const spec = before["spec"] as { ephemeralContainers?: Containers };
    const wanted = (changed["spec"] as { ephemeralContainers?: Containers } | undefined)?.ephemeralContainers ?? [];
    const have = spec.ephemeralContainers ?? [];
    for (const { name } of have)
      if (!wanted.some((container) => container.name === name))
        throw conflict(
          { group: "", resource: "pods" },
          before.metadata?.name ?? "",
          `existing ephemeral containers ${JSON.stringify(name)} may not be removed`,
        );
    spec.ephemeralContainers = wanted;
    keepVersion(before, changed);
    return before;
  },
  resize(before, changed) {
    type Spec = {
      containers?: (Record<string, unknown> & { name: string })[];
      initContainers?: (Record<string, unknown> & { name: string })[];
    };
    for (const list of ["containers", "initContainers"] as const) {
      const wanted = (changed["spec"] as Spec | undefined)?.[list] ?? [];
      for (const container of (before["spec"] as Spec)[list] ?? []) {
        const next = wanted.find(({ name }) => name === container.name);
        if (next?.["resources"] !== undefined) container["resources"] = next["resources"];
        if (next?.["resizePolicy"] !== undefined) container["resizePolicy"] = next["resizePolicy"];
      }
    }
    keepVersion(before, changed);
    return before;
  },
  finalize(before, changed) {
    const finalizers = (changed["spec"] as { finalizers?: string[] } | undefined)?.finalizers;
    const spec = { ...(before["spec"] as object) } as { finalizers?: string[] };
    if (finalizers === undefined || finalizers.length === 0) delete spec.finalizers;
    else spec.finalizers = finalizers;
    before["spec"] = spec;
    keepVersion(before, changed);
    return before;
  },
  approval(before, changed) {
    const status = (changed["status"] ?? {}) as { conditions?: Record<string, unknown>[] };
    const old = (before["status"] ?? {}) as { conditions?: Record<string, unknown>[] };
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    before["status"] = {
      ...old,
      conditions: (status.conditions ?? []).map((condition) => ({
        lastUpdateTime: now,
        lastTransitionTime: now,
        ...condition,
      })),
    };
    keepVersion(before, changed);
    return before;
  },
};

function keepVersion(before: Mutable, changed: Mutable): void {
  const version = changed.metadata?.resourceVersion;
  if (version === undefined) delete (before.metadata as ObjectMeta).resourceVersion;
  else (before.metadata as ObjectMeta).resourceVersion = version;
}

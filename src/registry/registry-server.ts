import { GantryError } from "#base/errors.ts";
import type { Digest } from "#base/ids.ts";
import { asDigest, digestOf } from "#image/digest.ts";
import { mediaTypes } from "#image/oci.ts";
import { maxManifestBytes } from "#image/oci-parse.ts";
import type { HttpHandler, HttpRequest, HttpResponse } from "#web/http.ts";
import { Router } from "#web/router.ts";
import { checkManifest } from "./manifest-check.ts";
import { RegistryError } from "./registry-error.ts";
import { type RepositoryRecord, RepositoryStore } from "./repository-store.ts";
import { Uploads } from "./uploads.ts";

export interface RegistryServerOptions {
  /** Where everything is kept. */
  root: string;
  /** Who may do what; without it everybody may do everything. Throws RegistryError. */
  authorize?: (request: HttpRequest, repository: string | undefined, action: "pull" | "push") => Promise<void> | void;
}

interface Call {
  request: HttpRequest;
  response: HttpResponse;
  /** The repository's name. */
  name: string;
  params: Readonly<Record<string, string>>;
}

type Route = { action: "pull" | "push"; handle: (call: Call) => Promise<void> | void };

const namePattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/** An OCI distribution server (spec 1.1; docker's clients included): pull, push, discovery, management. */
export class RegistryServer {
  readonly store: RepositoryStore;
  readonly #uploads: Uploads;
  readonly #options: RegistryServerOptions;
  readonly #router = new Router<Route>();

  constructor(options: RegistryServerOptions) {
    this.#options = options;
    this.store = new RepositoryStore(options.root);
    this.#uploads = new Uploads(this.store.content);
    const on = (method: string, path: string, action: Route["action"], handle: Route["handle"]): void =>
      void this.#router.add(method, path, { action, handle });
    on("GET", "/v2/", "pull", ({ response }) => response.sendJson(200, {}));
    on("GET", "/v2", "pull", ({ response }) => response.sendJson(200, {}));
    on("GET", "/v2/_catalog", "pull", (call) => this.#catalog(call));
    on("GET", "/v2/{name...}/tags/list", "pull", (call) => this.#tags(call));
    on("GET", "/v2/{name...}/referrers/{digest}", "pull", (call) => this.#referrers(call));
    for (const method of ["GET", "HEAD"]) {
      on(method, "/v2/{name...}/blobs/{digest}", "pull", (call) => this.#blob(call));
      on(method, "/v2/{name...}/manifests/{reference}", "pull", (call) => this.#manifest(call));
    }
    on("DELETE", "/v2/{name...}/blobs/{digest}", "push", (call) => this.#deleteBlob(call));
    on("PUT", "/v2/{name...}/manifests/{reference}", "push", (call) => this.#putManifest(call));
    on("DELETE", "/v2/{name...}/manifests/{reference}", "push", (call) => this.#deleteManifest(call));
    on("POST", "/v2/{name...}/blobs/uploads/", "push", (call) => this.#beginUpload(call));
    on("GET", "/v2/{name...}/blobs/uploads/{id}", "push", (call) => this.#uploadStatus(call));
    on("PATCH", "/v2/{name...}/blobs/uploads/{id}", "push", (call) => this.#patchUpload(call));
    on("PUT", "/v2/{name...}/blobs/uploads/{id}", "push", (call) => this.#finishUpload(call));
    on("DELETE", "/v2/{name...}/blobs/uploads/{id}", "push", (call) => this.#cancelUpload(call));
  }

  start(): Promise<void> {
    return this.store.start();
  }

  stop(): Promise<void> {
    return this.#uploads.close();
  }

  readonly handler: HttpHandler = async (request, response) => {
    response.setHeader("Docker-Distribution-Api-Version", "registry/2.0");
    try {
      const found = this.#router.find(request.method, request.path);
      if (found === undefined) {
        const allowed = this.#router.methods(request.path);
        if (allowed.length === 0) throw new RegistryError("NAME_UNKNOWN", "page not found");
        throw new RegistryError("UNSUPPORTED", "The operation is unsupported.");
      }
      const name = found.params["name"];
      if (name !== undefined && (!namePattern.test(name) || name.length > 255))
        throw new RegistryError("NAME_INVALID", "invalid repository name", { detail: { name } });
      await this.#options.authorize?.(request, name, found.value.action);
      await found.value.handle({ request, response, name: name ?? "", params: found.params });
    } catch (error) {
      answerError(error, response);
    }
  };

  #catalog({ request, response }: Call): void {
    const { page, link } = paginate(request, this.store.names(), "/v2/_catalog");
    if (link !== undefined) response.setHeader("Link", link);
    response.sendJson(200, { repositories: page });
  }

  #tags({ request, response, name }: Call): void {
    const tags = Object.keys(this.store.require(name).tags).sort();
    const { page, link } = paginate(request, tags, `/v2/${name}/tags/list`);
    if (link !== undefined) response.setHeader("Link", link);
    response.sendJson(200, { name, tags: page });
  }

  #referrers({ request, response, name, params }: Call): void {
    const subject = digestIn(params["digest"]);
    const wanted = request.query.get("artifactType");
    const all = Object.entries(this.store.get(name)?.manifests ?? {});
    const manifests = all
      .filter(([, record]) => record.subject === subject && (wanted === null || record.artifactType === wanted))
      .map(([digest, { mediaType, size, artifactType, annotations }]) => ({
        mediaType,
        digest,
        size,
        artifactType,
        annotations,
      }));
    response.send(
      200,
      { "Content-Type": mediaTypes.index, ...(wanted === null ? {} : { "OCI-Filters-Applied": "artifactType" }) },
      JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests }),
    );
  }

  async #blob({ request, response, name, params }: Call): Promise<void> {
    const digest = digestIn(params["digest"]);
    const size = this.store.hasBlob(name, digest) ? await this.store.content.size(digest) : undefined;
    if (size === undefined) throw new RegistryError("BLOB_UNKNOWN", "blob unknown to registry", { detail: { digest } });
    const range = rangeIn(request.header("range"), size);
    const headers = {
      "Content-Type": "application/octet-stream",
      "Docker-Content-Digest": digest,
      "Accept-Ranges": "bytes",
      ETag: `"${digest}"`,
      "Content-Length": range === undefined ? size : range.end - range.start + 1,
      ...(range === undefined ? {} : { "Content-Range": `bytes ${range.start}-${range.end}/${size}` }),
    };
    response.start(range === undefined ? 200 : 206, headers);
    if (request.method === "HEAD" || size === 0) {
      response.end();
      return;
    }
    for await (const chunk of this.store.content.stream(digest, range) as AsyncIterable<Buffer>) {
      if (response.finished) return;
      await response.write(chunk);
    }
    response.end();
  }

  async #deleteBlob({ response, name, params }: Call): Promise<void> {
    const digest = digestIn(params["digest"]);
    if (!this.store.require(name).blobs.includes(digest))
      throw new RegistryError("BLOB_UNKNOWN", "blob unknown to registry");
    await this.store.change(name, (record) => ({ ...record, blobs: record.blobs.filter((each) => each !== digest) }));
    await this.store.collect();
    response.send(202, {});
  }

  #resolve(repository: RepositoryRecord, reference: string): Digest {
    const digest = reference.includes(":") ? digestIn(reference) : repository.tags[reference];
    if (digest === undefined || repository.manifests[digest] === undefined)
      throw new RegistryError("MANIFEST_UNKNOWN", "manifest unknown", { detail: { reference } });
    return digest as Digest;
  }

  async #manifest({ request, response, name, params }: Call): Promise<void> {
    const repository = this.store.get(name);
    const reference = params["reference"] as string;
    if (repository === undefined)
      throw new RegistryError("MANIFEST_UNKNOWN", "manifest unknown", { detail: { reference } });
    const digest = this.#resolve(repository, reference);
    const bytes = await this.store.content.read(digest);
    const headers = {
      "Content-Type": repository.manifests[digest]?.mediaType ?? mediaTypes.manifest,
      "Docker-Content-Digest": digest,
      ETag: `"${digest}"`,
      "Content-Length": bytes.length,
    };
    response.start(200, headers);
    response.end(request.method === "HEAD" ? undefined : bytes);
  }

  async #putManifest({ request, response, name, params }: Call): Promise<void> {
    const reference = params["reference"] as string;
    let bytes: Buffer;
    try {
      bytes = await request.readBody(maxManifestBytes);
    } catch (error) {
      if (error instanceof GantryError && error.code === "too-large")
        throw new RegistryError("MANIFEST_INVALID", "manifest is too large", { status: 413 });
      throw error;
    }
    const digest = digestOf(bytes);
    const byDigest = reference.includes(":");
    if (byDigest && digestIn(reference) !== digest)
      throw new RegistryError("DIGEST_INVALID", "provided digest did not match uploaded content");
    if (!byDigest && !tagPattern.test(reference))
      throw new RegistryError("TAG_INVALID", "manifest tag did not match URI");
    const contentType = (request.header("content-type").split(";")[0] ?? "").trim();
    const record = checkManifest(bytes, contentType, this.store.get(name));
    const endSession = this.store.content.session();
    try {
      await this.store.content.put(bytes);
      await this.store.change(name, (before) => ({
        ...before,
        manifests: { ...before.manifests, [digest]: record },
        tags: byDigest ? before.tags : { ...before.tags, [reference]: digest },
      }));
    } finally {
      endSession();
    }
    response.send(201, {
      Location: `/v2/${name}/manifests/${digest}`,
      "Docker-Content-Digest": digest,
      ...(record.subject === undefined ? {} : { "OCI-Subject": record.subject }),
    });
  }

  async #deleteManifest({ response, name, params }: Call): Promise<void> {
    const reference = params["reference"] as string;
    const digest = this.#resolve(this.store.require(name), reference);
    await this.store.change(name, (record) => {
      const tags = { ...record.tags };
      for (const [tag, at] of Object.entries(tags))
        if (tag === reference || (reference.includes(":") && at === digest)) delete tags[tag];
      if (!reference.includes(":")) return { ...record, tags };
      const { [digest]: _, ...manifests } = record.manifests;
      return { ...record, tags, manifests };
    });
    await this.store.collect();
    response.send(202, {});
  }

  async #beginUpload({ request, response, name }: Call): Promise<void> {
    const mount = request.query.get("mount");
    const from = request.query.get("from");
    if (mount !== null && from !== null && (await this.#mount(request, name, mount, from))) {
      created(response, name, digestIn(mount));
      return;
    }
    const id = await this.#uploads.begin(name);
    const digest = request.query.get("digest");
    if (digest !== null) {
      await this.#receive(name, id, request, digestIn(digest));
      created(response, name, digestIn(digest));
      return;
    }
    response.send(202, { ...uploadHeaders(name, id, 0) });
  }

  /** True when the blob is now in this repository too. */
  async #mount(request: HttpRequest, name: string, mount: string, from: string): Promise<boolean> {
    const digest = digestIn(mount);
    if (this.store.get(from)?.blobs.includes(digest) !== true || !(await this.store.content.has(digest))) return false;
    try {
      await this.#options.authorize?.(request, from, "pull");
    } catch {
      return false;
    }
    await this.store.addBlob(name, digest);
    return true;
  }

  #uploadStatus({ response, name, params }: Call): void {
    const id = params["id"] as string;
    response.send(204, uploadHeaders(name, id, this.#uploads.size(name, id)));
  }

  async #patchUpload({ request, response, name, params }: Call): Promise<void> {
    const id = params["id"] as string;
    const size = await this.#uploads.append(name, id, request.body, startOf(request.header("content-range")));
    response.send(202, uploadHeaders(name, id, size));
  }

  async #finishUpload({ request, response, name, params }: Call): Promise<void> {
    const digest = digestIn(request.query.get("digest") ?? undefined);
    await this.#receive(name, params["id"] as string, request, digest);
    created(response, name, digest);
  }

  async #receive(name: string, id: string, request: HttpRequest, digest: Digest): Promise<void> {
    const endSession = this.store.content.session();
    try {
      await this.#uploads.append(name, id, request.body, startOf(request.header("content-range")));
      await this.#uploads.finish(name, id, digest);
      await this.store.addBlob(name, digest);
    } finally {
      endSession();
    }
  }

  async #cancelUpload({ response, name, params }: Call): Promise<void> {
    await this.#uploads.cancel(name, params["id"] as string);
    response.send(204, {});
  }
}

function digestIn(text: string | undefined): Digest {
  try {
    return asDigest(text ?? "");
  } catch (error) {
    throw new RegistryError("DIGEST_INVALID", (error as Error).message);
  }
}

function created(response: HttpResponse, name: string, digest: Digest): void {
  response.send(201, { Location: `/v2/${name}/blobs/${digest}`, "Docker-Content-Digest": digest });
}

function uploadHeaders(name: string, id: string, size: number): Record<string, string> {
  return {
    Location: `/v2/${name}/blobs/uploads/${id}`,
    // The spec has an end that is included, and 0-0 for nothing, as docker has always had it.
    Range: `0-${Math.max(0, size - 1)}`,
    "Docker-Upload-UUID": id,
    "OCI-Chunk-Min-Length": "0",
  };
}

/** The start of `Content-Range: <start>-<end>`; undefined without one. */
function startOf(header: string): number | undefined {
  if (header === "") return undefined;
  const match = /^(?:bytes[ =])?(\d+)-(\d+)(?:\/.*)?$/.exec(header);
  if (match === null) throw new RegistryError("RANGE_INVALID", "Content-Range is not start-end");
  return Number(match[1]);
}

/** One range of a blob; undefined for none, or for what is not understood. */
function rangeIn(header: string, size: number): { start: number; end: number } | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header);
  if (match === null || (match[1] === "" && match[2] === "")) return undefined;
  const start = match[1] === "" ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const end = match[1] === "" || match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (start > end) throw new RegistryError("RANGE_INVALID", "requested range not satisfiable");
  return { start, end };
}

function paginate(
  request: HttpRequest,
  all: readonly string[],
  path: string,
): { page: string[]; link: string | undefined } {
  const last = request.query.get("last");
  const count = request.query.get("n");
  if (count !== null && !/^\d+$/.test(count))
    throw new RegistryError("PAGINATION_NUMBER_INVALID", "invalid number of results requested", {
      detail: { n: count },
    });
  const rest = last === null ? all : all.filter((each) => each > last);
  const page = count === null ? [...rest] : rest.slice(0, Number(count));
  if (page.length === rest.length || page.length === 0) return { page, link: undefined };
  return { page, link: `<${path}?n=${count}&last=${encodeURIComponent(page.at(-1) as string)}>; rel="next"` };
}

function answerError(error: unknown, response: HttpResponse): void {
  if (response.started) throw error;
  if (!(error instanceof RegistryError)) throw error;
  if (error.code === "UNAUTHORIZED") response.setHeader("WWW-Authenticate", 'Basic realm="gantry"');
  const upload = (error.detail as { size?: number } | undefined)?.size;
  if (error.code === "RANGE_INVALID" && upload !== undefined)
    response.setHeader("Range", `0-${Math.max(0, upload - 1)}`);
  response.sendJson(error.status, error.body());
}

import type { Readable } from "node:stream";
import { GantryError } from "#base/errors.ts";
import type { Digest } from "#base/ids.ts";
import { Gate } from "#base/keyed-lock.ts";
import { asDigest, digestOf } from "./digest.ts";
import { type Descriptor, mediaTypes } from "./oci.ts";
import { isIndex, maxManifestBytes } from "./oci-parse.ts";
import { type ImageReference, familiarString } from "./reference.ts";
import type { RegistryCredentials } from "./registry-auth.ts";
import { type RegistryConfig, type RegistryEndpoint, endpointsOf } from "./registry-config.ts";
import { networkError } from "./registry-errors.ts";
import {
  type RegistryAnswer,
  type RegistryRequest,
  RegistryTransport,
  readBytes,
  readText,
} from "./registry-transport.ts";

const manifestTypes = [mediaTypes.manifest, mediaTypes.index, mediaTypes.dockerManifest, mediaTypes.dockerList].join(
  ", ",
);

export interface RemoteManifest {
  descriptor: Descriptor;
  bytes: Buffer;
}

/** What one piece of work needs to talk to one repository. */
export interface RepositoryOptions {
  credentials?: RegistryCredentials | undefined;
  signal?: AbortSignal | undefined;
  /** What tokens must allow. */
  actions: "pull" | "pull,push";
}

/** Talks to registries (OCI distribution spec 1.1; docker's HTTP API V2). Holds connections and tokens. */
export class RegistryClient {
  readonly config: RegistryConfig;
  readonly #transport: RegistryTransport;
  /** Bound what runs at once over all pulls and all pushes. */
  readonly downloads: Gate;
  readonly uploads: Gate;
  /** Of an insecure registry, the way that worked. */
  readonly #working = new Map<string, string>();

  constructor(config: RegistryConfig) {
    this.config = config;
    this.downloads = new Gate(config.maxConcurrentDownloads);
    this.uploads = new Gate(config.maxConcurrentUploads);
    this.#transport = new RegistryTransport(config);
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  /**
   * Finds the way to a reference's repository: mirrors (for pulls), https, and http where that is allowed.
   * Throws the error of the last one.
   */
  repository(reference: ImageReference, options: RepositoryOptions): Promise<Repository> {
    return this.withRepository(reference, options, async (repository) => repository);
  }

  /**
   * Does some work on a reference's repository. What a mirror does not have, or fails in, is asked of the next one
   * and of the registry itself. Throws the error of the last one.
   */
  async withRepository<T>(
    reference: ImageReference,
    options: RepositoryOptions,
    work: (repository: Repository) => Promise<T>,
  ): Promise<T> {
    let last: unknown;
    for (const endpoint of this.#endpoints(reference.domain)) {
      if (endpoint.mirror && options.actions !== "pull") continue;
      let isFound = false;
      try {
        const repository = new Repository(this.#transport, endpoint, reference, options);
        await repository.ping();
        if (endpoint.insecure && !endpoint.mirror) this.#working.set(reference.domain, endpoint.base);
        isFound = true;
        return await work(repository);
      } catch (error) {
        if (options.signal?.aborted) throw error;
        last = error;
        // Somebody answers, and refuses: another way will not help.
        if (!endpoint.mirror && (isFound || !(error instanceof GantryError && error.data["network"] === true)))
          throw error;
      }
    }
    throw last;
  }

  #endpoints(domain: string): RegistryEndpoint[] {
    const all = endpointsOf(this.config, domain);
    const working = this.#working.get(domain);
    return working === undefined ? all : all.filter((endpoint) => endpoint.mirror || endpoint.base === working);
  }

  /** Checks credentials (`docker login`). Throws `unauthorized`. */
  async login(domain: string, credentials: RegistryCredentials, signal?: AbortSignal): Promise<void> {
    let last: unknown;
    for (const endpoint of this.#endpoints(domain).filter((each) => !each.mirror)) {
      try {
        const answer = await this.#transport.send(endpoint, { method: "GET", url: "/v2/", credentials, signal });
        await readText(answer.body, 64 << 10).catch(() => {});
        return;
      } catch (error) {
        last = error;
        if (error instanceof GantryError && error.data["status"] === 401)
          throw new GantryError(
            "unauthorized",
            `Get ${JSON.stringify(`${endpoint.base}/v2/`)}: ${error.message.replace(/^.*": /, "")}`,
            { cause: error },
          );
        if (!(error instanceof GantryError && error.data["network"] === true)) throw error;
      }
    }
    throw last;
  }

  /** Any request to a domain's registry, by the first way that answers: for what is not about a repository. */
  async send(domain: string, request: RegistryRequest): Promise<RegistryAnswer> {
    let last: unknown;
    for (const endpoint of this.#endpoints(domain).filter((each) => !each.mirror)) {
      try {
        return await this.#transport.send(endpoint, request);
      } catch (error) {
        last = error;
        if (!(error instanceof GantryError && error.data["network"] === true)) throw error;
      }
    }
    throw last;
  }
}

/** One repository of one registry. */
export class Repository {
  readonly endpoint: RegistryEndpoint;
  readonly reference: ImageReference;
  readonly #transport: RegistryTransport;
  readonly #options: RepositoryOptions;

  constructor(
    transport: RegistryTransport,
    endpoint: RegistryEndpoint,
    reference: ImageReference,
    options: RepositoryOptions,
  ) {
    this.#transport = transport;
    this.endpoint = endpoint;
    this.reference = reference;
    this.#options = options;
  }

  get #path(): string {
    return `/v2/${this.reference.path}`;
  }

  #send(request: RegistryRequest, moreScope = ""): Promise<RegistryAnswer> {
    const { credentials, signal, actions } = this.#options;
    const scope = `repository:${this.reference.path}:${actions}${moreScope}`;
    return this.#transport.send(this.endpoint, { credentials, signal, scope, ...request });
  }

  /** Is a registry there? What it wants in credentials is found out by the first real request. */
  async ping(): Promise<void> {
    const answer = await this.#send({ method: "GET", url: "/v2/", accept: [401, 403, 404, 405, 429] }).catch(
      (error: unknown) => {
        // Wrong or missing credentials are the real request's business.
        if (error instanceof GantryError && error.data["status"] === 401) return undefined;
        throw error;
      },
    );
    if (answer !== undefined) await readText(answer.body, 64 << 10).catch(() => {});
  }

  /** Fetches a manifest or an index by tag or digest; by digest it is verified. */
  async manifest(name: string, expected?: Descriptor): Promise<RemoteManifest> {
    const byDigest = name.includes(":") ? asDigest(name) : undefined;
    const answer = await this.#send({
      method: "GET",
      url: `${this.#path}/manifests/${name}`,
      headers: { accept: manifestTypes },
    });
    let bytes: Buffer;
    try {
      bytes = await readBytes(answer.body, maxManifestBytes);
    } catch (cause) {
      if (cause instanceof GantryError && cause.code === "too-large")
        throw new GantryError(
          "too-large",
          `the manifest of ${familiarString(this.reference)} is larger than ${maxManifestBytes} bytes`,
          { cause },
        );
      throw networkError("GET", answer.url, cause);
    }
    const digest = digestOf(bytes);
    if (byDigest !== undefined && digest !== byDigest)
      throw new GantryError("invalid", `manifest verification failed for digest ${byDigest}`, {
        data: { actual: digest },
      });
    const announced = answer.header("docker-content-digest");
    if (announced !== undefined && announced.startsWith("sha256:") && announced !== digest)
      throw new GantryError("invalid", `manifest verification failed for digest ${announced}`, {
        data: { actual: digest },
      });
    if (expected !== undefined && bytes.length !== expected.size)
      throw new GantryError("invalid", `manifest ${digest} has ${bytes.length} bytes, its index says ${expected.size}`);
    const mediaType = mediaTypeOf(bytes, answer.header("content-type"));
    return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
  }

  /**
   * A blob from a byte on. `offset` of the result is where it really begins: 0 when ranges are not supported.
   * `isWhole`: all of it is meant to come.
   */
  async blob(
    digest: Digest,
    offset: number,
  ): Promise<{ body: Readable; offset: number; url: string; isWhole: boolean }> {
    const answer = await this.#send({
      method: "GET",
      url: `${this.#path}/blobs/${digest}`,
      // A body that is compressed on the way would not be the blob.
      headers: { "accept-encoding": "identity", ...(offset > 0 ? { range: `bytes=${offset}-` } : {}) },
      accept: [404, 416],
    });
    if (answer.status === 404) {
      await readText(answer.body, 64 << 10).catch(() => {});
      throw new GantryError("not-found", "unknown blob", { data: { status: 404, blob: digest } });
    }
    if (answer.status === 416) {
      await readText(answer.body, 64 << 10).catch(() => {});
      if (offset === 0) throw new GantryError("unavailable", `the registry refuses to send the whole of ${digest}`);
      return this.blob(digest, 0);
    }
    if (answer.status === 206) {
      const start = /^bytes (\d+)-/.exec(answer.header("content-range") ?? "");
      const at = start === null ? offset : Number(start[1]);
      return { body: answer.body, offset: at, url: answer.url, isWhole: false };
    }
    return { body: answer.body, offset: 0, url: answer.url, isWhole: true };
  }

  async hasBlob(digest: string): Promise<boolean> {
    const answer = await this.#send({ method: "HEAD", url: `${this.#path}/blobs/${digest}`, accept: [404] });
    await readText(answer.body, 64 << 10).catch(() => {});
    return answer.status === 200;
  }

  /**
   * Begins the upload of a blob; with `from`, a repository of the same registry that may have it, it may be
   * there at once. Undefined means that nothing is left to send.
   */
  async beginUpload(digest: string, from?: string): Promise<string | undefined> {
    const query = from === undefined ? "" : `?mount=${digest}&from=${encodeURIComponent(from)}`;
    const answer = await this.#send(
      { method: "POST", url: `${this.#path}/blobs/uploads/${query}`, headers: { "content-length": "0" } },
      from === undefined ? "" : ` repository:${from}:pull`,
    );
    await readText(answer.body, 64 << 10).catch(() => {});
    if (answer.status === 201) return undefined;
    return this.#location(answer);
  }

  #location(answer: RegistryAnswer): string {
    const location = answer.header("location");
    if (location === undefined) throw new GantryError("unavailable", "the registry did not say where to upload to");
    const url = new URL(location, answer.url);
    // A registry behind a proxy that ends TLS may not know that it is spoken to in https.
    if (url.host === this.endpoint.host) url.protocol = new URL(this.endpoint.base).protocol;
    return url.href;
  }

  /** Sends a whole blob and closes the upload. */
  async upload(location: string, digest: string, size: number, body: () => AsyncIterable<Uint8Array>): Promise<void> {
    const url = new URL(location);
    url.searchParams.set("digest", digest);
    const answer = await this.#send({
      method: "PUT",
      url: url.href,
      headers: { "content-type": "application/octet-stream", "content-length": String(size) },
      body,
    });
    await readText(answer.body, 64 << 10).catch(() => {});
  }

  /** Puts a manifest under a tag or its digest; returns the digest that the registry has it by. */
  async putManifest(name: string, mediaType: string, bytes: Buffer): Promise<void> {
    const answer = await this.#send({
      method: "PUT",
      url: `${this.#path}/manifests/${name}`,
      headers: { "content-type": mediaType },
      body: bytes,
    });
    await readText(answer.body, 64 << 10).catch(() => {});
    const digest = answer.header("docker-content-digest");
    if (digest !== undefined && digest.startsWith("sha256:") && digest !== digestOf(bytes))
      throw new GantryError("unavailable", `the registry stored another manifest than was sent: ${digest}`);
  }

  /** All tags, page by page. */
  async tags(): Promise<string[]> {
    const out: string[] = [];
    const seen = new Set<string>();
    let url: string | undefined = `${this.#path}/tags/list?n=1000`;
    while (url !== undefined && !seen.has(url) && seen.size < 1000) {
      seen.add(url);
      const answer: RegistryAnswer = await this.#send({ method: "GET", url });
      const text = await readText(answer.body, maxManifestBytes);
      let tags: unknown;
      try {
        tags = (JSON.parse(text) as { tags?: unknown }).tags ?? [];
      } catch (cause) {
        throw new GantryError("unavailable", "the registry's list of tags is not JSON", { cause });
      }
      if (!Array.isArray(tags)) throw new GantryError("unavailable", "the registry's list of tags is none");
      out.push(...tags.filter((tag): tag is string => typeof tag === "string"));
      const next: RegExpExecArray | null = /<([^>]+)>\s*;\s*rel="?next"?/.exec(answer.header("link") ?? "");
      url = next === null ? undefined : new URL(next[1] as string, answer.url).href;
    }
    return out;
  }
}

/** What the bytes say of themselves, then what the header says. Throws for what is no manifest. */
function mediaTypeOf(bytes: Buffer, contentType: string | undefined): string {
  const header = (contentType ?? "").split(";")[0]?.trim() ?? "";
  let document: { mediaType?: unknown; manifests?: unknown; layers?: unknown; schemaVersion?: unknown };
  try {
    document = JSON.parse(bytes.toString()) as typeof document;
  } catch (cause) {
    throw new GantryError("invalid", `unsupported manifest media type and no default available: ${header}`, { cause });
  }
  if (typeof document !== "object" || document === null)
    throw new GantryError("invalid", `unsupported manifest media type and no default available: ${header}`);
  if (typeof document.mediaType === "string") return document.mediaType;
  if (document.schemaVersion === 1)
    throw new GantryError(
      "unsupported",
      "docker image format v1 and manifest version 2, schema 1 are not supported: have the image pushed again by a current tool",
    );
  if (manifestTypes.split(", ").includes(header)) return header;
  if (isIndex(document)) return mediaTypes.index;
  if (Array.isArray(document.layers)) return mediaTypes.manifest;
  throw new GantryError("invalid", `unsupported manifest media type and no default available: ${header}`);
}

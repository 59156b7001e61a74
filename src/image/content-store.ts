import { createHash, randomBytes } from "node:crypto";
import { createReadStream, rmSync } from "node:fs";
import { link, mkdir, open, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { GantryError } from "#base/errors.ts";
import type { Digest } from "#base/ids.ts";
import { asDigest, digestOf, finish, hexOf } from "./digest.ts";

export interface IngestOptions {
  /** The content must have this digest; anything else is refused and leaves nothing. */
  expected?: Digest;
  /** The content must have exactly this size. Without it `maxBytes` bounds what is taken. */
  size?: number;
  maxBytes?: number;
  onProgress?: (bytes: number) => void;
  signal?: AbortSignal;
}

export interface Blob {
  digest: Digest;
  size: number;
}

/** A download that was not taken up again for so long is removed at start. */
const partialLifeMs = 24 * 3600 * 1000;

/**
 * Content by digest, as an OCI image layout keeps it on disk (`oci-layout`, `blobs/sha256/…`). What is there
 * is whole and right: content is written beside, verified, synced and then renamed into place.
 */
export class ContentStore {
  readonly root: string;
  readonly #blobs: string;
  readonly #ingest: string;
  /** Blobs that somebody is about to refer to: garbage collection leaves them alone. */
  readonly #leased = new Map<string, number>();
  /** How many pulls, loads, builds… run now, and what any of them has stored or found here. */
  #sessions = 0;
  readonly #touched = new Set<string>();

  constructor(root: string) {
    this.root = root;
    this.#blobs = join(root, "blobs/sha256");
    this.#ingest = join(root, "ingest");
  }

  /** Makes the folders and removes what an earlier crash left half-written. */
  async start(): Promise<void> {
    await mkdir(this.#blobs, { recursive: true, mode: 0o700 });
    await rm(this.#ingest, { recursive: true, force: true });
    await mkdir(this.#ingest, { recursive: true, mode: 0o700 });
    await this.#dropOldPartials();
    await writeFile(join(this.root, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}\n');
  }

  async #dropOldPartials(): Promise<void> {
    const folder = join(this.root, "partial");
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(folder)) {
      const { mtimeMs } = await stat(join(folder, name));
      if (Date.now() - mtimeMs > partialLifeMs) await rm(join(folder, name), { force: true });
    }
  }

  /** Where the begun download of a blob is kept, also over a restart. */
  partialPath(digest: Digest): string {
    return join(this.root, "partial", hexOf(digest));
  }

  path(digest: Digest): string {
    return join(this.#blobs, hexOf(digest));
  }

  async size(digest: Digest): Promise<number | undefined> {
    if (this.#sessions > 0) this.#touched.add(digest);
    try {
      return (await stat(this.path(digest))).size;
    } catch {
      return undefined;
    }
  }

  async has(digest: Digest): Promise<boolean> {
    return (await this.size(digest)) !== undefined;
  }

  /** Throws `not-found`. */
  async read(digest: Digest): Promise<Buffer> {
    try {
      return await readFile(this.path(digest));
    } catch (cause) {
      throw new GantryError("not-found", `content digest ${digest}: not found`, { cause });
    }
  }

  async readJson<T>(digest: Digest): Promise<T> {
    const bytes = await this.read(digest);
    try {
      return JSON.parse(bytes.toString()) as T;
    } catch (cause) {
      throw new GantryError("invalid", `content ${digest} is not JSON`, { cause });
    }
  }

  stream(digest: Digest, range?: { start: number }): Readable {
    return createReadStream(this.path(digest), { highWaterMark: 1 << 18, ...range });
  }

  /**
   * Begins work that ends with an image: until the returned function is called, whatever is stored here or
   * found here (`size`, `has`, `put`) is not collected.
   */
  session(): () => void {
    this.#sessions++;
    let open = true;
    return () => {
      if (!open) return;
      open = false;
      if (--this.#sessions === 0) this.#touched.clear();
    };
  }

  /** Keeps a blob from being collected until the returned function is called. */
  lease(digest: string): () => void {
    this.#leased.set(digest, (this.#leased.get(digest) ?? 0) + 1);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const count = (this.#leased.get(digest) ?? 1) - 1;
      if (count === 0) this.#leased.delete(digest);
      else this.#leased.set(digest, count);
    };
  }

  /** Stores small content. */
  async put(bytes: Uint8Array | string): Promise<Blob> {
    const data = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
    const digest = digestOf(data);
    if ((await this.size(digest)) !== data.length) {
      await this.ingest([data], { expected: digest, size: data.length });
    }
    return { digest, size: data.length };
  }

  /** A path for work in progress, on the same file system; what is left there is removed at the next start. */
  scratch(): string {
    return join(this.#ingest, randomBytes(12).toString("hex"));
  }

  /** Takes a file from `scratch` over, whose digest was computed from it and which was synced. */
  async adopt(file: { path: string; digest: Digest; size: number }): Promise<void> {
    if ((await this.size(file.digest)) !== undefined) return;
    // The same file may be named twice: a link leaves it where it is.
    await link(file.path, this.path(file.digest)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  }

  /** Stores a stream. Throws `invalid` when digest or size are not what was promised; then nothing is kept. */
  async ingest(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, options: IngestOptions = {}): Promise<Blob> {
    const temporary = join(this.#ingest, randomBytes(12).toString("hex"));
    const hash = createHash("sha256");
    const limit = options.size ?? options.maxBytes ?? Number.POSITIVE_INFINITY;
    let size = 0;
    try {
      const file = await open(temporary, "wx", 0o600);
      try {
        for await (const chunk of source) {
          options.signal?.throwIfAborted();
          size += chunk.length;
          if (size > limit)
            throw new GantryError("invalid", `content is larger than the ${limit} bytes that were announced`);
          hash.update(chunk);
          await file.write(chunk);
          options.onProgress?.(size);
        }
        const digest = finish(hash);
        if (options.size !== undefined && size !== options.size) {
          throw new GantryError(
            "invalid",
            `unexpected commit size ${size}, expected ${options.size}: failed precondition`,
          );
        }
        if (options.expected !== undefined && digest !== asDigest(options.expected)) {
          throw new GantryError("invalid", `filesystem layer verification failed for digest ${options.expected}`, {
            data: { actual: digest },
          });
        }
        await file.sync();
        if (this.#sessions > 0) this.#touched.add(digest);
        await rename(temporary, this.path(digest));
        return { digest, size };
      } finally {
        await file.close();
      }
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /** Removes every blob that is neither in `keep` nor needed by work in progress; returns the bytes freed. */
  async collect(keep: ReadonlySet<string>): Promise<number> {
    let freed = 0;
    for (const hex of await readdir(this.#blobs)) {
      const digest = `sha256:${hex}`;
      const path = join(this.#blobs, hex);
      const size = (await stat(path).catch(() => undefined))?.size ?? 0;
      // Asked and removed in one turn, so that nobody can find it in between.
      if (keep.has(digest) || this.#leased.has(digest) || this.#touched.has(digest)) continue;
      rmSync(path, { force: true });
      freed += size;
    }
    return freed;
  }
}

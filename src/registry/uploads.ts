import { type Hash, createHash, randomUUID } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import { KeyedLock } from "#base/keyed-lock.ts";
import type { Digest } from "#base/ids.ts";
import type { ContentStore } from "#image/content-store.ts";
import { finish } from "#image/digest.ts";
import { RegistryError } from "./registry-error.ts";

interface Upload {
  id: string;
  repository: string;
  path: string;
  file: FileHandle;
  hash: Hash;
  size: number;
  endSession: () => void;
  lastUsed: number;
}

/** Uploads that nobody goes on with are given up after this time. */
const idleMs = 3600_000;
const maxUploads = 1000;

/** Blobs on their way in. They do not survive a restart; clients begin again. */
export class Uploads {
  readonly #content: ContentStore;
  readonly #uploads = new Map<string, Upload>();
  readonly #lock = new KeyedLock();

  constructor(content: ContentStore) {
    this.#content = content;
  }

  async begin(repository: string): Promise<string> {
    await this.#dropIdle();
    if (this.#uploads.size >= maxUploads)
      throw new RegistryError("BLOB_UPLOAD_INVALID", "too many uploads at once", { status: 429 });
    const id = randomUUID();
    const path = this.#content.scratch();
    const file = await open(path, "wx", 0o600);
    const endSession = this.#content.session();
    this.#uploads.set(id, {
      id,
      repository,
      path,
      file,
      hash: createHash("sha256"),
      size: 0,
      endSession,
      lastUsed: Date.now(),
    });
    return id;
  }

  #find(repository: string, id: string): Upload {
    const upload = this.#uploads.get(id);
    if (upload === undefined || upload.repository !== repository)
      throw new RegistryError("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    upload.lastUsed = Date.now();
    return upload;
  }

  /** How many bytes are here. */
  size(repository: string, id: string): number {
    return this.#find(repository, id).size;
  }

  /** Adds to an upload; with `start`, the chunk must begin where the one before ended. Returns the size. */
  append(repository: string, id: string, body: AsyncIterable<Uint8Array>, start?: number): Promise<number> {
    return this.#lock.run(id, async () => {
      const upload = this.#find(repository, id);
      if (start !== undefined && start !== upload.size)
        throw new RegistryError("RANGE_INVALID", "the chunk does not begin where the upload ends", {
          detail: { size: upload.size },
        });
      for await (const chunk of body) {
        for (let at = 0; at < chunk.length;) {
          const { bytesWritten } = await upload.file.write(chunk, at, chunk.length - at, upload.size + at);
          at += bytesWritten;
        }
        upload.hash.update(chunk);
        upload.size += chunk.length;
      }
      return upload.size;
    });
  }

  /** Verifies and keeps the blob. Throws DIGEST_INVALID; the upload is over either way. */
  finish(repository: string, id: string, expected: Digest): Promise<number> {
    return this.#lock.run(id, async () => {
      const upload = this.#find(repository, id);
      try {
        const digest = finish(upload.hash);
        if (digest !== expected)
          throw new RegistryError("DIGEST_INVALID", "provided digest did not match uploaded content", {
            detail: { digest: expected, actual: digest },
          });
        await upload.file.sync();
        await this.#content.adopt({ path: upload.path, digest, size: upload.size });
        return upload.size;
      } finally {
        await this.#end(upload);
      }
    });
  }

  cancel(repository: string, id: string): Promise<void> {
    return this.#lock.run(id, () => this.#end(this.#find(repository, id)));
  }

  async #end(upload: Upload): Promise<void> {
    this.#uploads.delete(upload.id);
    await upload.file.close();
    await rm(upload.path, { force: true });
    upload.endSession();
  }

  async #dropIdle(): Promise<void> {
    for (const upload of this.#uploads.values())
      if (Date.now() - upload.lastUsed > idleMs) await this.cancel(upload.repository, upload.id).catch(() => {});
  }

  async close(): Promise<void> {
    for (const upload of this.#uploads.values()) await this.cancel(upload.repository, upload.id).catch(() => {});
  }
}

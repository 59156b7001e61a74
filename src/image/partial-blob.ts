import { type Hash, createHash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { GantryError } from "#base/errors.ts";
import type { Digest } from "#base/ids.ts";
import type { ContentStore } from "./content-store.ts";
import { finish } from "./digest.ts";

/** A blob that is being downloaded, and that goes on where an earlier try, or an earlier process, was cut. */
export class PartialBlob {
  readonly digest: Digest;
  readonly size: number;
  readonly #content: ContentStore;
  readonly #file: FileHandle;
  #hash: Hash;
  #offset: number;

  private constructor(
    content: ContentStore,
    digest: Digest,
    size: number,
    file: FileHandle,
    hash: Hash,
    offset: number,
  ) {
    this.digest = digest;
    this.size = size;
    this.#content = content;
    this.#file = file;
    this.#hash = hash;
    this.#offset = offset;
  }

  static async open(content: ContentStore, digest: Digest, size: number): Promise<PartialBlob> {
    const path = content.partialPath(digest);
    const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    const hash = createHash("sha256");
    let offset = (await file.stat()).size;
    if (offset > size) {
      await file.truncate(0);
      offset = 0;
    }
    if (offset > 0) for await (const chunk of createReadStream(path, { end: offset - 1 })) hash.update(chunk as Buffer);
    return new PartialBlob(content, digest, size, file, hash, offset);
  }

  /** How many bytes are here. */
  get offset(): number {
    return this.#offset;
  }

  /** What is here is not what comes next: begin again. */
  async restart(): Promise<void> {
    await this.#file.truncate(0);
    this.#hash = createHash("sha256");
    this.#offset = 0;
  }

  /** Throws `invalid` when more comes than was announced. */
  async write(chunk: Uint8Array): Promise<void> {
    if (this.#offset + chunk.length > this.size) await this.refuse();
    this.#hash.update(chunk);
    try {
      for (let at = 0; at < chunk.length;) {
        const { bytesWritten } = await this.#file.write(chunk, at, chunk.length - at, this.#offset + at);
        at += bytesWritten;
      }
    } catch (error) {
      throw await this.#diskError(error);
    }
    this.#offset += chunk.length;
  }

  /** Verifies, and puts the blob into the store. Throws `invalid`; then nothing of it is kept. */
  async commit(): Promise<void> {
    const path = this.#content.partialPath(this.digest);
    if (this.#offset !== this.size || finish(this.#hash.copy()) !== this.digest) await this.refuse();
    await this.#file.sync();
    await this.#content.adopt({ path, digest: this.digest, size: this.size });
    await rm(path, { force: true });
  }

  /** A failure of the disk, in docker's words. On a full one nothing is kept: it would only take room. */
  async #diskError(cause: unknown): Promise<GantryError> {
    const { code } = cause as NodeJS.ErrnoException;
    const path = this.#content.partialPath(this.digest);
    if (code !== "ENOSPC" && code !== "EDQUOT")
      return new GantryError("internal", `write ${path}: ${(cause as Error).message}`, { cause });
    await this.restart();
    await rm(path, { force: true });
    const reason = code === "ENOSPC" ? "no space left on device" : "disk quota exceeded";
    return new GantryError("exhausted", `write ${path}: ${reason}`, { cause });
  }

  /** Throws `invalid`: it is not what was asked for, and nothing of it is kept. */
  async refuse(): Promise<never> {
    await this.restart();
    await rm(this.#content.partialPath(this.digest), { force: true });
    throw new GantryError("invalid", `filesystem layer verification failed for digest ${this.digest}`);
  }

  /** Lets go of the file; what was written stays for the next try. */
  async close(): Promise<void> {
    await this.#file.close();
  }
}

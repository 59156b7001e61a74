import { createHash } from "node:crypto";
import {
  closeSync,
  constants,
  createReadStream,
  fdatasync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  writeSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import { join, posix } from "node:path";
import { promisify } from "node:util";
import { GantryError } from "#base/errors.ts";
import type { Digest } from "#base/ids.ts";
import { partsOf } from "#host/rooted-path.ts";
import { sniffBytes, sniffCompression } from "./decompress.ts";
import { finish } from "./digest.ts";
import type { Compression } from "./oci.ts";
import { maxManifestBytes } from "./oci-parse.ts";
import type { TarEntry } from "./tar-header.ts";
import { type TarContentSink, TarReader } from "./tar-reader.ts";
import { defaultUnpackLimits } from "./unpack.ts";

/** One file of an image archive, set aside on disk under a name of our own. */
export interface SpooledFile {
  path: string;
  digest: Digest;
  size: number;
  /** Resolves when the disk has it; its bytes can be read before. */
  synced: Promise<void>;
}

const syncData = promisify(fdatasync);

/** Writes a file's data to the disk, without holding up anybody, and closes it. */
async function syncAndClose(fd: number): Promise<void> {
  try {
    await syncData(fd);
  } finally {
    closeSync(fd);
  }
}

const maxEntries = 100_000;

/**
 * Takes an image archive apart into files with their digests, so that what is in it can be looked up in any
 * order. Nothing of the archive's names reaches the file system.
 */
export class ArchiveSpool {
  readonly #folder: string;
  readonly #files = new Map<string, SpooledFile>();
  readonly #links = new Map<string, string>();
  readonly #sparse: { name: string; path: string; size: number; synced: Promise<void> }[] = [];
  readonly #syncing = new Set<Promise<void>>();
  #count = 0;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  async fill(tar: AsyncIterable<Buffer>, onBytes?: (bytes: number) => void): Promise<void> {
    const reader = new TarReader((entry) => this.#entry(entry));
    let bytes = 0;
    try {
      for await (const chunk of tar) {
        reader.push(chunk);
        await this.#hashSparse();
        onBytes?.((bytes += chunk.length));
      }
      reader.end();
    } finally {
      reader.close();
    }
  }

  /** Computes the digests of sparse files, which may be far larger than the archive, without holding up others. */
  async #hashSparse(): Promise<void> {
    for (const { name, path, size, synced } of this.#sparse.splice(0)) {
      const hash = createHash("sha256");
      for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
      this.#files.set(name, { path, digest: finish(hash), size, synced });
    }
  }

  #entry(entry: TarEntry): TarContentSink | undefined {
    if (++this.#count > maxEntries)
      throw new GantryError("too-large", `the archive has more than ${maxEntries} entries`);
    const name = partsOf(entry.name).join("/");
    if (entry.type === "symlink") this.#links.set(name, posix.join(posix.dirname(name), entry.linkname));
    else if (entry.type === "link") this.#links.set(name, partsOf(entry.linkname).join("/"));
    if (entry.type !== "file") return undefined;
    if (entry.size > defaultUnpackLimits.maxBytes)
      throw new GantryError("too-large", `a file of ${entry.size} bytes in the archive is too large`);
    const path = join(this.#folder, String(this.#count));
    const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    const hash = createHash("sha256");
    let position = 0;
    let isSparse = false;
    return {
      write: (chunk) => {
        if (!isSparse) hash.update(chunk);
        for (let at = 0; at < chunk.length;) at += writeSync(fd, chunk, at, chunk.length - at, position + at);
        position += chunk.length;
      },
      hole: (length) => {
        position += length;
        isSparse = true;
      },
      end: () => {
        if (isSparse) ftruncateSync(fd, position);
        const synced = syncAndClose(fd);
        this.#syncing.add(synced);
        void synced.then(
          () => this.#syncing.delete(synced),
          () => this.#syncing.delete(synced),
        );
        this.#links.delete(name);
        if (isSparse) this.#sparse.push({ name, path, size: entry.size, synced });
        else this.#files.set(name, { path, digest: finish(hash), size: entry.size, synced });
      },
      abort: () => closeSync(fd),
    };
  }

  /** A file by its name in the archive, links followed. */
  get(name: string): SpooledFile | undefined {
    let at = posix.normalize(name);
    for (let hops = 0; hops < 16; hops++) {
      const file = this.#files.get(at);
      if (file !== undefined) return file;
      const next = this.#links.get(at);
      if (next === undefined) return undefined;
      at = posix.normalize(next);
    }
    return undefined;
  }

  /** Throws `invalid` when the archive has no such file. */
  require(name: string): SpooledFile {
    const file = this.get(name);
    if (file === undefined) throw new GantryError("invalid", `invalid archive: ${name} is missing`);
    return file;
  }

  /** The bytes of a small file. */
  read(file: SpooledFile): Buffer {
    if (file.size > maxManifestBytes)
      throw new GantryError("too-large", `a file of ${file.size} bytes in the archive is too large for what it is`);
    return readFileSync(file.path);
  }

  compression(file: SpooledFile): Compression {
    const start = Buffer.alloc(sniffBytes);
    const fd = openSync(file.path, constants.O_RDONLY);
    try {
      readSync(fd, start, 0, sniffBytes, 0);
    } finally {
      closeSync(fd);
    }
    return sniffCompression(start);
  }

  async discard(): Promise<void> {
    await Promise.allSettled(this.#syncing);
    await rm(this.#folder, { recursive: true, force: true });
  }
}

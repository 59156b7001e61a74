import { join } from "node:path";
import { KeyedLock } from "#base/keyed-lock.ts";
import { ContentStore } from "#image/content-store.ts";
import { asDigest } from "#image/digest.ts";
import { RecordFolder } from "#image/record-folder.ts";
import { RegistryError } from "./registry-error.ts";

/** What a repository knows of one of its manifests. */
export interface ManifestRecord {
  mediaType: string;
  size: number;
  /** The digest that it refers to (OCI 1.1, "subject"), for the list of referrers. */
  subject?: string;
  artifactType?: string;
  annotations?: Record<string, string>;
}

/** A repository as it is kept: one file, written atomically. */
export interface RepositoryRecord {
  name: string;
  /** Digests of blobs that clients of this repository may read. */
  blobs: string[];
  manifests: Record<string, ManifestRecord>;
  tags: Record<string, string>;
}

/** Repositories of one registry, over a store of content that they share. */
export class RepositoryStore {
  readonly content: ContentStore;
  readonly #records: RecordFolder<RepositoryRecord>;
  readonly #repositories = new Map<string, RepositoryRecord>();
  readonly #lock = new KeyedLock();

  constructor(root: string) {
    this.content = new ContentStore(join(root, "content"));
    this.#records = new RecordFolder(join(root, "repositories"));
  }

  async start(): Promise<void> {
    await this.content.start();
    for (const record of await this.#records.load()) this.#repositories.set(record.name, record);
  }

  names(): string[] {
    return [...this.#repositories.keys()].sort();
  }

  get(name: string): RepositoryRecord | undefined {
    return this.#repositories.get(name);
  }

  /** Throws NAME_UNKNOWN. */
  require(name: string): RepositoryRecord {
    const record = this.#repositories.get(name);
    if (record === undefined)
      throw new RegistryError("NAME_UNKNOWN", "repository name not known to registry", { detail: { name } });
    return record;
  }

  hasBlob(name: string, digest: string): boolean {
    const record = this.#repositories.get(name);
    return record !== undefined && (record.blobs.includes(digest) || record.manifests[digest] !== undefined);
  }

  /** Changes a repository (made when it is new); acknowledged when it is on the disk. */
  change(name: string, edit: (record: RepositoryRecord) => RepositoryRecord): Promise<void> {
    return this.#lock.run(name, async () => {
      const before = this.#repositories.get(name) ?? { name, blobs: [], manifests: {}, tags: {} };
      const after = edit(before);
      if (after === before) return;
      await this.#records.save(name, after);
      this.#repositories.set(name, after);
    });
  }

  addBlob(name: string, digest: string): Promise<void> {
    return this.change(name, (record) =>
      record.blobs.includes(digest) ? record : { ...record, blobs: [...record.blobs, digest] },
    );
  }

  /** Frees content that no repository refers to; returns the bytes. */
  collect(): Promise<number> {
    const keep = new Set<string>();
    for (const record of this.#repositories.values())
      for (const digest of [...record.blobs, ...Object.keys(record.manifests)]) keep.add(asDigest(digest));
    return this.content.collect(keep);
  }
}

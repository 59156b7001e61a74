import { GantryError } from "#base/errors.ts";
import type { Digest } from "#base/ids.ts";
import { KeyedLock } from "#base/keyed-lock.ts";
import { readJson, writeFileAtomic } from "#host/files.ts";
import { join } from "node:path";
import type { ContentStore } from "./content-store.ts";
import { asDigest, chainIds } from "./digest.ts";
import type { LayerStore } from "./layer-store.ts";
import { type Descriptor, type ImageConfig, type ImageIndex, type Manifest, mediaTypes } from "./oci.ts";
import { canonicalString, familiarString, parseReference, repositoryOf, withDefaultTag } from "./reference.ts";

/** An image that is here, whole: its layers are unpacked. Never changed in place. */
export interface Image {
  /** The digest of its config: docker's image id. */
  readonly id: Digest;
  readonly manifest: Descriptor;
  readonly config: ImageConfig;
  readonly layers: readonly Descriptor[];
  /** ChainIDs from the bottom up. */
  readonly chain: readonly Digest[];
  /** Canonical references with a tag: `docker.io/library/busybox:latest`. */
  readonly tags: readonly string[];
  /** Canonical references with a digest, of repositories it was pulled from or pushed to. */
  readonly digests: readonly string[];
  /** The image it was made from by commit or build, if that is known. */
  readonly parent: Digest | undefined;
  /** Milliseconds since the epoch; 0 when never tagged here. */
  readonly lastTagged: number;
}

export type ImageChange = { action: "tag" | "untag" | "delete"; id: Digest; reference?: string };

/** Keys of our annotations in `index.json`. */
const notes = {
  id: "dev.gantry.image.id",
  tags: "dev.gantry.image.tags",
  digests: "dev.gantry.image.digests",
  parent: "dev.gantry.image.parent",
  tagged: "dev.gantry.image.last-tagged",
} as const;

const noSuchImage = (ref: string): GantryError =>
  new GantryError("not-found", `No such image: ${ref}`, { data: { image: ref } });

/**
 * Whether an image that cannot be unpacked is gone for good: an archive is missing or is not what it was. A full
 * disk is no reason to forget an image.
 */
function isLost(error: unknown): boolean {
  if (error instanceof GantryError) return error.code === "invalid" || error.code === "not-found";
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

/** A name as docker repeats it in errors: short, with its tag. */
function shown(ref: string): string {
  try {
    return familiarString(withDefaultTag(parseReference(ref)));
  } catch {
    return ref;
  }
}

/**
 * The images of this machine. What is true stands in the OCI layout's `index.json`, written atomically; an
 * image is entered there last, when its content and its layers are there.
 */
export class ImageStore {
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly #images = new Map<string, Image>();
  /** Canonical reference (with tag or digest) to image id. */
  readonly #references = new Map<string, Digest>();
  readonly #lock = new KeyedLock();
  readonly #now: () => number;
  #onChange: (change: ImageChange) => void = () => {};

  readonly #usedByContainers: (chainId: string) => boolean;

  constructor(parts: {
    content: ContentStore;
    layers: LayerStore;
    /** True when a container stands on this layer. */
    usedByContainers?: (chainId: string) => boolean;
    now?: () => number;
  }) {
    this.#usedByContainers = parts.usedByContainers ?? (() => false);
    this.content = parts.content;
    this.layers = parts.layers;
    this.#now = parts.now ?? Date.now;
  }

  onChange(listener: (change: ImageChange) => void): void {
    this.#onChange = listener;
  }

  async start(): Promise<void> {
    const index = await readJson<ImageIndex>(join(this.content.root, "index.json"));
    for (const descriptor of index?.manifests ?? []) {
      const { annotations = {}, ...manifest } = descriptor;
      const list = (key: string): string[] => JSON.parse(annotations[key] ?? "[]") as string[];
      const id = annotations[notes.id];
      if (id === undefined) continue;
      const loaded = await this.#load(manifest, asDigest(id)).catch(() => undefined);
      // An image whose content was lost by hand is none: a pull brings it back. Layers are unpacked again.
      if (loaded === undefined) continue;
      if (!this.#isUnpacked(loaded)) {
        const lost = await this.unpackLayers(loaded.config, loaded.layers).then(() => false, isLost);
        if (lost) continue;
      }
      this.#enter({
        ...loaded,
        tags: list(notes.tags),
        digests: list(notes.digests),
        parent: annotations[notes.parent] as Digest | undefined,
        lastTagged: Number(annotations[notes.tagged] ?? 0),
      });
    }
  }

  async #load(
    manifest: Descriptor,
    id: Digest,
  ): Promise<Pick<Image, "id" | "manifest" | "config" | "layers" | "chain">> {
    const { layers } = await this.content.readJson<Manifest>(asDigest(manifest.digest));
    const config = await this.content.readJson<ImageConfig>(id);
    return { id, manifest, config, layers, chain: chainIds(config.rootfs.diff_ids) };
  }

  #enter(image: Image): void {
    this.#images.set(image.id, image);
    for (const reference of [...image.tags, ...image.digests]) this.#references.set(reference, image.id);
  }

  async #save(): Promise<void> {
    const manifests = [...this.#images.values()].map((image): Descriptor => {
      const first = image.tags[0];
      return {
        ...image.manifest,
        annotations: {
          ...(first === undefined
            ? {}
            : {
                "io.containerd.image.name": first,
                "org.opencontainers.image.ref.name": first.slice(first.lastIndexOf(":") + 1),
              }),
          [notes.id]: image.id,
          [notes.tags]: JSON.stringify(image.tags),
          [notes.digests]: JSON.stringify(image.digests),
          [notes.tagged]: String(image.lastTagged),
          ...(image.parent === undefined ? {} : { [notes.parent]: image.parent }),
        },
      };
    });
    const index: ImageIndex = { schemaVersion: 2, mediaType: mediaTypes.index, manifests };
    await writeFileAtomic(join(this.content.root, "index.json"), `${JSON.stringify(index)}\n`);
  }

  list(): Image[] {
    return [...this.#images.values()];
  }

  byId(id: string): Image | undefined {
    return this.#images.get(id);
  }

  /** What a user means: a name, an id, or an unambiguous prefix of an id. Throws `not-found` in docker's words. */
  resolve(ref: string): Image {
    const found = this.find(ref);
    if (found === undefined) throw noSuchImage(shown(ref));
    return found;
  }

  find(ref: string): Image | undefined {
    const exact = this.#images.get(ref.startsWith("sha256:") ? ref : `sha256:${ref}`);
    if (exact !== undefined) return exact;
    let byName: Digest | undefined;
    if (!/^(sha256:)?[a-f0-9]{64}$/.test(ref)) {
      try {
        byName = this.#references.get(canonicalString(withDefaultTag(parseReference(ref)))) ?? this.#byDigest(ref);
      } catch (error) {
        if (!/^(sha256:)?[a-f0-9]+$/.test(ref)) throw error;
      }
    }
    if (byName !== undefined) return this.#images.get(byName);
    const prefix = ref.startsWith("sha256:") ? ref : `sha256:${ref}`;
    if (!/^sha256:[a-f0-9]+$/.test(prefix)) return undefined;
    const matching = [...this.#images.keys()].filter((id) => id.startsWith(prefix));
    return matching.length === 1 ? this.#images.get(matching[0] as string) : undefined;
  }

  /** `name@sha256:…` also finds an image by the id or manifest it has, whatever name it was pulled under. */
  #byDigest(ref: string): Digest | undefined {
    const { digest, ...rest } = parseReference(ref);
    if (digest === undefined) return undefined;
    return this.#references.get(`${repositoryOf({ ...rest, digest: undefined })}@${digest}`);
  }

  /**
   * Enters an image whose blobs and layers are there; with a name, the name moves to it. Returns the image.
   */
  add(input: { manifest: Descriptor; id: Digest; tag?: string; digest?: string; parent?: Digest }): Promise<Image> {
    return this.#lock.run("index", async () => {
      const before = this.#images.get(input.id);
      const loaded = before ?? {
        ...(await this.#load(input.manifest, input.id)),
        tags: [],
        digests: [],
        parent: input.parent,
        lastTagged: 0,
      };
      const digests =
        input.digest === undefined || loaded.digests.includes(input.digest)
          ? loaded.digests
          : [...loaded.digests, input.digest];
      this.#enter({ ...loaded, digests });
      if (input.tag !== undefined) this.#moveTag(input.tag, input.id);
      await this.#save();
      return this.#images.get(input.id) as Image;
    });
  }

  /** Gives an image another manifest for the same config (its layers compressed), and a name by its digest. */
  setManifest(id: Digest, manifest: Descriptor, digest: string): Promise<void> {
    return this.#lock.run("index", async () => {
      const image = this.#images.get(id);
      if (image === undefined) return;
      const loaded = await this.#load(manifest, id);
      const digests = image.digests.includes(digest) ? image.digests : [...image.digests, digest];
      this.#enter({ ...image, ...loaded, digests });
      await this.#save();
    });
  }

  /** Points a name at an image. `reference` has a tag. */
  tag(id: Digest, reference: string): Promise<void> {
    return this.#lock.run("index", async () => {
      this.#moveTag(reference, id);
      await this.#save();
      this.#onChange({ action: "tag", id, reference: familiarString(parseReference(reference)) });
    });
  }

  #moveTag(reference: string, id: Digest): void {
    const before = this.#references.get(reference);
    if (before !== undefined && before !== id) this.#dropReference(before, reference);
    const image = this.#images.get(id);
    if (image === undefined) throw noSuchImage(id);
    const tags = image.tags.includes(reference) ? image.tags : [...image.tags, reference];
    this.#enter({ ...image, tags, lastTagged: this.#now() });
  }

  #dropReference(id: string, reference: string): void {
    const image = this.#images.get(id);
    if (image === undefined) return;
    this.#references.delete(reference);
    this.#images.set(id, {
      ...image,
      tags: image.tags.filter((tag) => tag !== reference),
      digests: image.digests.filter((digest) => digest !== reference),
    });
  }

  /** Takes one name (with tag or digest, canonical) off an image. */
  untag(id: Digest, reference: string): Promise<void> {
    return this.#lock.run("index", async () => {
      this.#dropReference(id, reference);
      await this.#save();
      this.#onChange({ action: "untag", id, reference: familiarString(parseReference(reference)) });
    });
  }

  /** Removes an image with all its names, then the content and layers that only it needed. Returns the layers that went. */
  remove(id: Digest, keepLayers: ReadonlySet<string> = new Set()): Promise<Digest[]> {
    return this.#lock.run("index", async () => {
      const image = this.#images.get(id);
      if (image === undefined) return [];
      for (const reference of [...image.tags, ...image.digests]) this.#references.delete(reference);
      this.#images.delete(id);
      await this.#save();
      this.#onChange({ action: "delete", id });
      const before = this.layers.list().map((layer) => layer.chainId);
      await this.#collect(keepLayers);
      return before.filter((chainId) => this.layers.get(chainId) === undefined);
    });
  }

  /** Frees what no image and no container needs. `keepLayers` are further layers to keep. */
  collect(keepLayers: ReadonlySet<string> = new Set()): Promise<number> {
    return this.#lock.run("index", () => this.#collect(keepLayers));
  }

  async #collect(keepLayers: ReadonlySet<string>): Promise<number> {
    const blobs = new Set<string>();
    const layers = new Set<string>(keepLayers);
    for (const image of this.#images.values()) {
      blobs.add(image.id).add(image.manifest.digest);
      for (const layer of image.layers) blobs.add(layer.digest);
      for (const chainId of image.chain) layers.add(chainId);
    }
    const inContainers = (chainId: string): boolean => this.#usedByContainers(chainId);
    const freed = await this.layers.collect(
      (chainId) => layers.has(chainId) || this.#inUse.has(chainId) || inContainers(chainId),
    );
    return freed + (await this.content.collect(blobs));
  }

  /**
   * Does work that ends with an image: what it stores is left alone meanwhile, and freed when the work fails.
   */
  async making<T>(work: () => Promise<T>): Promise<T> {
    const endSession = this.content.session();
    let done = false;
    try {
      const result = await work();
      done = true;
      return result;
    } finally {
      endSession();
      // The work's own error counts; what cannot be freed now is at the next occasion.
      if (!done) await this.collect().catch(() => 0);
    }
  }

  /** Layers that a pull, a load or a build has unpacked and not yet entered. */
  readonly #inUse = new Map<string, number>();

  /** Keeps layers from being collected until the returned function is called. */
  hold(chainIdsToKeep: readonly string[]): () => void {
    for (const id of chainIdsToKeep) this.#inUse.set(id, (this.#inUse.get(id) ?? 0) + 1);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      for (const id of chainIdsToKeep) {
        const count = (this.#inUse.get(id) ?? 1) - 1;
        if (count === 0) this.#inUse.delete(id);
        else this.#inUse.set(id, count);
      }
    };
  }

  /** Which of these layers, by place, are not unpacked yet. */
  missingLayers(diffIds: readonly string[]): Set<number> {
    const missing = new Set<number>();
    for (const [at, chainId] of chainIds(diffIds).entries())
      if (this.layers.get(chainId) === undefined) missing.add(at);
    return missing;
  }

  #isUnpacked(image: Pick<Image, "chain">): boolean {
    return image.chain.every((chainId) => this.layers.get(chainId) !== undefined);
  }

  /** Unpacks again what could not be at the start, when the disk was full. Throws what keeps it from that. */
  async ensureUnpacked(image: Image): Promise<void> {
    if (!this.#isUnpacked(image)) await this.unpackLayers(image.config, image.layers);
  }

  /** Unpacks the layers of a config from the bottom up; those that are there already cost nothing. */
  async unpackLayers(
    config: ImageConfig,
    layers: readonly Descriptor[],
    onProgress?: (at: number, bytes: number) => void,
    onLayer?: (at: number) => void,
  ): Promise<void> {
    const diffIds = config.rootfs?.diff_ids;
    if (!Array.isArray(diffIds) || diffIds.length !== layers.length)
      throw new GantryError("invalid", "layers from manifest don't match image configuration");
    const chain = chainIds(diffIds);
    const outcomes = await Promise.allSettled(
      chain.map(async (chainId, at) => {
        const layer = layers[at] as Descriptor;
        await this.layers.unpack(
          { chainId, diffId: asDigest(diffIds[at] as string), parent: chain[at - 1] },
          this.content.path(asDigest(layer.digest)),
          (bytes) => onProgress?.(at, bytes),
        );
        onLayer?.(at);
      }),
    );
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  }

  /**
   * Makes an image from a config and layers whose blobs are in the content store: what load, import, commit
   * and build end with. `tag` is canonical.
   */
  async create(input: {
    config: ImageConfig | Buffer;
    layers: readonly Descriptor[];
    tag?: string;
    parent?: Digest;
    onProgress?: (at: number, bytes: number) => void;
  }): Promise<Image> {
    const bytes = Buffer.isBuffer(input.config) ? input.config : Buffer.from(JSON.stringify(input.config));
    const config = JSON.parse(bytes.toString()) as ImageConfig;
    const release = this.hold(chainIds(config.rootfs.diff_ids));
    try {
      const { digest: id } = await this.content.put(bytes);
      const manifest: Manifest = {
        schemaVersion: 2,
        mediaType: mediaTypes.manifest,
        config: { mediaType: mediaTypes.config, digest: id, size: bytes.length },
        layers: input.layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
      };
      const stored = await this.content.put(JSON.stringify(manifest));
      await this.unpackLayers(config, input.layers, input.onProgress);
      return await this.add({
        manifest: { mediaType: mediaTypes.manifest, ...stored },
        id,
        ...(input.tag === undefined ? {} : { tag: input.tag }),
        ...(input.parent === undefined ? {} : { parent: input.parent }),
      });
    } finally {
      release();
    }
  }

  /** Bytes of all layers of an image, unpacked. */
  size(image: Image): number {
    return image.chain.reduce((sum, chainId) => sum + (this.layers.get(chainId)?.size ?? 0), 0);
  }

  /** The part of an image's size that other images share. */
  sharedSize(image: Image): number {
    const others = new Set<string>();
    for (const other of this.#images.values())
      if (other.id !== image.id) for (const chainId of other.chain) others.add(chainId);
    return image.chain
      .filter((chainId) => others.has(chainId))
      .reduce((sum, chainId) => sum + (this.layers.get(chainId)?.size ?? 0), 0);
  }
}

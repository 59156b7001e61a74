import { createReadStream } from "node:fs";
import type { ProgressMessage } from "#api/docker/object-types.ts";
import { GantryError } from "#base/errors.ts";
import { ArchiveSpool, type SpooledFile } from "./archive-spool.ts";
import { decompress, decompressed } from "./decompress.ts";
import { asDigest, hexOf } from "./digest.ts";
import { enterManifest } from "./image-entry.ts";
import type { Image, ImageStore } from "./image-store.ts";
import { type Compression, type Descriptor, type Manifest, type Platform, hostPlatform, mediaTypes } from "./oci.ts";
import { fitsPlatform } from "./platform.ts";
import { parseImageConfig, parseManifest, parseManifestOrIndex } from "./oci-parse.ts";
import { canonicalString, familiarString, parseReference, withDefaultTag } from "./reference.ts";

export interface LoadedImage {
  image: Image;
  /** As a user writes them. */
  names: string[];
}

interface LoadParts {
  images: ImageStore;
  spool: ArchiveSpool;
  progress: (message: ProgressMessage) => void;
  quiet: boolean;
  platform: Platform | undefined;
}

/** Compressed layers that other engines know, too; others are kept plain. */
const layerTypes: Partial<Record<Compression, string>> = {
  none: mediaTypes.layer,
  gzip: mediaTypes.layerGzip,
  zstd: mediaTypes.layerZstd,
};

/** A file that the content store takes over only once the disk has it. */
async function adopt({ images }: LoadParts, file: SpooledFile): Promise<void> {
  await file.synced;
  await images.content.adopt(file);
}

async function storeLayer(parts: LoadParts, file: SpooledFile): Promise<Descriptor> {
  const compression = parts.spool.compression(file);
  const mediaType = layerTypes[compression];
  if (mediaType === undefined) {
    const plain = decompress(compression, createReadStream(file.path) as AsyncIterable<Buffer>);
    return { mediaType: mediaTypes.layer, ...(await parts.images.content.ingest(plain)) };
  }
  await adopt(parts, file);
  return { mediaType, digest: file.digest, size: file.size };
}

/**
 * Reads an archive of `docker save` (of any age since 1.10), or of an OCI layout, plain or compressed, and enters
 * its images. An archive that is wrong anywhere enters none of the images that come after the fault. Throws
 * `invalid`, `unsupported`, `too-large`.
 */
export async function loadImages(
  images: ImageStore,
  tar: AsyncIterable<Uint8Array>,
  options: { progress: (message: ProgressMessage) => void; quiet?: boolean; platform?: Platform },
): Promise<LoadedImage[]> {
  return images.making(async () => {
    const spool = new ArchiveSpool(images.content.scratch());
    const parts: LoadParts = {
      images,
      spool,
      progress: options.progress,
      quiet: options.quiet ?? false,
      platform: options.platform,
    };
    try {
      await spool.fill(decompressed(tar));
      if (spool.get("manifest.json") !== undefined) return await loadDocker(parts);
      if (spool.get("index.json") !== undefined) return await loadLayout(parts);
      throw new GantryError("invalid", "invalid archive: it has neither a manifest.json nor an index.json");
    } finally {
      await spool.discard();
    }
  });
}

interface SaveEntry {
  Config: string;
  RepoTags: string[] | null;
  Layers: string[];
}

function parseSaveEntries(bytes: Buffer): SaveEntry[] {
  const bad = new GantryError("invalid", "invalid archive: manifest.json is not what docker writes");
  let list: unknown;
  try {
    list = JSON.parse(bytes.toString());
  } catch {
    throw bad;
  }
  if (!Array.isArray(list)) throw bad;
  const strings = (value: unknown): value is string[] =>
    Array.isArray(value) && value.every((each) => typeof each === "string");
  return list.map((each) => {
    const { Config, RepoTags = null, Layers } = (each ?? {}) as Partial<SaveEntry>;
    if (typeof Config !== "string" || !strings(Layers) || (RepoTags !== null && !strings(RepoTags))) throw bad;
    return { Config, RepoTags, Layers };
  });
}

async function loadDocker(parts: LoadParts): Promise<LoadedImage[]> {
  const { spool, images } = parts;
  const out: LoadedImage[] = [];
  const originals = originalManifests(spool);
  for (const entry of parseSaveEntries(spool.read(spool.require("manifest.json")))) {
    const configFile = spool.require(entry.Config);
    const bytes = spool.read(configFile);
    const config = parseImageConfig(bytes);
    // As in docker, what is for another platform is passed over.
    if (parts.platform !== undefined && !fitsPlatform(config, parts.platform)) continue;
    if (config.rootfs.diff_ids.length !== entry.Layers.length)
      throw new GantryError(
        "invalid",
        `invalid manifest, layers length mismatch: expected ${config.rootfs.diff_ids.length}, got ${entry.Layers.length}`,
      );
    const layers: Descriptor[] = [];
    for (const name of entry.Layers) layers.push(await storeLayer(parts, spool.require(name)));
    await adopt(parts, configFile);
    const original = originals.get(configFile.digest);
    let manifest: Descriptor;
    if (original !== undefined && sameLayers(original.manifest, layers)) {
      await adopt(parts, original.file);
      manifest = { mediaType: original.mediaType, digest: original.file.digest, size: original.file.size };
    } else {
      const made: Manifest = {
        schemaVersion: 2,
        mediaType: mediaTypes.manifest,
        config: { mediaType: mediaTypes.config, digest: configFile.digest, size: configFile.size },
        layers,
      };
      manifest = { mediaType: mediaTypes.manifest, ...(await images.content.put(JSON.stringify(made))) };
    }
    const names = entry.RepoTags ?? [];
    out.push(await enter(parts, manifest, config.rootfs.diff_ids, layers, names));
  }
  // dockerd ends with a list of what has no name, also when it is empty.
  if (out.length === 0) parts.progress({ stream: "" });
  return out;
}

const sameLayers = (manifest: Manifest, layers: readonly Descriptor[]): boolean =>
  manifest.layers.length === layers.length && manifest.layers.every((each, at) => each.digest === layers[at]?.digest);

/** The manifests of the archive's OCI part by their config's digest, so that an image keeps its own. */
function originalManifests(
  spool: ArchiveSpool,
): Map<string, { manifest: Manifest; file: SpooledFile; mediaType: string }> {
  const out = new Map<string, { manifest: Manifest; file: SpooledFile; mediaType: string }>();
  const indexFile = spool.get("index.json");
  if (indexFile === undefined) return out;
  const parsed = parseManifestOrIndex(spool.read(indexFile));
  for (const descriptor of "index" in parsed ? parsed.index.manifests : []) {
    const file = spool.get(`blobs/sha256/${hexOf(descriptor.digest)}`);
    if (file === undefined || file.digest !== descriptor.digest) continue;
    const inner = parseManifestOrIndex(spool.read(file));
    if ("manifest" in inner) {
      const mediaType = inner.manifest.mediaType ?? descriptor.mediaType;
      out.set(inner.manifest.config.digest, { manifest: inner.manifest, file, mediaType });
    }
  }
  return out;
}

function blobOf(spool: ArchiveSpool, descriptor: Descriptor): SpooledFile {
  const file = spool.require(`blobs/sha256/${hexOf(asDigest(descriptor.digest))}`);
  if (file.digest !== descriptor.digest)
    throw new GantryError(
      "invalid",
      `invalid archive: content digest ${file.digest} does not match ${descriptor.digest}`,
    );
  return file;
}

async function loadLayout(parts: LoadParts): Promise<LoadedImage[]> {
  const { spool } = parts;
  const out: LoadedImage[] = [];
  const parsed = parseManifestOrIndex(spool.read(spool.require("index.json")));
  if (!("index" in parsed)) throw new GantryError("invalid", "invalid archive: index.json is not an index");
  for (const descriptor of parsed.index.manifests) {
    const chosen = choosePlatform(spool, descriptor, parts.platform ?? hostPlatform());
    if (chosen === undefined) continue;
    const file = blobOf(spool, chosen);
    const manifest = parseManifest(spool.read(file));
    const configFile = blobOf(spool, manifest.config);
    const config = parseImageConfig(spool.read(configFile));
    if (parts.platform !== undefined && !fitsPlatform(config, parts.platform)) continue;
    await Promise.all([adopt(parts, file), adopt(parts, configFile)]);
    await Promise.all(manifest.layers.map((layer) => adopt(parts, blobOf(spool, layer))));
    const { annotations = {} } = descriptor;
    const name = annotations["io.containerd.image.name"] ?? annotations["org.opencontainers.image.ref.name"];
    out.push(
      await enter(
        parts,
        { mediaType: manifest.mediaType ?? mediaTypes.manifest, digest: file.digest, size: file.size },
        config.rootfs.diff_ids,
        manifest.layers,
        // A reference name alone (`latest`) is a tag of nothing.
        name === undefined || (!name.includes("/") && !name.includes(":")) ? [] : [name],
      ),
    );
  }
  return out;
}

/** The manifest for a platform where the descriptor names an index. */
function choosePlatform(spool: ArchiveSpool, descriptor: Descriptor, wanted: Platform): Descriptor | undefined {
  const parsed = parseManifestOrIndex(spool.read(blobOf(spool, descriptor)));
  if ("manifest" in parsed) return descriptor;
  const { os, architecture } = wanted;
  return parsed.index.manifests.find(
    ({ platform }) => platform === undefined || (platform.os === os && platform.architecture === architecture),
  );
}

async function enter(
  { images, progress, quiet }: LoadParts,
  manifest: Descriptor,
  diffIds: readonly string[],
  layers: readonly Descriptor[],
  names: readonly string[],
): Promise<LoadedImage> {
  const references = names.map((name) => parseReference(name));
  const say = (at: number, bytes: number): void => {
    const total = layers[at]?.size ?? 0;
    const id = hexOf(diffIds[at] ?? "").slice(0, 12);
    progress({ status: "Loading layer", id, progressDetail: { current: Math.min(bytes, total), total } });
  };
  const fresh = images.missingLayers(diffIds);
  const image = await enterManifest(images, {
    manifest,
    ...(quiet
      ? {}
      : {
          onProgress: say,
          onLayer: (at: number) => {
            if (fresh.has(at)) say(at, layers[at]?.size ?? 0);
          },
        }),
  });
  const shown: string[] = [];
  for (const reference of references) {
    const full = withDefaultTag(reference);
    const before = full.tag === undefined ? undefined : images.find(canonicalString(full));
    const name = familiarString(full);
    if (full.tag !== undefined) {
      if (before !== undefined && before.id !== image.id)
        progress({
          stream: `The image ${name} already exists, renaming the old one with ID ${before.id} to empty string\n`,
        });
      await images.tag(image.id, canonicalString({ ...full, digest: undefined }));
    }
    shown.push(name);
    progress({ stream: `Loaded image: ${name}\n` });
  }
  if (shown.length === 0) progress({ stream: `Loaded image ID: ${image.id}\n` });
  return { image: images.byId(image.id) ?? image, names: shown };
}

import { GantryError } from "#base/errors.ts";
import { asDigest, hexOf } from "./digest.ts";
import type { Image, ImageStore } from "./image-store.ts";
import { type Descriptor, type ImageIndex, mediaTypes, type Platform } from "./oci.ts";
import { fitsPlatform, formatPlatform } from "./platform.ts";
import { familiarString, parseReference, repositoryOf } from "./reference.ts";
import { encodeHeader, padding } from "./tar-header.ts";
import { encodeEntry, endOfArchive, tarEntry } from "./tar-writer.ts";

interface Selected {
  image: Image;
  /** Canonical references, empty when the image was asked for by its id. */
  tags: string[];
}

/** The images that are meant, each once, with the names they were asked by (docker save). */
function select(images: ImageStore, references: readonly string[]): Selected[] {
  const out = new Map<string, Selected>();
  const add = (image: Image, tag?: string): void => {
    const entry = out.get(image.id) ?? { image, tags: [] };
    if (tag !== undefined && !entry.tags.includes(tag)) entry.tags.push(tag);
    out.set(image.id, entry);
  };
  for (const text of references) {
    const image = images.find(text);
    const named = nameOf(text);
    // `docker save repo` means every tag of it; but an id that looks like a name is the id.
    const ofRepository =
      named === undefined || named.tag !== undefined || named.digest !== undefined
        ? []
        : images
            .list()
            .flatMap((each) => each.tags.map((tag) => ({ each, tag })))
            .filter(({ tag }) => tag.startsWith(`${repositoryOf(named)}:`));
    if (ofRepository.length > 0) for (const { each, tag } of ofRepository) add(each, tag);
    else if (image !== undefined)
      add(
        image,
        image.tags.find((tag) => named?.tag !== undefined && tag === `${repositoryOf(named)}:${named.tag}`),
      );
    else if (named?.tag !== undefined)
      throw new GantryError("not-found", "reference does not exist", { data: { image: text } });
    else throw new GantryError("not-found", `No such image: ${text}`, { data: { image: text } });
  }
  return [...out.values()];
}

function nameOf(text: string): ReturnType<typeof parseReference> | undefined {
  try {
    return parseReference(text);
  } catch {
    return undefined;
  }
}

const json = (name: string, value: unknown): Buffer =>
  encodeEntry({ name, type: "file", mode: 0o644 }, Buffer.from(`${JSON.stringify(value)}\n`));

/**
 * Writes images as one tar archive that is both an OCI layout and what `docker load` reads, as docker 25 and
 * later write it. By name they keep their names, by id they have none. Throws `not-found` before the first byte.
 */
export function saveImages(
  images: ImageStore,
  references: readonly string[],
  platform?: Platform,
): { saved: Image[]; tar: AsyncGenerator<Buffer> } {
  const selected = select(images, references);
  if (platform !== undefined && selected.some(({ image }) => !fitsPlatform(image.config, platform))) {
    throw new GantryError("internal", `no suitable export target found for platform ${formatPlatform(platform)}`);
  }
  return { saved: selected.map(({ image }) => image), tar: write(images, selected) };
}

/** By repository and tag the last layer, as docker wrote it before 1.10 and still does. */
function oldNames(selected: readonly Selected[]): Record<string, Record<string, string>> {
  const out: Record<string, Record<string, string>> = {};
  for (const { image, tags } of selected) {
    for (const tag of tags) {
      const name = familiarString(parseReference(tag));
      const colon = name.lastIndexOf(":");
      const last = image.layers.at(-1)?.digest ?? "";
      out[name.slice(0, colon)] = {
        ...out[name.slice(0, colon)],
        [name.slice(colon + 1)]: last.replace(/^sha256:/, ""),
      };
    }
  }
  return out;
}

async function* write(images: ImageStore, selected: readonly Selected[]): AsyncGenerator<Buffer> {
  const { content } = images;
  const endSession = content.session();
  const folder = (name: string): Buffer => encodeEntry({ name, type: "directory", mode: 0o755 });
  try {
    yield Buffer.concat([folder("blobs/"), folder("blobs/sha256/")]);
    const blobs = new Set<string>();
    for (const { image } of selected)
      for (const digest of [image.manifest.digest, image.id, ...image.layers.map((layer) => layer.digest)])
        blobs.add(digest);
    for (const digest of [...blobs].sort()) {
      const size = await content.size(asDigest(digest));
      if (size === undefined) throw new GantryError("not-found", `content digest ${digest}: not found`);
      yield encodeHeader(tarEntry({ name: `blobs/sha256/${hexOf(digest)}`, type: "file", size }));
      for await (const chunk of content.stream(asDigest(digest)) as AsyncIterable<Buffer>) yield chunk;
      yield padding(size);
    }
    const descriptors = selected.flatMap(({ image, tags }): Descriptor[] => {
      const plain: Descriptor = {
        ...image.manifest,
        platform: { os: image.config.os, architecture: image.config.architecture },
      };
      if (tags.length === 0) return [plain];
      return tags.map((tag) => ({
        ...plain,
        annotations: {
          "io.containerd.image.name": tag,
          "org.opencontainers.image.ref.name": tag.slice(tag.lastIndexOf(":") + 1),
        },
      }));
    });
    const index: ImageIndex = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: descriptors };
    const path = (digest: string): string => `blobs/sha256/${hexOf(digest)}`;
    const manifest = selected.map(({ image, tags }) => ({
      Config: path(image.id),
      RepoTags: tags.length === 0 ? null : tags.map((tag) => familiarString(parseReference(tag))),
      Layers: image.layers.map((layer) => path(layer.digest)),
      LayerSources: Object.fromEntries(
        image.config.rootfs.diff_ids.map((diffId, at) => {
          const { mediaType, size, digest } = image.layers[at] as Descriptor;
          return [diffId, { mediaType, size, digest }];
        }),
      ),
    }));
    yield Buffer.concat([
      json("index.json", index),
      json("manifest.json", manifest),
      json("oci-layout", { imageLayoutVersion: "1.0.0" }),
      ...(selected.some(({ tags }) => tags.length > 0) ? [json("repositories", oldNames(selected))] : []),
      endOfArchive(),
    ]);
  } finally {
    endSession();
  }
}

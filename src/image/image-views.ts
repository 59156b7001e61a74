import type { ContainerConfig } from "#api/docker/container-types.ts";
import type { ImageHistoryEntry, ImageInspect, ImageSummary } from "#api/docker/object-types.ts";
import type { Image, ImageStore } from "./image-store.ts";
import type { HistoryEntry } from "./oci.ts";
import { familiarString, parseReference } from "./reference.ts";
import type { LayerStore } from "./layer-store.ts";

const never = "0001-01-01T00:00:00Z";
/** Go's zero time in seconds, which docker sends for images without a creation time. */
const neverSeconds = -62_135_596_800;

/** Seconds since the epoch. */
export function createdSeconds(image: Image): number {
  const at = image.config.created === undefined ? Number.NaN : Date.parse(image.config.created);
  return Number.isNaN(at) ? neverSeconds : Math.floor(at / 1000);
}

const familiar = (reference: string): string => familiarString(parseReference(reference));

/** No name at all, and nothing was built on top of it. */
export function isDangling(images: ImageStore, image: Image): boolean {
  return image.tags.length === 0 && !hasChildren(images, image);
}

export function hasChildren(images: ImageStore, image: Image): boolean {
  return images.list().some((other) => other.parent === image.id);
}

/** A line of `docker images`. `containers` is how many use it, -1 when nobody counted. */
export function imageSummary(
  images: ImageStore,
  image: Image,
  options: { sharedSize?: boolean; containers?: number } = {},
): ImageSummary {
  return {
    Id: image.id,
    ParentId: image.parent ?? "",
    RepoTags: image.tags.map(familiar),
    RepoDigests: image.digests.map(familiar),
    Created: createdSeconds(image),
    Size: images.size(image),
    SharedSize: options.sharedSize === true ? images.sharedSize(image) : -1,
    Labels: image.config.config?.Labels ?? null,
    Containers: options.containers ?? -1,
  };
}

/** RFC 3339; docker's zero time when it never was. */
const timeText = (ms: number): string => (ms === 0 ? never : new Date(ms).toISOString());

/** `docker image inspect`. */
export function imageInspect(images: ImageStore, layers: LayerStore, image: Image): ImageInspect {
  const { config } = image;
  const paths = image.chain.flatMap((chainId) => {
    const layer = layers.get(chainId);
    return layer === undefined ? [] : [layers.diffPath(layer)];
  });
  const top = paths.pop();
  return {
    Id: image.id,
    RepoTags: image.tags.map(familiar),
    RepoDigests: image.digests.map(familiar),
    Parent: image.parent ?? "",
    Comment: String(config["comment"] ?? config.history?.at(-1)?.comment ?? ""),
    Created: config.created ?? never,
    DockerVersion: String(config["docker_version"] ?? ""),
    Author: config.author ?? "",
    Config: (config.config ?? {}) as ContainerConfig,
    Architecture: config.architecture,
    ...(config.variant === undefined ? {} : { Variant: config.variant }),
    Os: config.os,
    Size: images.size(image),
    GraphDriver: {
      Name: "overlay2",
      Data: {
        ...(paths.length === 0 ? {} : { LowerDir: paths.reverse().join(":") }),
        ...(top === undefined ? {} : { UpperDir: top }),
      },
    },
    RootFS: { Type: "layers", ...(config.rootfs.diff_ids.length === 0 ? {} : { Layers: config.rootfs.diff_ids }) },
    Metadata: { LastTagTime: timeText(image.lastTagged) },
  };
}

/** `docker history`, newest first: the sizes of layers at the steps that made them. */
export function imageHistory(images: ImageStore, layers: LayerStore, image: Image): ImageHistoryEntry[] {
  const entries: ImageHistoryEntry[] = [];
  let layer = 0;
  const { created, history: steps = [] } = image.config;
  // An image without a history still has its layers.
  const history: HistoryEntry[] =
    steps.length > 0 ? steps : image.chain.map(() => (created === undefined ? {} : { created }));
  for (const step of history) {
    const chainId = step.empty_layer === true ? undefined : image.chain[layer++];
    const at = step.created === undefined ? Number.NaN : Date.parse(step.created);
    entries.push({
      Id: "<missing>",
      Created: Number.isNaN(at) ? neverSeconds : Math.floor(at / 1000),
      CreatedBy: step.created_by ?? "",
      Tags: null,
      Size: chainId === undefined ? 0 : (layers.get(chainId)?.size ?? 0),
      Comment: step.comment ?? "",
    });
  }
  entries.reverse();
  // Images that were made here, one on top of the other, are known by their ids.
  let at: Image | undefined = image;
  for (const entry of entries) {
    if (at === undefined) break;
    entry.Id = at.id;
    entry.Tags = at.tags.length === 0 ? null : at.tags.map(familiar);
    at = at.parent === undefined ? undefined : images.byId(at.parent);
  }
  return entries;
}

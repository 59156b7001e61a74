import { GantryError } from "#base/errors.ts";
import { applyChanges } from "./config-changes.ts";
import { decompressed } from "./decompress.ts";
import type { ImageService } from "./image-service.ts";
import type { Image } from "./image-store.ts";
import { type HistoryEntry, type ImageConfig, type ImageRuntimeConfig, hostPlatform, mediaTypes } from "./oci.ts";
import { canonicalString, parseReference, withDefaultTag } from "./reference.ts";
import { defaultUnpackLimits } from "./unpack.ts";

/** The canonical name with a tag that `repo` and `tag` of the API mean; undefined without a repository. */
export function targetName(repository: string | undefined, tag: string | undefined): string | undefined {
  if (repository === undefined || repository === "") return undefined;
  const reference = parseReference(repository);
  if (reference.digest !== undefined) throw new GantryError("invalid", "cannot create a tag from a digest reference");
  return canonicalString(
    withDefaultTag(tag === undefined || tag === "" ? reference : { ...reference, tag: checkTag(repository, tag) }),
  );
}

function checkTag(repository: string, tag: string): string {
  // Parsed with the repository, so that a tag with a slash or an `@` is no way around the grammar.
  const { tag: parsed } = parseReference(`${repository.replace(/:[^/:]*$/, "")}:${tag}`);
  if (parsed !== tag) throw new GantryError("invalid", "invalid reference format");
  return tag;
}

export interface ImportOptions {
  /** Canonical, with a tag. */
  tag?: string;
  message?: string;
  /** Where the archive is from, for the history: `-` or a URL. */
  source?: string;
  changes?: readonly string[];
  /** `linux/arm64`. */
  platform?: string;
  now?: () => number;
}

/** `docker import`: makes an image of one layer from a root file system's tar, plain or compressed. */
export async function importImage(
  { images, content }: Pick<ImageService, "images" | "content">,
  tar: AsyncIterable<Uint8Array>,
  options: ImportOptions = {},
): Promise<Image> {
  const runtime = applyChanges({}, options.changes ?? []);
  return images.making(async () => {
    const layer = await content.ingest(decompressed(tar), { maxBytes: defaultUnpackLimits.maxBytes });
    const created = new Date(options.now?.() ?? Date.now()).toISOString();
    const comment =
      options.message === undefined || options.message === ""
        ? `Imported from ${options.source ?? "-"}`
        : options.message;
    return await images.create({
      config: {
        created,
        ...platformOf(options.platform),
        config: runtime,
        rootfs: { type: "layers", diff_ids: [layer.digest] },
        history: [{ created, comment }],
      },
      layers: [{ mediaType: mediaTypes.layer, ...layer }],
      ...(options.tag === undefined ? {} : { tag: options.tag }),
    });
  });
}

function platformOf(text: string | undefined): { os: string; architecture: string; variant?: string } {
  if (text === undefined || text === "") return hostPlatform();
  const [os, architecture, variant] = text.split("/");
  if (os !== "linux") throw new GantryError("invalid", `unsupported operating system: ${os}`);
  return {
    os,
    architecture: architecture ?? hostPlatform().architecture,
    ...(variant === undefined ? {} : { variant }),
  };
}

export interface CommitInput {
  /** The container's file system. */
  snapshotId: string;
  /** The image that it stands on, where it still is. */
  base: Image | undefined;
  /** What containers of the new image start with, changes applied. */
  config: ImageRuntimeConfig;
  /** The container's command, for the history. */
  createdBy: string;
  comment?: string;
  author?: string;
  /** Canonical, with a tag. */
  tag?: string;
  now?: () => number;
}

/**
 * `docker commit`: the base's layers and one of the container's changes; no layer for a container that changed
 * nothing. The container's processes should stand still meanwhile.
 */
export async function commitImage(
  { images, content, snapshots }: Pick<ImageService, "images" | "content" | "snapshots">,
  input: CommitInput,
): Promise<Image> {
  const { base } = input;
  const snapshot = await snapshots.get(input.snapshotId);
  if (snapshot === undefined)
    throw new GantryError("not-found", `snapshot ${input.snapshotId} does not exist: not found`);
  if (base === undefined && snapshot.chain.length > 0)
    throw new GantryError("not-found", "the image of this container is gone: its layers cannot be committed");
  const release = images.hold(snapshot.chain);
  const work = images.making(async () => {
    const layer = await content.ingest(await snapshots.layerArchive(input.snapshotId));
    const created = new Date(input.now?.() ?? Date.now()).toISOString();
    // Two zero blocks: nothing was changed.
    const empty = layer.size <= 1024;
    const step: HistoryEntry = {
      created,
      created_by: input.createdBy,
      ...(input.author ? { author: input.author } : {}),
      ...(input.comment ? { comment: input.comment } : {}),
      ...(empty ? { empty_layer: true } : {}),
    };
    const below = base?.config.rootfs.diff_ids ?? [];
    const config: ImageConfig = {
      created,
      ...(input.author ? { author: input.author } : {}),
      architecture: base?.config.architecture ?? hostPlatform().architecture,
      ...(base?.config.variant === undefined ? {} : { variant: base.config.variant }),
      os: "linux",
      config: input.config,
      rootfs: { type: "layers", diff_ids: empty ? [...below] : [...below, layer.digest] },
      history: [...(base?.config.history ?? []), step],
    };
    return await images.create({
      config,
      layers: [...(base?.layers ?? []), ...(empty ? [] : [{ mediaType: mediaTypes.layer, ...layer }])],
      ...(input.tag === undefined ? {} : { tag: input.tag }),
      ...(base === undefined ? {} : { parent: base.id }),
    });
  });
  return work.finally(release);
}

import { GantryError } from "#base/errors.ts";
import { asDigest } from "./digest.ts";
import { type Descriptor, type ImageConfig, type ImageIndex, type Manifest, mediaTypes } from "./oci.ts";

/** Manifests, indexes and configs larger than this are refused (OCI distribution spec, "Pushing Manifests"). */
export const maxManifestBytes = 4 << 20;
/** A layer stack that overlayfs can mount here. */
export const maxLayers = 127;

type Json = Record<string, unknown>;

const bad = (what: string, cause?: unknown): GantryError => new GantryError("invalid", what, { cause });

function parseObject(bytes: Uint8Array, what: string): Json {
  if (bytes.length > maxManifestBytes) throw bad(`${what} is larger than ${maxManifestBytes} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch (cause) {
    throw bad(`${what} is not valid JSON: ${(cause as Error).message}`, cause);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw bad(`${what} is not a JSON object`);
  return value as Json;
}

function parseDescriptor(value: unknown, what: string): Descriptor {
  const descriptor = value as Descriptor | null | undefined;
  if (typeof descriptor !== "object" || descriptor === null || typeof descriptor.digest !== "string")
    throw bad(`${what} has a descriptor without a digest`);
  asDigest(descriptor.digest);
  if (!Number.isSafeInteger(descriptor.size) || descriptor.size < 0)
    throw bad(`${what} has a descriptor with an invalid size`);
  if (typeof descriptor.mediaType !== "string") throw bad(`${what} has a descriptor without a media type`);
  return descriptor;
}

/** What a manifest's bytes are: by `mediaType`, or by their shape where it is missing. */
export function isIndex(document: { mediaType?: unknown; manifests?: unknown }): boolean {
  if (typeof document.mediaType === "string")
    return document.mediaType === mediaTypes.index || document.mediaType === mediaTypes.dockerList;
  return Array.isArray(document.manifests);
}

/** Reads a manifest or an index. Throws `invalid`; schema 1 is `unsupported`. */
export function parseManifestOrIndex(bytes: Uint8Array): { manifest: Manifest } | { index: ImageIndex } {
  const document = parseObject(bytes, "manifest");
  if (document["schemaVersion"] === 1)
    throw new GantryError(
      "unsupported",
      "docker image format v1 and manifest version 2, schema 1 are not supported: have the image pushed again by a current tool",
    );
  if (isIndex(document)) {
    if (!Array.isArray(document["manifests"])) throw bad("index has no list of manifests");
    const manifests = document["manifests"].map((each) => parseDescriptor(each, "index"));
    return { index: { ...(document as object), schemaVersion: 2, manifests } };
  }
  if (!Array.isArray(document["layers"])) throw bad("manifest has no list of layers");
  const layers = document["layers"].map((each) => parseDescriptor(each, "manifest"));
  if (layers.length > maxLayers) throw bad("max depth exceeded");
  return {
    manifest: {
      ...(document as object),
      schemaVersion: 2,
      config: parseDescriptor(document["config"], "manifest"),
      layers,
    },
  };
}

export function parseManifest(bytes: Uint8Array): Manifest {
  const parsed = parseManifestOrIndex(bytes);
  if (!("manifest" in parsed)) throw bad("an image manifest was expected, not an index");
  return parsed.manifest;
}

/** Reads an image's config and checks what Gantry builds on. Throws `invalid`, `unsupported` for another system. */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  const config = parseObject(bytes, "image config");
  const rootfs = config["rootfs"] as { diff_ids?: unknown } | null | undefined;
  const diffIds = typeof rootfs === "object" && rootfs !== null ? (rootfs.diff_ids ?? []) : undefined;
  if (!Array.isArray(diffIds)) throw bad("invalid image JSON, no RootFS key");
  for (const diffId of diffIds) asDigest(String(diffId));
  if (diffIds.length > maxLayers) throw bad("max depth exceeded");
  const { os, architecture, history, config: runtime } = config;
  if (os !== undefined && os !== "" && os !== "linux")
    throw new GantryError(
      "unsupported",
      `image operating system ${JSON.stringify(os)} cannot be used on this platform`,
    );
  if (history !== undefined && history !== null && !Array.isArray(history)) throw bad("invalid image JSON: history");
  if (runtime !== undefined && runtime !== null && (typeof runtime !== "object" || Array.isArray(runtime)))
    throw bad("invalid image JSON: config");
  return {
    ...config,
    os: "linux",
    architecture: typeof architecture === "string" ? architecture : "",
    rootfs: { type: "layers", diff_ids: diffIds as string[] },
    history: (history ?? []) as NonNullable<ImageConfig["history"]>,
    ...(runtime === undefined || runtime === null ? {} : { config: runtime as NonNullable<ImageConfig["config"]> }),
  };
}

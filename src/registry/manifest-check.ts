import { GantryError } from "#base/errors.ts";
import { mediaTypes } from "#image/oci.ts";
import { parseManifestOrIndex } from "#image/oci-parse.ts";
import { RegistryError } from "./registry-error.ts";
import type { ManifestRecord, RepositoryRecord } from "./repository-store.ts";

/**
 * Reads a manifest that a client puts and says what the repository keeps of it. Blobs that it needs must be
 * there. Throws MANIFEST_INVALID, MANIFEST_BLOB_UNKNOWN.
 */
export function checkManifest(
  bytes: Buffer,
  contentType: string,
  repository: RepositoryRecord | undefined,
): ManifestRecord {
  let parsed: ReturnType<typeof parseManifestOrIndex>;
  try {
    parsed = parseManifestOrIndex(bytes);
  } catch (error) {
    if (error instanceof GantryError) throw new RegistryError("MANIFEST_INVALID", error.message);
    throw error;
  }
  const document = ("manifest" in parsed ? parsed.manifest : parsed.index) as {
    mediaType?: string;
    artifactType?: string;
    subject?: { digest?: unknown };
    annotations?: Record<string, string>;
    config?: { mediaType: string };
  };
  const mediaType = contentType === "" ? (document.mediaType ?? mediaTypes.manifest) : contentType;
  if (document.mediaType !== undefined && document.mediaType !== mediaType)
    throw new RegistryError(
      "MANIFEST_INVALID",
      `the manifest is of type ${document.mediaType}, and was sent as ${mediaType}`,
    );
  const missing = (digest: string): never => {
    throw new RegistryError("MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", { detail: { digest } });
  };
  if ("manifest" in parsed) {
    const { config, layers } = parsed.manifest;
    for (const { digest, urls } of [config, ...layers])
      if (urls === undefined && repository?.blobs.includes(digest) !== true) missing(digest);
  } else {
    for (const { digest } of parsed.index.manifests) if (repository?.manifests[digest] === undefined) missing(digest);
  }
  const artifactType = document.artifactType ?? document.config?.mediaType;
  return {
    mediaType,
    size: bytes.length,
    ...(typeof document.subject?.digest === "string" ? { subject: document.subject.digest } : {}),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(document.annotations === undefined ? {} : { annotations: document.annotations }),
  };
}

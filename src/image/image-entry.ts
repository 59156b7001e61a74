import { GantryError } from "#base/errors.ts";
import type { Digest } from "#base/ids.ts";
import { asDigest, chainIds } from "./digest.ts";
import type { Image, ImageStore } from "./image-store.ts";
import type { Descriptor } from "./oci.ts";
import { parseImageConfig, parseManifest } from "./oci-parse.ts";

/**
 * Enters an image whose manifest, config and layer blobs are in the content store, keeping its manifest as it
 * is: what pull and load end with. Checks that all say the same. Throws `invalid`.
 */
export async function enterManifest(
  images: ImageStore,
  input: {
    manifest: Descriptor;
    /** Canonical, with a tag. */
    tag?: string;
    /** Canonical, with a digest. */
    digest?: string;
    parent?: Digest;
    onProgress?: (at: number, bytes: number) => void;
    /** Called when the layer `at` is unpacked. */
    onLayer?: (at: number) => void;
  },
): Promise<Image> {
  const manifest = parseManifest(await images.content.read(asDigest(input.manifest.digest)));
  const id = asDigest(manifest.config.digest);
  const config = parseImageConfig(await images.content.read(id));
  if (config.rootfs.diff_ids.length !== manifest.layers.length)
    throw new GantryError("invalid", "layers from manifest don't match image configuration");
  const release = images.hold(chainIds(config.rootfs.diff_ids));
  try {
    await images.unpackLayers(config, manifest.layers, input.onProgress, input.onLayer);
    const { mediaType, digest, size } = input.manifest;
    return await images.add({
      manifest: { mediaType, digest, size },
      id,
      ...(input.tag === undefined ? {} : { tag: input.tag }),
      ...(input.digest === undefined ? {} : { digest: input.digest }),
      ...(input.parent === undefined ? {} : { parent: input.parent }),
    });
  } finally {
    release();
  }
}

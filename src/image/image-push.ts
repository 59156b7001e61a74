import { Readable } from "node:stream";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { createGzip } from "node:zlib";
import type { ProgressMessage } from "#api/docker/object-types.ts";
import { GantryError } from "#base/errors.ts";
import { isPassing } from "./blob-download.ts";
import { decompressed } from "./decompress.ts";
import { asDigest, hexOf } from "./digest.ts";
import type { Image, ImageStore } from "./image-store.ts";
import { type Descriptor, type Manifest, isPlainLayer, mediaTypes } from "./oci.ts";
import { parseManifest } from "./oci-parse.ts";
import { type ImageReference, canonicalString, familiarString, parseReference, repositoryOf } from "./reference.ts";
import type { RegistryCredentials } from "./registry-auth.ts";
import type { RegistryClient, Repository } from "./registry-client.ts";

export interface PushImageOptions {
  credentials?: RegistryCredentials | undefined;
  progress?: (message: ProgressMessage) => void;
  signal?: AbortSignal | undefined;
}

export interface PushParts {
  images: ImageStore;
  client: RegistryClient;
}

const progressMs = 100;
const chunkBytes = 1 << 17;

/**
 * `docker push`: one tag, or all tags of a repository when the reference has none. Sends only what the registry
 * does not have, and asks for blobs of its other repositories first. Throws in docker's words.
 */
export async function pushImage(
  parts: PushParts,
  reference: ImageReference,
  options: PushImageOptions = {},
): Promise<void> {
  const { images, client } = parts;
  const progress = options.progress ?? (() => {});
  const repositoryName = repositoryOf(reference);
  if (reference.digest !== undefined) throw new GantryError("invalid", "cannot push a digest reference");
  const tags =
    reference.tag === undefined
      ? images
          .list()
          .flatMap((image) => image.tags)
          .filter((tag) => tag.startsWith(`${repositoryName}:`))
          .sort()
      : [canonicalString(reference)];
  const shown = familiarString({ ...reference, tag: undefined });
  progress({ status: `The push refers to repository [${repositoryName}]` });
  if (tags.length === 0 || tags.some((tag) => images.find(tag) === undefined))
    throw new GantryError("not-found", `An image does not exist locally with the tag: ${shown}`);
  const { credentials, signal } = options;
  const repository = await client.repository(reference, { credentials, signal, actions: "pull,push" });
  for (const tag of tags) {
    const image = images.resolve(tag);
    await pushOne(parts, repository, image, parseReference(tag).tag as string, progress, signal);
  }
}

async function pushOne(
  { images, client }: PushParts,
  repository: Repository,
  image: Image,
  tag: string,
  progress: (message: ProgressMessage) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { content } = images;
  const endSession = content.session();
  try {
    const diffIds = image.config.rootfs.diff_ids;
    for (const diffId of diffIds.toReversed())
      progress({ status: "Preparing", id: hexOf(diffId).slice(0, 12), progressDetail: {} });
    const { descriptor, bytes, manifest } = await compressedManifest(images, image, signal);
    const failed = new AbortController();
    const waiting = (id: string): { signal?: AbortSignal; onWait: () => void } => ({
      ...(signal === undefined ? {} : { signal }),
      onWait: () => progress({ status: "Waiting", id, progressDetail: {} }),
    });
    const seen = new Map<string, Promise<void>>();
    let first: unknown;
    await Promise.all(
      manifest.layers.map(async (layer, at) => {
        const id = hexOf(diffIds[at] ?? layer.digest).slice(0, 12);
        const work =
          seen.get(layer.digest) ??
          client.uploads.run(async () => {
            failed.signal.throwIfAborted();
            signal?.throwIfAborted();
            await pushWithRetries(
              client,
              () => pushBlob(images, repository, layer, id, progress),
              id,
              progress,
              signal,
            );
          }, waiting(id));
        seen.set(layer.digest, work);
        await work.catch((error: unknown) => {
          first ??= error;
          failed.abort();
        });
      }),
    );
    if (first !== undefined) throw first;
    if (!(await repository.hasBlob(manifest.config.digest))) {
      const location = await repository.beginUpload(manifest.config.digest);
      const config = await content.read(image.id);
      if (location !== undefined)
        await repository.upload(location, image.id, config.length, async function* () {
          yield config;
        });
    }
    await repository.putManifest(tag, descriptor.mediaType, bytes);
    await images.setManifest(image.id, descriptor, `${repositoryOf(repository.reference)}@${descriptor.digest}`);
    progress({ status: `${tag}: digest: ${descriptor.digest} size: ${bytes.length}` });
    progress({ progressDetail: {}, aux: { Tag: tag, Digest: descriptor.digest, Size: bytes.length } });
  } finally {
    endSession();
  }
}

/**
 * The manifest to send: the image's own, or, where layers are kept uncompressed (commit, build, import), one
 * with the same layers compressed. That one becomes the image's, so that the next push finds all there.
 */
async function compressedManifest(
  images: ImageStore,
  image: Image,
  signal: AbortSignal | undefined,
): Promise<{ descriptor: Descriptor; bytes: Buffer; manifest: Manifest }> {
  const { content } = images;
  const own = await content.read(asDigest(image.manifest.digest));
  const manifest = parseManifest(own);
  if (!manifest.layers.some((layer) => isPlainLayer(layer.mediaType)))
    return { descriptor: image.manifest, bytes: own, manifest };
  const docker = manifest.mediaType === mediaTypes.dockerManifest;
  const layers: Descriptor[] = [];
  for (const layer of manifest.layers) {
    if (!isPlainLayer(layer.mediaType)) {
      layers.push(layer);
      continue;
    }
    // Not all that is called plain is.
    const plain = Readable.from(decompressed(content.stream(asDigest(layer.digest))));
    const zipped = createGzip({ level: 6, chunkSize: chunkBytes });
    plain.on("error", (error) => zipped.destroy(error));
    const blob = await content.ingest(
      plain.pipe(zipped) as AsyncIterable<Buffer>,
      signal === undefined ? {} : { signal },
    );
    layers.push({ mediaType: docker ? mediaTypes.dockerLayerGzip : mediaTypes.layerGzip, ...blob });
  }
  const bytes = Buffer.from(JSON.stringify({ ...manifest, layers }));
  const stored = await content.put(bytes);
  return {
    descriptor: { mediaType: image.manifest.mediaType, ...stored },
    bytes,
    manifest: { ...manifest, layers },
  };
}

/** An upload that was cut begins again: what the registry has by then it says itself. */
async function pushWithRetries(
  { config }: RegistryClient,
  push: () => Promise<void>,
  id: string,
  progress: (message: ProgressMessage) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await push();
      return;
    } catch (error) {
      if (signal?.aborted || tries >= config.maxDownloadAttempts || !isPassing(error)) throw error;
      const wait = config.timeouts.retry * 2 ** tries;
      const seconds = Math.ceil(wait / 1000);
      progress({ status: `Retrying in ${seconds} second${seconds === 1 ? "" : "s"}`, id, progressDetail: {} });
      await sleep(wait, undefined, signal === undefined ? {} : { signal });
    }
  }
}

async function pushBlob(
  images: ImageStore,
  repository: Repository,
  layer: Descriptor,
  id: string,
  progress: (message: ProgressMessage) => void,
): Promise<void> {
  if (await repository.hasBlob(layer.digest)) {
    progress({ status: "Layer already exists", id, progressDetail: {} });
    return;
  }
  const from = mountSource(images, repository.reference, layer.digest);
  const location = await repository.beginUpload(layer.digest, from);
  if (location === undefined) {
    progress({ status: `Mounted from ${from}`, id, progressDetail: {} });
    return;
  }
  const { size } = layer;
  let sent = 0;
  let told = 0;
  await repository.upload(location, layer.digest, size, async function* () {
    sent = 0;
    for await (const chunk of images.content.stream(asDigest(layer.digest)) as AsyncIterable<Buffer>) {
      yield chunk;
      sent += chunk.length;
      const now = performance.now();
      if (now - told < progressMs) continue;
      told = now;
      progress({ status: "Pushing", id, progressDetail: { current: sent, total: size } });
      await turn();
    }
  });
  progress({ status: "Pushed", id, progressDetail: {} });
}

/** Another repository of the same registry that an image with this layer was pulled from or pushed to. */
function mountSource(images: ImageStore, target: ImageReference, digest: string): string | undefined {
  for (const image of images.list()) {
    if (!image.layers.some((layer) => layer.digest === digest)) continue;
    for (const text of image.digests) {
      const { domain, path } = parseReference(text);
      if (domain === target.domain && path !== target.path) return path;
    }
  }
  return undefined;
}

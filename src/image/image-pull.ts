import type { ProgressMessage } from "#api/docker/object-types.ts";
import { GantryError } from "#base/errors.ts";
import type { Digest } from "#base/ids.ts";
import { downloadBlob, isPassing } from "./blob-download.ts";
import { asDigest, chainIds, hexOf } from "./digest.ts";
import type { Image, ImageStore } from "./image-store.ts";
import {
  type Descriptor,
  type ImageConfig,
  type ImageIndex,
  type Manifest,
  type Platform,
  hostPlatform,
  mediaTypes,
} from "./oci.ts";
import { parsePlatform } from "./platform.ts";
import { maxManifestBytes, parseImageConfig, parseManifestOrIndex } from "./oci-parse.ts";
import { type ImageReference, canonicalString, familiarString, repositoryOf, withDefaultTag } from "./reference.ts";
import type { RegistryCredentials } from "./registry-auth.ts";
import type { RegistryClient, RemoteManifest, Repository } from "./registry-client.ts";
import { pullError } from "./registry-errors.ts";

export interface PullImageOptions {
  credentials?: RegistryCredentials | undefined;
  /** `linux/arm64/v8`; default: this machine's. */
  platform?: string | undefined;
  progress?: (message: ProgressMessage) => void;
  signal?: AbortSignal | undefined;
}

export interface PullParts {
  images: ImageStore;
  client: RegistryClient;
}

/** Least time between two lines of progress of one layer. */
const progressMs = 100;

const shortId = (digest: string): string => hexOf(digest).slice(0, 12);

/** The manifest of an index that fits a platform best; undefined when none does. */
export function choosePlatform(index: ImageIndex, wanted: Platform): Descriptor | undefined {
  const variantOf = ({ architecture, variant }: Platform): string => variant ?? (architecture === "arm64" ? "v8" : "");
  const fitting = index.manifests.filter(
    ({ platform }) =>
      platform !== undefined && platform.os === wanted.os && platform.architecture === wanted.architecture,
  );
  return (
    fitting.find(({ platform }) => variantOf(platform as Platform) === variantOf(wanted)) ??
    (wanted.variant === undefined ? fitting[0] : fitting.find(({ platform }) => platform?.variant === undefined))
  );
}

/**
 * Pulls an image by tag or digest and enters it. Layers come in parallel, go on where they were cut, and are
 * verified before anything is unpacked. Throws in docker's words.
 */
export async function pullImage(
  parts: PullParts,
  wanted: ImageReference,
  options: PullImageOptions = {},
): Promise<Image> {
  const reference = withDefaultTag(wanted);
  const platform =
    options.platform === undefined || options.platform === "" ? hostPlatform() : parsePlatform(options.platform);
  try {
    const { credentials, signal } = options;
    const { image, isNew } = await parts.client.withRepository(
      reference,
      { credentials, signal, actions: "pull" },
      (repository) => pullFrom(parts, repository, reference, platform, options),
    );
    tellStatus(options, reference, isNew);
    return image;
  } catch (error) {
    throw pullError(reference, error);
  }
}

/** `docker pull -a`: every tag of a repository. */
export async function pullAllTags(
  parts: PullParts,
  wanted: ImageReference,
  options: PullImageOptions = {},
): Promise<void> {
  const reference: ImageReference = { ...wanted, tag: undefined, digest: undefined };
  try {
    const { credentials, signal } = options;
    const platform =
      options.platform === undefined || options.platform === "" ? hostPlatform() : parsePlatform(options.platform);
    let isAnyNew = false;
    await parts.client.withRepository(reference, { credentials, signal, actions: "pull" }, async (repository) => {
      for (const tag of await repository.tags()) {
        const { isNew } = await pullFrom(parts, repository, { ...reference, tag }, platform, options);
        isAnyNew ||= isNew;
      }
    });
    tellStatus(options, reference, isAnyNew);
  } catch (error) {
    throw pullError(reference, error);
  }
}

function tellStatus({ progress }: PullImageOptions, reference: ImageReference, isNew: boolean): void {
  const what = isNew ? "Downloaded newer image" : "Image is up to date";
  progress?.({ status: `Status: ${what} for ${familiarString(reference)}` });
}

/** What may stand in the place of an image's configuration (moby, distribution/registry.go). */
const configTypes = [
  mediaTypes.config,
  mediaTypes.dockerConfig,
  "application/octet-stream",
  "application/json",
  "text/html",
  "",
];

/** Refuses what is no image, before anything of it is downloaded (moby, distribution/pull_v2.go). */
function checkMediaTypes({ config, layers }: Manifest): void {
  if (!configTypes.includes(config.mediaType))
    throw new GantryError("invalid", `Encountered remote ${JSON.stringify(config.mediaType)}(unknown) when fetching`);
  for (const { mediaType } of layers) {
    if (/^application\/vnd\.(oci\.image|docker)/i.test(mediaType) || configTypes.includes(mediaType)) continue;
    throw new GantryError("invalid", `unsupported media type ${mediaType}`);
  }
}

/** Downloads and reads a manifest's configuration. Throws in docker's words. */
async function pullConfig(
  { images: { content }, client }: PullParts,
  repository: Repository,
  descriptor: Descriptor,
  signal: AbortSignal | undefined,
): Promise<ImageConfig> {
  const digest = asDigest(descriptor.digest);
  try {
    await downloadBlob(content, repository, descriptor, client.config, { signal });
  } catch (error) {
    if (!(error instanceof GantryError) || error.code === "cancelled") throw error;
    const attempts = isPassing(error) ? client.config.maxDownloadAttempts : 1;
    const why =
      error.code === "invalid"
        ? `image config verification failed for digest ${digest}`
        : `download failed after attempts=${attempts}: ${error.message}`;
    throw new GantryError(error.code, `error pulling image configuration: ${why}`, { cause: error });
  }
  const bytes = await content.read(digest);
  try {
    return parseImageConfig(bytes);
  } catch (cause) {
    if (/no RootFS key|not a JSON object/.test((cause as Error).message))
      throw new GantryError("invalid", "invalid rootfs in image configuration", { cause });
    throw cause;
  }
}

async function pullFrom(
  parts: PullParts,
  repository: Repository,
  reference: ImageReference,
  platform: Platform,
  options: PullImageOptions,
): Promise<{ image: Image; isNew: boolean }> {
  const { images } = parts;
  const { content } = images;
  const progress = options.progress ?? (() => {});
  const name = reference.digest ?? (reference.tag as string);
  const top = await repository.manifest(name);
  progress({ status: `Pulling from ${reference.path}`, id: name });
  const chosen = await manifestFor(repository, top, platform);
  const parsed = parseManifestOrIndex(chosen.bytes);
  if (!("manifest" in parsed)) throw new GantryError("invalid", "an index of indexes is not supported");
  const { manifest } = parsed;
  checkMediaTypes(manifest);
  if (manifest.config.size > maxManifestBytes)
    throw new GantryError(
      "too-large",
      `the config of ${familiarString(reference)} is larger than ${maxManifestBytes} bytes`,
    );
  const before = images.find(canonicalString(reference))?.id;
  const endSession = content.session();
  let done = false;
  try {
    const id = asDigest(manifest.config.digest);
    const config = await pullConfig(parts, repository, manifest.config, options.signal);
    if (config.rootfs.diff_ids.length !== manifest.layers.length)
      throw new GantryError("invalid", "layers from manifest don't match image configuration");
    await content.put(chosen.bytes);
    if (images.byId(id) === undefined)
      await pullLayers(parts, repository, manifest.layers, config.rootfs.diff_ids, progress, options.signal);
    const release = images.hold(chainIds(config.rootfs.diff_ids));
    try {
      const image = await images.add({
        manifest: chosen.descriptor,
        id,
        ...(reference.digest === undefined ? { tag: canonicalString(reference) } : {}),
        digest: `${repositoryOf(reference)}@${top.descriptor.digest}`,
      });
      done = true;
      progress({ status: `Digest: ${top.descriptor.digest}` });
      return { image, isNew: before !== id };
    } finally {
      release();
    }
  } finally {
    endSession();
    if (!done) await images.collect();
  }
}

async function manifestFor(repository: Repository, top: RemoteManifest, platform: Platform): Promise<RemoteManifest> {
  const parsed = parseManifestOrIndex(top.bytes);
  if ("manifest" in parsed) return top;
  const descriptor = choosePlatform(parsed.index, platform);
  if (descriptor === undefined) {
    const { os, architecture, variant } = platform;
    throw new GantryError(
      "not-found",
      `no matching manifest for ${os}/${architecture}${variant === undefined ? "" : `/${variant}`} in the manifest list entries`,
    );
  }
  return repository.manifest(descriptor.digest, descriptor);
}

async function pullLayers(
  { images, client }: PullParts,
  repository: Repository,
  layers: readonly Descriptor[],
  diffIds: readonly string[],
  progress: (message: ProgressMessage) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const chain = chainIds(diffIds);
  const release = images.hold(chain);
  // One layer that fails ends the others: their bytes are kept for the next try.
  const failed = new AbortController();
  const either = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
  try {
    const here = await Promise.all(
      layers.map(
        async (layer, at) =>
          images.layers.get(chain[at] as Digest) !== undefined && (await images.content.has(asDigest(layer.digest))),
      ),
    );
    for (const [at, layer] of layers.entries())
      progress({
        status: here[at] ? "Already exists" : "Pulling fs layer",
        id: shortId(layer.digest),
        ...(here[at] ? {} : { progressDetail: {} }),
      });
    const work: Promise<void>[] = [];
    const pullOne = async (layer: Descriptor, at: number): Promise<void> => {
      if (here[at]) return;
      const id = shortId(layer.digest);
      const tell = throttled((status: string, current: number) =>
        progress({ status, id, progressDetail: { current, total: layer.size } }),
      );
      await downloadBlob(images.content, repository, layer, client.config, {
        signal: either,
        inTurn: (transfer) =>
          client.downloads.run(transfer, {
            signal: either,
            onWait: () => progress({ status: "Waiting", id, progressDetail: {} }),
          }),
        onBytes: (bytes) => tell("Downloading", bytes),
        onRetry: (seconds) =>
          progress({ status: `Retrying in ${seconds} second${seconds === 1 ? "" : "s"}`, id, progressDetail: {} }),
      });
      progress({ status: "Verifying Checksum", id, progressDetail: {} });
      progress({ status: "Download complete", id, progressDetail: {} });
      await images.layers.unpack(
        { chainId: chain[at] as Digest, diffId: asDigest(diffIds[at] as string), parent: chain[at - 1] },
        images.content.path(asDigest(layer.digest)),
        (bytes) => tell("Extracting", Math.min(bytes, layer.size)),
      );
      // Unpacked in any order, told from the bottom up: a layer is complete once those below it are.
      await work[at - 1];
      progress({ status: "Extracting", id, progressDetail: { current: layer.size, total: layer.size } });
      progress({ status: "Pull complete", id, progressDetail: {} });
    };
    for (const [at, layer] of layers.entries()) work.push(pullOne(layer, at));
    let first: unknown;
    await Promise.all(
      work.map((each) =>
        each.catch((error: unknown) => {
          first ??= error;
          failed.abort();
        }),
      ),
    );
    if (signal?.aborted) throw new GantryError("cancelled", "context canceled", { cause: first });
    if (first !== undefined) throw first;
  } finally {
    release();
  }
}

function throttled(tell: (status: string, current: number) => void): (status: string, current: number) => void {
  let last = 0;
  return (status, current) => {
    const now = performance.now();
    if (now - last < progressMs) return;
    last = now;
    tell(status, current);
  };
}

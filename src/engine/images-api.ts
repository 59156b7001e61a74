import type { ImageSummary, SearchResult } from "#api/docker/object-types.ts";
import type { Clock } from "#base/clock.ts";
import { GantryError } from "#base/errors.ts";
import type { Digest } from "#base/ids.ts";
import { loadImages } from "#image/archive-load.ts";
import { saveImages } from "#image/archive-save.ts";
import { type ImageUser, pruneImages, removeImage } from "#image/image-removal.ts";
import { importImage, targetName } from "#image/image-import.ts";
import type { ImageService } from "#image/image-service.ts";
import type { Image } from "#image/image-store.ts";
import { createdSeconds, imageHistory, imageInspect, imageSummary, isDangling } from "#image/image-views.ts";
import { requirePlatform } from "#image/platform.ts";
import { familiarString, parseReference } from "#image/reference.ts";
import { type UrlDownload, downloadUrl, openDownload } from "#image/url-download.ts";
import type { ContainerStore } from "./container-store.ts";
import type { Filters, ImagesApi, ProgressSink, PullOptions, RegistryAuth } from "./engine.ts";
import type { EventLog } from "./event-log.ts";
import { booleanFilter, checkFilters, matchesLabels, matchesPruneLabels, untilFilter } from "./filters.ts";
import { parseTime, parseUserTime } from "./timestamps.ts";

/** What the registry client does for `docker pull`, `push`, `search` and `login`. */
export interface RegistryPort {
  pull(reference: string, options: PullOptions): Promise<Image[]>;
  push(
    reference: string,
    options: { tag?: string; auth?: RegistryAuth; progress: ProgressSink; signal?: AbortSignal },
  ): Promise<void>;
  search(term: string, options: { limit?: number; auth?: RegistryAuth }): Promise<SearchResult[]>;
  login(auth: RegistryAuth): Promise<{ Status: string; IdentityToken?: string }>;
  distribution(reference: string, auth?: RegistryAuth): Promise<{ Descriptor: unknown; Platforms: unknown[] }>;
}

export interface ImagesApiParts {
  images: ImageService;
  store: ContainerStore;
  events: EventLog;
  clock: Clock;
  registry: RegistryPort;
}

/** Who stands on an image: containers, running or not. */
export function imageUsers(store: ContainerStore): (id: Digest) => ImageUser[] {
  return (id) =>
    store
      .all()
      .filter((container) => container.record.Image === id)
      .map((container) => ({
        id: container.id,
        running: container.state.Running,
        reference: container.record.Config.Image ?? "",
      }));
}

/** The image's first name, for events. */
function nameOf(image: Image): string {
  const tag = image.tags[0];
  return tag === undefined ? image.id : familiarString(parseReference(tag));
}

export function createImagesApi(parts: ImagesApiParts): ImagesApi {
  const { images: service, store, events, registry } = parts;
  const { images, layers } = service;
  const users = imageUsers(store);
  return {
    async pull(reference, options) {
      for (const image of await registry.pull(reference, options)) {
        events.emit("image", "pull", nameOf(image), {
          ...image.config.config?.Labels,
          name: reference.split(":")[0] ?? reference,
        });
      }
    },
    async push(reference, options) {
      await registry.push(reference, options);
      events.emit("image", "push", reference, { name: reference });
    },
    async load(tar, options) {
      for (const { image, names } of await loadImages(images, tar, options)) {
        events.emit("image", "load", image.id, { name: names[0] ?? image.id });
      }
    },
    async save(references, { platform } = {}) {
      const { saved, tar } = saveImages(images, references, platform);
      for (const image of saved) events.emit("image", "save", image.id, { name: nameOf(image) });
      return tar;
    },
    async import(source, options) {
      const { repository, tag, progress, signal, ...rest } = options;
      const name = targetName(repository, tag);
      const download =
        typeof source === "string" ? await openDownload(source, signal === undefined ? {} : { signal }) : undefined;
      try {
        const tar = typeof source === "string" ? telling(source, download as UrlDownload, progress) : source;
        const image = await importImage(service, tar, {
          ...rest,
          ...(typeof source === "string" ? { source } : {}),
          ...(name === undefined ? {} : { tag: name }),
          now: () => parts.clock.now(),
        });
        const labels = image.config.config?.Labels ?? {};
        if (name !== undefined)
          events.emit("image", "tag", image.id, { ...labels, name: familiarString(parseReference(name)) });
        events.emit("image", "import", image.id, { ...labels, name: image.id });
        return image.id;
      } finally {
        await download?.close();
      }
    },
    async tag(ref, repository, tag) {
      const image = images.resolve(ref);
      const name = targetName(repository, tag);
      if (name === undefined) throw new GantryError("invalid", "invalid reference format");
      await images.tag(image.id, name);
    },
    async remove(ref, options = {}) {
      return removeImage(images, ref, { ...options, users });
    },
    list: async (options = {}) => listImages(options, parts),
    async inspect(ref, { platform } = {}) {
      const image = images.resolve(ref);
      requirePlatform(image, ref, platform);
      return imageInspect(images, layers, image);
    },
    async history(ref, { platform } = {}) {
      const image = images.resolve(ref);
      requirePlatform(image, ref, platform);
      return imageHistory(images, layers, image);
    },
    async prune(filters = {}) {
      checkFilters(filters, ["dangling", "label", "label!", "until"]);
      const until = untilFilter(filters, parts.clock.now());
      const report = await pruneImages(images, {
        danglingOnly: booleanFilter(filters, "dangling") ?? true,
        users,
        wanted: (image) =>
          matchesPruneLabels(image.config.config?.Labels, filters) &&
          (until === undefined || createdSeconds(image) * 1000 < until),
      });
      events.emit("image", "prune", "", { reclaimed: String(report.spaceReclaimed) });
      return report;
    },
    async search(term, options = {}) {
      const { filters = {} } = options;
      checkFilters(filters, ["is-automated", "is-official", "stars"]);
      const official = booleanFilter(filters, "is-official");
      const automated = booleanFilter(filters, "is-automated");
      const stars = Math.max(0, ...(filters["stars"] ?? []).map((text) => starsOf(text)));
      const found = await registry.search(term, options);
      return found.filter(
        (each) =>
          each.star_count >= stars &&
          (official === undefined || each.is_official === official) &&
          (automated === undefined || each.is_automated === automated),
      );
    },
    login: (auth) => registry.login(auth),
    distribution: (reference, auth) => registry.distribution(reference, auth),
  };
}

function starsOf(text: string): number {
  if (!/^\d+$/.test(text)) throw new GantryError("invalid", `invalid filter 'stars=[${text}]'`);
  return Number(text);
}

/** Least time between two lines of progress. */
const progressMs = 100;

/** What a URL holds, telling how far it is as it is read. */
async function* telling(
  source: string,
  { chunks, length }: UrlDownload,
  progress: ProgressSink,
): AsyncGenerator<Uint8Array> {
  progress({ status: `Downloading from ${source.includes("://") ? source : downloadUrl(source).href}` });
  let current = 0;
  let told = 0;
  const tell = (): void =>
    progress({ status: "Importing", progressDetail: { current, ...(length === undefined ? {} : { total: length }) } });
  for await (const chunk of chunks) {
    yield chunk;
    current += chunk.length;
    const now = performance.now();
    if (now - told < progressMs) continue;
    told = now;
    tell();
  }
  tell();
}

const knownFilters = ["before", "dangling", "label", "reference", "since", "until"];

/** A `reference` filter: a glob over the short name, with or without its tag. */
function matchesReference(reference: string, pattern: string): boolean {
  const glob = new RegExp(
    `^${pattern
      .replace(/[.+^${}()|\\]/g, "\\$&")
      .replaceAll("*", "[^/]*")
      .replaceAll("?", "[^/]")}$`,
  );
  const name = familiarString(parseReference(reference));
  return glob.test(name) || glob.test(name.replace(/@.*$|:[^:/]*$/, "")) || glob.test(reference);
}

function listImages(
  options: { all?: boolean; filters?: Filters; sharedSize?: boolean },
  parts: ImagesApiParts,
): ImageSummary[] {
  const { images } = parts.images;
  const filters = options.filters ?? {};
  checkFilters(filters, knownFilters);
  const dangling = booleanFilter(filters, "dangling");
  const createdAt = (image: Image): number => parseTime(image.config.created ?? "");
  const created = (ref: string): number => createdAt(images.resolve(ref));
  const before = (filters["before"] ?? []).map(created);
  const since = (filters["since"] ?? []).map(created);
  const until = (filters["until"] ?? []).map((text) => parseUserTime(text, parts.clock.now()));
  const references = filters["reference"] ?? [];
  const isWanted = (reference: string): boolean => references.some((pattern) => matchesReference(reference, pattern));
  const hasChild = new Set(images.list().map((image) => image.parent));
  return images
    .list()
    .filter((image) => {
      const at = createdAt(image);
      if (dangling !== undefined && isDangling(images, image) !== dangling) return false;
      if (
        options.all !== true &&
        dangling === undefined &&
        image.tags.length + image.digests.length === 0 &&
        hasChild.has(image.id)
      )
        return false;
      if (before.some((time) => at >= time) || since.some((time) => at <= time) || until.some((time) => at >= time))
        return false;
      if (!matchesLabels(image.config.config?.Labels, filters["label"] ?? [])) return false;
      return references.length === 0 || [...image.tags, ...image.digests].some(isWanted);
    })
    .map((image) => {
      // A filter by name shows the names that fit, not the image's others.
      const shown =
        references.length === 0
          ? image
          : { ...image, tags: image.tags.filter(isWanted), digests: image.digests.filter(isWanted) };
      return imageSummary(images, shown, options.sharedSize === undefined ? {} : { sharedSize: options.sharedSize });
    })
    .sort((a, b) => b.Created - a.Created);
}

import type { ImageDeleteEntry } from "#api/docker/object-types.ts";
import { GantryError } from "#base/errors.ts";
import type { Digest } from "#base/ids.ts";
import { hexOf } from "./digest.ts";
import type { Image, ImageStore } from "./image-store.ts";
import { hasChildren, isDangling } from "./image-views.ts";
import { canonicalString, familiarString, parseReference, repositoryOf, withDefaultTag } from "./reference.ts";

/** A container that stands on an image. */
export interface ImageUser {
  id: string;
  running: boolean;
  /** What it was created from, as the user wrote it. */
  reference: string;
}

export interface RemoveImageOptions {
  force?: boolean;
  /** Untagged parents stay. */
  noPrune?: boolean;
  /** Containers of an image, running or not. */
  users: (id: Digest) => readonly ImageUser[];
}

const short = (id: string): string => (id.startsWith("sha256:") ? hexOf(id) : id).slice(0, 12);

const conflict = (message: string): GantryError => new GantryError("conflict", `conflict: ${message}`);

/** Is `ref` the id (or a prefix of it) of this image, and not one of its names? */
function isIdOf(image: Image, ref: string): boolean {
  const text = ref.startsWith("sha256:") ? ref : `sha256:${ref}`;
  return image.id.startsWith(text) && nameIn(image, ref) === undefined;
}

/** The canonical name of the image that `ref` means. */
function nameIn(image: Image, ref: string): string | undefined {
  try {
    const name = canonicalString(withDefaultTag(parseReference(ref)));
    return [...image.tags, ...image.digests].find((each) => each === name);
  } catch {
    return undefined;
  }
}

type Checks = { named: boolean; stopped: boolean };

/**
 * Why an image cannot go now, as docker words it; undefined when it can. Children and running containers are
 * in the way even of force.
 */
function obstacle(
  images: ImageStore,
  image: Image,
  users: RemoveImageOptions["users"],
  check: Checks,
): GantryError | undefined {
  const id = short(image.id);
  if (hasChildren(images, image))
    return conflict(`unable to delete ${id} (cannot be forced) - image has dependent child images`);
  const all = users(image.id);
  const running = all.find((user) => user.running);
  if (running !== undefined)
    return conflict(
      `unable to delete ${id} (cannot be forced) - image is being used by running container ${short(running.id)}`,
    );
  if (check.named && image.tags.length + image.digests.length > 0)
    return conflict(`unable to delete ${id} (must be forced) - image is referenced in multiple repositories`);
  const stopped = all.find((user) => !user.running);
  if (check.stopped && stopped !== undefined)
    return conflict(
      `unable to delete ${id} (must be forced) - image is being used by stopped container ${short(stopped.id)}`,
    );
  return undefined;
}

const repositoryName = (reference: string): string => repositoryOf(parseReference(reference));

/** At most one tag, and every digest of the same repository: docker takes that for one name. */
function hasSingleName(image: Image): boolean {
  if (image.tags.length + image.digests.length <= 1) return true;
  if (image.tags.length > 1) return false;
  return new Set([...image.tags, ...image.digests].map(repositoryName)).size === 1;
}

/**
 * `docker rmi`: takes a name away, and with the last name the image, its untagged parents and the layers that
 * nobody else needs. Throws `not-found` and `conflict` in docker's words.
 */
export async function removeImage(
  images: ImageStore,
  ref: string,
  options: RemoveImageOptions,
): Promise<ImageDeleteEntry[]> {
  const { force = false, users } = options;
  const { id } = images.resolve(ref);
  const current = (): Image => images.byId(id) as Image;
  const entries: ImageDeleteEntry[] = [];
  const untag = async (name: string): Promise<void> => {
    await images.untag(id, name);
    entries.push({ Untagged: familiarString(parseReference(name)) });
  };
  const byName = !isIdOf(current(), ref);
  if (byName) {
    const name = nameIn(current(), ref);
    if (name === undefined) throw new GantryError("not-found", `No such image: ${ref}`, { data: { image: ref } });
    const user = users(id)[0];
    if (!force && user !== undefined && hasSingleName(current()))
      throw conflict(
        `unable to remove repository reference ${JSON.stringify(ref)} (must force) - container ${short(user.id)} is using its referenced image ${short(id)}`,
      );
    const wasTag = current().tags.includes(name);
    await untag(name);
    // With the last tag of a repository its digests go, too.
    if (wasTag && !current().tags.some((tag) => repositoryName(tag) === repositoryName(name)))
      for (const digest of current().digests) if (repositoryName(digest) === repositoryName(name)) await untag(digest);
    if (current().tags.length + current().digests.length > 0) return entries;
  } else if (hasSingleName(current())) {
    const why = obstacle(images, current(), users, { named: false, stopped: !force });
    if (why !== undefined) throw why;
    for (const name of [...current().tags, ...current().digests]) await untag(name);
  }
  const why = obstacle(images, current(), users, { named: !force, stopped: !force });
  if (why !== undefined) {
    // The name is gone, as asked; the image stays for what stands on it.
    if (byName && (hasChildren(images, current()) || users(id).length > 0)) return entries;
    throw why;
  }
  for (const name of [...current().tags, ...current().digests]) await untag(name);
  await removeWithParents(images, current(), options, entries);
  return entries;
}

async function removeWithParents(
  images: ImageStore,
  image: Image,
  options: RemoveImageOptions,
  entries: ImageDeleteEntry[],
): Promise<void> {
  const layers = await images.remove(image.id);
  entries.push({ Deleted: image.id });
  for (const layer of layers.toReversed()) entries.push({ Deleted: layer });
  const parent = image.parent === undefined ? undefined : images.byId(image.parent);
  if (options.noPrune === true || parent === undefined || parent.tags.length + parent.digests.length > 0) return;
  if (obstacle(images, parent, options.users, { named: true, stopped: true }) !== undefined) return;
  await removeWithParents(images, parent, options, entries);
}

export interface PruneImagesOptions {
  /** Only those without a name (default), or all that no container uses. */
  danglingOnly: boolean;
  users: RemoveImageOptions["users"];
  /** Further conditions: labels, `until`. */
  wanted: (image: Image) => boolean;
}

/** `docker image prune`. Space is what is freed in layers and content. */
export async function pruneImages(
  images: ImageStore,
  options: PruneImagesOptions,
): Promise<{ deleted: ImageDeleteEntry[]; spaceReclaimed: number }> {
  const deleted: ImageDeleteEntry[] = [];
  const before = images.layers.list().reduce((sum, layer) => sum + layer.size, 0);
  // Children first, so that their parents are free when their turn comes.
  for (let again = true; again;) {
    again = false;
    for (const image of images.list()) {
      if (images.byId(image.id) === undefined || !options.wanted(image)) continue;
      if (options.danglingOnly ? !isDangling(images, image) : hasChildren(images, image)) continue;
      if (options.users(image.id).length > 0) continue;
      for (const name of [...image.tags, ...image.digests]) {
        await images.untag(image.id, name);
        deleted.push({ Untagged: familiarString(parseReference(name)) });
      }
      const layers = await images.remove(image.id);
      deleted.push({ Deleted: image.id }, ...layers.toReversed().map((Deleted) => ({ Deleted })));
      again = true;
    }
  }
  const after = images.layers.list().reduce((sum, layer) => sum + layer.size, 0);
  return { deleted, spaceReclaimed: before - after };
}

import { type Stats, lstatSync, readlinkSync } from "node:fs";
import { basename, normalize, posix } from "node:path";
import type { PathStat } from "#api/docker/container-types.ts";
import { GantryError } from "#base/errors.ts";
import type { IdMapping } from "#base/id-mapping.ts";
import { RootedPaths, partsOf } from "#host/rooted-path.ts";
import { archiveTree } from "./tree-archive.ts";
import { Unpacker } from "./unpack.ts";

/** Go's `os.FileMode` bits (package io/fs), which docker sends. */
const goModes = {
  directory: 2 ** 31,
  symlink: 2 ** 27,
  device: 2 ** 26,
  fifo: 2 ** 25,
  socket: 2 ** 24,
  setuid: 2 ** 23,
  setgid: 2 ** 22,
  character: 2 ** 21,
  sticky: 2 ** 20,
} as const;

function goMode(stats: Stats): number {
  let mode = stats.mode & 0o777;
  if (stats.isDirectory()) mode += goModes.directory;
  if (stats.isSymbolicLink()) mode += goModes.symlink;
  if (stats.isBlockDevice()) mode += goModes.device;
  if (stats.isCharacterDevice()) mode += goModes.device + goModes.character;
  if (stats.isFIFO()) mode += goModes.fifo;
  if (stats.isSocket()) mode += goModes.socket;
  if (stats.mode & 0o4000) mode += goModes.setuid;
  if (stats.mode & 0o2000) mode += goModes.setgid;
  if (stats.mode & 0o1000) mode += goModes.sticky;
  return mode;
}

/** What a copy is about. */
export interface CopyPlace {
  /** The container's root file system as a folder here. */
  rootfs: string;
  /** What the user typed; relative to `/`. */
  path: string;
  /** The container as the user named it, for errors. */
  container: string;
  /** Of the container's user namespace, where it has one: files are seen here with the ids outside. */
  mapping?: IdMapping;
}

interface Found {
  absolute: string;
  stats: Stats;
  /** `/a/.` and `/a/`: what the folder holds is meant, and a link at the end is followed. */
  content: boolean;
}

const notFound = ({ path, container }: CopyPlace, cause?: unknown): GantryError =>
  new GantryError("not-found", `Could not find the file ${path} in container ${container}`, { cause });

function find(place: CopyPlace, follow = false): Found {
  const { rootfs, path } = place;
  const inside = posix.join("/", path);
  const content = /(^|\/)\.?$/.test(path);
  const paths = new RootedPaths(rootfs);
  let absolute: string;
  let stats: Stats;
  try {
    const parts = partsOf(inside);
    absolute = content || follow ? paths.resolve(parts) : paths.locate(parts, false);
    stats = lstatSync(absolute);
  } catch (error) {
    throw notFound(place, error);
  }
  if (/\/\.?$/.test(path) && !stats.isDirectory()) throw new GantryError("internal", `lstat ${path}: not a directory`);
  return { absolute, stats, content };
}

/** RFC 3339 in UTC with as many digits of a second as there are, as Go prints times. */
function goTime(stats: Stats): string {
  return new Date(stats.mtimeMs).toISOString().replace(/\.?0*Z$/, "Z");
}

function statOf(place: CopyPlace, { absolute, stats }: Found): PathStat {
  const inside = posix.join("/", place.path);
  let linkTarget = "";
  if (stats.isSymbolicLink()) {
    const target = readlinkSync(absolute);
    // As a path inside the container, whether it exists or not.
    const folder = `/${absolute.slice(place.rootfs.length)}`;
    linkTarget = target.startsWith("/") ? normalize(target) : posix.join("/", posix.dirname(folder), target);
  }
  const name = basename(place.path.endsWith("/.") ? place.path : inside) || "/";
  return { name, size: stats.size, mode: goMode(stats), mtime: goTime(stats), linkTarget };
}

/** `HEAD /containers/{id}/archive`. Throws `not-found` in docker's words. */
export function copyStat(place: CopyPlace): PathStat {
  return statOf(place, find(place));
}

/**
 * `docker cp` out: the tar holds the file or folder under its own name, or, for `/a/.`, what the folder holds
 * under `./`. Links are not followed but on the way there.
 */
export function copyOut(
  place: CopyPlace,
  options: { blocking?: boolean } = {},
): { stat: PathStat; tar: AsyncGenerator<Buffer> } {
  const found = find(place);
  const stat = statOf(place, found);
  const rootName = place.path.endsWith("/.") || place.path === "." ? "." : stat.name;
  return { stat, tar: archiveTree(found.absolute, { kind: "plain", rootName, ...options, ...mappingOf(place) }) };
}

const mappingOf = ({ mapping }: { mapping?: IdMapping | undefined }): { mapping?: IdMapping } =>
  mapping === undefined ? {} : { mapping };

export interface CopyInOptions {
  /** A folder never replaces a file, nor a file a folder. */
  noOverwriteDirNonDir?: boolean;
  /** `docker cp -a` without a named user: everything belongs to this one. */
  owner?: { uid: number; gid: number };
}

/**
 * `docker cp` in: unpacks an archive into an existing folder of the container, links followed inside its root
 * only. Throws `not-found`, `invalid` in docker's words.
 */
export async function copyIn(
  place: CopyPlace,
  tar: AsyncIterable<Uint8Array>,
  options: CopyInOptions = {},
): Promise<void> {
  const { absolute, stats } = find(place, true);
  if (!stats.isDirectory()) throw new GantryError("invalid", "extraction point is not a directory");
  const base = absolute
    .slice(place.rootfs.length)
    .split("/")
    .filter((part) => part !== "");
  const unpacker = new Unpacker({
    target: place.rootfs,
    kind: "archive",
    base,
    ...(options.noOverwriteDirNonDir ? { keepKinds: true } : {}),
    ...(options.owner === undefined ? {} : { owner: options.owner }),
    ...mappingOf(place),
  });
  try {
    for await (const chunk of tar) unpacker.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    unpacker.finish();
  } finally {
    unpacker.close();
  }
}

/** The whole file system of a container as a tar archive (`docker export`), names relative to its root. */
export function exportTree(rootfs: string, mapping?: IdMapping): AsyncGenerator<Buffer> {
  return archiveTree(rootfs, { kind: "plain", ...mappingOf({ mapping }) });
}

import { type BigIntStats, lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { FilesystemChange } from "#api/docker/container-types.ts";
import { getXattr } from "#host/file-metadata.ts";
import { isWhiteout, opaqueXattr } from "./whiteout.ts";

const modified = 0;
const added = 1;
const deleted = 2;

const statOf = (path: string): BigIntStats | undefined => {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    // A file in an upper layer where a lower one has a folder.
    if ((error as NodeJS.ErrnoException).code === "ENOTDIR") return undefined;
    throw error;
  }
};

const isOpaque = (path: string): boolean => getXattr(path, opaqueXattr)?.toString() === "y";

/** A folder as a stack of layers shows it: what each name is, from the top down. */
class LowerFolder {
  /** Folders of the layers that are seen, from the top down. */
  readonly #folders: readonly string[];

  constructor(folders: readonly string[]) {
    this.#folders = folders;
  }

  stat(name: string): BigIntStats | undefined {
    for (const folder of this.#folders) {
      const stats = statOf(join(folder, name));
      if (stats !== undefined) return isWhiteout(stats) ? undefined : stats;
    }
    return undefined;
  }

  names(): string[] {
    const seen = new Map<string, boolean>();
    for (const folder of this.#folders)
      for (const name of readdirSync(folder)) {
        if (seen.has(name)) continue;
        const stats = statOf(join(folder, name));
        seen.set(name, stats !== undefined && !isWhiteout(stats));
      }
    return [...seen].filter(([, there]) => there).map(([name]) => name);
  }

  below(name: string): LowerFolder {
    const folders: string[] = [];
    for (const folder of this.#folders) {
      const path = join(folder, name);
      const stats = statOf(path);
      if (stats === undefined) continue;
      if (!stats.isDirectory()) break;
      folders.push(path);
      if (isOpaque(path)) break;
    }
    return new LowerFolder(folders);
  }
}

const sameFolder = (a: BigIntStats, b: BigIntStats): boolean =>
  a.mode === b.mode && a.uid === b.uid && a.gid === b.gid && a.mtimeNs === b.mtimeNs;

/**
 * What a container changed (`docker diff`): its writable layer against the layers below, `lower` from the top
 * down. In the order of paths; a folder that holds a change is a change itself, as docker shows it.
 */
export function overlayChanges(upper: string, lower: readonly string[]): FilesystemChange[] {
  const changes: FilesystemChange[] = [];
  const walk = (folder: string, path: string, below: LowerFolder, opaque: boolean): boolean => {
    let any = false;
    const here = readdirSync(folder);
    const gone = opaque ? below.names().filter((name) => !here.includes(name)) : [];
    for (const name of [...here, ...gone].sort()) {
      const at = `${path}/${name}`;
      const stats = statOf(join(folder, name));
      const before = below.stat(name);
      if (stats === undefined || isWhiteout(stats)) {
        if (before === undefined) continue;
        changes.push({ Path: at, Kind: deleted });
        any = true;
        continue;
      }
      if (!stats.isDirectory()) {
        changes.push({ Path: at, Kind: before === undefined ? added : modified });
        any = true;
        continue;
      }
      const place = changes.length;
      const wasFolder = before?.isDirectory() ?? false;
      const inner = wasFolder ? below.below(name) : new LowerFolder([]);
      const changedBelow = walk(join(folder, name), at, inner, opaque || isOpaque(join(folder, name)));
      if (before !== undefined && wasFolder && !changedBelow && sameFolder(stats, before)) continue;
      changes.splice(place, 0, { Path: at, Kind: before === undefined ? added : modified });
      any = true;
    }
    return any;
  };
  walk(upper, "", new LowerFolder(lower), false);
  return changes;
}

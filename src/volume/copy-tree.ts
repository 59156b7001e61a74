import { type Stats, constants } from "node:fs";
import { chmod, copyFile, lchown, link, lstat, lutimes, mkdir, readdir, readlink, symlink } from "node:fs/promises";
import { join } from "node:path";
import { getXattr, listXattrs, makeNode, setXattr } from "#host/file-metadata.ts";

function copyXattrs(from: string, to: string): void {
  for (const name of listXattrs(from)) {
    // overlayfs' own marks mean nothing outside its layers.
    if (name.startsWith("trusted.overlay.")) continue;
    const value = getXattr(from, name);
    if (value !== undefined) setXattr(to, name, value);
  }
}

async function copyMetadata(from: string, to: string, stats: Stats): Promise<void> {
  await lchown(to, stats.uid, stats.gid);
  if (!stats.isSymbolicLink()) await chmod(to, stats.mode & 0o7777);
  copyXattrs(from, to);
  await lutimes(to, stats.atimeMs / 1000, stats.mtimeMs / 1000);
}

/**
 * Copies what is in one folder into another, existing one, with owners, modes, times, extended attributes,
 * links, devices and fifos, and gives the target the source's own metadata. Sockets are left out, as they
 * belong to a process. Never follows a symbolic link.
 */
export async function copyTree(from: string, to: string): Promise<void> {
  const copied = new Map<string, string>();
  const copyOne = async (source: string, target: string): Promise<void> => {
    const stats = await lstat(source);
    if (stats.isSocket()) return;
    const key = `${stats.dev}:${stats.ino}`;
    const twin = stats.nlink > 1 && !stats.isDirectory() ? copied.get(key) : undefined;
    if (twin !== undefined) {
      await link(twin, target);
      return;
    }
    if (stats.isDirectory()) {
      await mkdir(target);
      await copyFolder(source, target, stats);
      return;
    }
    if (stats.isFile()) await copyFile(source, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    else if (stats.isSymbolicLink()) await symlink(await readlink(source), target);
    else makeNode(target, stats.mode, BigInt(stats.rdev));
    if (stats.nlink > 1) copied.set(key, target);
    await copyMetadata(source, target, stats);
  };
  const copyFolder = async (source: string, target: string, stats: Stats): Promise<void> => {
    for (const name of await readdir(source)) await copyOne(join(source, name), join(target, name));
    await copyMetadata(source, target, stats);
  };
  await copyFolder(from, to, await lstat(from));
}

/** Bytes that a folder's files take on disk, hard links counted once. 0 for a folder that is gone. */
export async function treeSize(folder: string): Promise<number> {
  const seen = new Set<string>();
  const walk = async (at: string): Promise<number> => {
    let sum = 0;
    for (const entry of await readdir(at, { withFileTypes: true }).catch(() => [])) {
      const path = join(at, entry.name);
      if (entry.isDirectory()) {
        sum += await walk(path);
      } else if (entry.isFile() || entry.isSymbolicLink()) {
        const stats = await lstat(path).catch(() => undefined);
        if (stats === undefined) continue;
        const key = `${stats.dev}:${stats.ino}`;
        if (stats.nlink > 1 && seen.has(key)) continue;
        seen.add(key);
        sum += stats.size;
      }
    }
    return sum;
  };
  return walk(folder);
}

import {
  chmod,
  chown,
  lstat,
  mkdir,
  readFile,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { GantryError } from "#base/errors.ts";
import { randomHex } from "#base/ids.ts";

export interface ProjectedFile {
  data: Uint8Array;
  mode: number;
  uid?: number;
}

/** Relative paths without `..`; subfolders allowed. */
export type ProjectedFiles = ReadonlyMap<string, ProjectedFile>;

const dataName = "..data";

/** Throws `invalid` for a path that would leave the volume. */
export function checkProjectedPath(path: string): void {
  const bad = path === "" || path.startsWith("/") || path.split("/").includes("..") || path.startsWith("..");
  if (bad) throw new GantryError("invalid", `invalid path "${path}" in a projected volume`);
}

/**
 * Makes `target` show exactly `files`, all at once: they are written into a fresh folder, and the link
 * `..data` is swapped to it. Readers see the old set or the new one, never a mixture (kubelet, AtomicWriter).
 * Returns false when nothing had to change.
 */
export async function writeAtomically(target: string, files: ProjectedFiles, gid?: number): Promise<boolean> {
  for (const path of files.keys()) checkProjectedPath(path);
  const current = await readlink(join(target, dataName)).catch(() => undefined);
  if (current !== undefined && (await sameFiles(join(target, current), files, gid))) {
    await linkTopLevel(target, files);
    return false;
  }
  const stamp = new Date()
    .toISOString()
    .replace(/[-:TZ]/g, "_")
    .replace(".", ".");
  const fresh = `..${stamp}${randomHex(4)}`;
  const folder = join(target, fresh);
  const folderMode = gid === undefined ? 0o755 : 0o2775;
  await makeFolder(folder, folderMode, gid);
  for (const [path, file] of files) {
    const full = join(folder, path);
    await makeParents(folder, path, folderMode, gid);
    await writeFile(full, file.data, { mode: 0o600 });
    await chown(full, file.uid ?? 0, gid ?? 0);
    await chmod(full, gid === undefined ? file.mode : file.mode | 0o440);
  }
  const temporary = join(target, "..data_tmp");
  await rm(temporary, { force: true });
  await symlink(fresh, temporary);
  await rename(temporary, join(target, dataName));
  await linkTopLevel(target, files);
  await removeStale(target, fresh, files);
  return true;
}

async function makeFolder(path: string, mode: number, gid: number | undefined): Promise<void> {
  await mkdir(path, { recursive: true });
  if (gid !== undefined) await chown(path, 0, gid);
  await chmod(path, mode);
}

async function makeParents(folder: string, path: string, mode: number, gid: number | undefined): Promise<void> {
  let at = folder;
  for (const part of dirname(path).split("/")) {
    if (part === ".") continue;
    at = join(at, part);
    await makeFolder(at, mode, gid);
  }
}

async function linkTopLevel(target: string, files: ProjectedFiles): Promise<void> {
  for (const name of topLevel(files)) {
    const link = join(target, name);
    const wanted = join(dataName, name);
    if ((await readlink(link).catch(() => undefined)) !== wanted) {
      await rm(link, { recursive: true, force: true });
      await symlink(wanted, link);
    }
  }
}

async function removeStale(target: string, fresh: string, files: ProjectedFiles): Promise<void> {
  const keep = new Set([dataName, fresh, ...topLevel(files)]);
  for (const entry of await readdir(target)) {
    if (!keep.has(entry)) await rm(join(target, entry), { recursive: true, force: true });
  }
}

function topLevel(files: ProjectedFiles): Set<string> {
  return new Set([...files.keys()].map((path) => path.split("/")[0] as string));
}

async function sameFiles(folder: string, files: ProjectedFiles, gid: number | undefined): Promise<boolean> {
  const found: string[] = [];
  const walk = async (relative: string): Promise<void> => {
    for (const entry of await readdir(join(folder, relative), { withFileTypes: true })) {
      const path = relative === "" ? entry.name : `${relative}/${entry.name}`;
      if (entry.isDirectory()) await walk(path);
      else found.push(path);
    }
  };
  try {
    await walk("");
  } catch {
    return false;
  }
  if (found.length !== files.size) return false;
  for (const [path, file] of files) {
    if (!found.includes(path)) return false;
    const full = join(folder, path);
    const stat = await lstat(full);
    const mode = gid === undefined ? file.mode : file.mode | 0o440;
    if ((stat.mode & 0o7777) !== mode) return false;
    if (Buffer.compare(await readFile(full), file.data) !== 0) return false;
  }
  return true;
}

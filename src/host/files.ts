import { randomBytes } from "node:crypto";
import { closeSync, fchmodSync, fchownSync, fsyncSync, openSync, readFileSync, renameSync, unlinkSync, writeSync } from "node:fs";
import { open, readFile, rename, rm, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { GantryError } from "#base/errors.ts";

export interface WriteOptions {
  /** Default 0o644. */
  mode?: number;
  owner?: { uid: number; gid: number };
  /** False leaves out both fsyncs, for what need not outlive a power cut (run directory). Default true. */
  durable?: boolean;
}

function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
}

/** Makes a folder's entries durable. */
export function fsyncFolderSync(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Makes a folder's entries durable. */
export async function fsyncFolder(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Replaces a file's content so that a reader, or a crash at any point, sees the old or the new one in full:
 * temporary name, fsync, rename, fsync of the folder.
 */
export async function writeFileAtomic(path: string, content: string | Uint8Array, options: WriteOptions = {}): Promise<void> {
  const temporary = temporaryName(path);
  const durable = options.durable ?? true;
  const handle = await open(temporary, "wx", options.mode ?? 0o644);
  try {
    await handle.writeFile(content);
    await handle.chmod(options.mode ?? 0o644);
    if (options.owner !== undefined) await handle.chown(options.owner.uid, options.owner.gid);
    if (durable) await handle.sync();
  } catch (error) {
    await handle.close();
    await unlink(temporary).catch(() => {});
    throw error;
  }
  await handle.close();
  try {
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  }
  if (durable) await fsyncFolder(dirname(path));
}

/** `writeFileAtomic` in one go, for start-up and for small files in the run directory. */
export function writeFileAtomicSync(path: string, content: string | Uint8Array, options: WriteOptions = {}): void {
  const temporary = temporaryName(path);
  const durable = options.durable ?? true;
  const fd = openSync(temporary, "wx", options.mode ?? 0o644);
  try {
    const bytes = typeof content === "string" ? Buffer.from(content) : content;
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    fchmodSync(fd, options.mode ?? 0o644);
    if (options.owner !== undefined) fchownSync(fd, options.owner.uid, options.owner.gid);
    if (durable) fsyncSync(fd);
    renameSync(temporary, path);
  } catch (error) {
    closeSync(fd);
    try {
      unlinkSync(temporary);
    } catch {
      // It was renamed, or never there.
    }
    throw error;
  }
  closeSync(fd);
  if (durable) fsyncFolderSync(dirname(path));
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new GantryError("invalid", `${path} is not JSON: ${(error as Error).message}`, { data: { path } });
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

/** A file's JSON; undefined when there is no such file. Throws `invalid`, naming the file, for what is no JSON. */
export async function readJson(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  return parseJson(path, text);
}

/** `readJson` in one go. */
export function readJsonSync(path: string): unknown {
  const text = readTextSync(path);
  return text === undefined ? undefined : parseJson(path, text);
}

/** A file's text, or undefined when there is no such file. */
export function readTextSync(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/**
 * Removes a folder with all that is in it, or a file. Symbolic links are removed, never followed. What is not
 * there is no error. Mounts below make it fail with `EBUSY`: unmount first (`unmountBelow`).
 */
export async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 0 });
}

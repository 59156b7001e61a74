import {
  closeSync,
  constants,
  fsync,
  fsyncSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { GantryError, errorMessage } from "#base/errors.ts";

const syncDescriptor = promisify(fsync);

let counter = 0;
/** A name beside `path` that no other writer uses. */
const besides = (path: string): string => `${path}.tmp-${process.pid}-${++counter}`;

/**
 * Writes a file so that a crash leaves either the old or the new content: a temporary file beside it, fsync,
 * rename. With `sync: false` the disk may take its time (files that can be made again).
 */
export function writeFileAtomicSync(
  path: string,
  data: string | Uint8Array,
  options: { mode?: number; sync?: boolean } = {},
): void {
  const temporary = besides(path);
  try {
    const fd = openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, options.mode ?? 0o644);
    try {
      writeFileSync(fd, data);
      if (options.sync !== false) fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  if (options.sync !== false) syncFolder(dirname(path));
}

/**
 * The same for small files, without holding up the event loop for the disk: only fsync waits for that. The other
 * calls are done at once, as handing each to another thread and back takes several times as long.
 */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array,
  options: { mode?: number; sync?: boolean } = {},
): Promise<void> {
  const temporary = besides(path);
  try {
    const fd = openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, options.mode ?? 0o644);
    try {
      writeFileSync(fd, data);
      if (options.sync !== false) await syncDescriptor(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** What is taken away without asking another thread, at most. */
const fewFiles = { entries: 32, bytes: 4 << 20 };

function isSmall(folder: string, left: { entries: number; bytes: number }): boolean {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    left.entries--;
    if (entry.isFile()) left.bytes -= lstatSync(path).size;
    if (left.entries < 0 || left.bytes < 0) return false;
    if (entry.isDirectory() && !isSmall(path, left)) return false;
  }
  return true;
}

/**
 * Takes a folder and what is in it away; quiet when it is not there. A small one goes at once, as each step in
 * another thread and back costs several times the step itself.
 */
export async function removeFolder(path: string): Promise<void> {
  let small = false;
  try {
    small = isSmall(path, { ...fewFiles });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
  }
  if (small) rmSync(path, { recursive: true, force: true });
  else await rm(path, { recursive: true, force: true });
}

/** Makes a rename or a creation in a folder durable. */
export function syncFolder(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** A JSON file's value, or undefined when there is none. Throws `internal` when it is damaged. */
export async function readJson<T>(path: string): Promise<T | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new GantryError("internal", `${path} is damaged: ${errorMessage(cause)}.`, { cause });
  }
}

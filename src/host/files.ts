import {
  closeSync,
  constants,
  existsSync,
  fsync,
  fsyncSync,
  open,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFile as writeFileTo,
  writeFileSync,
} from "node:fs";
import { readFile, rename, rm, rmdir, unlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { GantryError, errorMessage } from "#base/errors.ts";
import { diskSteps } from "./disk-pace.ts";

const syncDescriptor = promisify(fsync);
const openDescriptor = promisify(open);
const writeDescriptor = promisify(writeFileTo);

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

/** The same for small files, without holding up the event loop for a disk that is busy. */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array,
  options: { mode?: number; sync?: boolean } = {},
): Promise<void> {
  const temporary = besides(path);
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
  const mode = options.mode ?? 0o644;
  let fd = -1;
  try {
    try {
      await diskSteps(
        () => {
          fd = openSync(temporary, flags, mode);
          writeFileSync(fd, data);
        },
        async () => {
          fd = await openDescriptor(temporary, flags, mode);
          await writeDescriptor(fd, data);
        },
      );
      if (options.sync !== false) await syncDescriptor(fd);
    } finally {
      if (fd >= 0) closeSync(fd);
    }
    await diskSteps(
      () => renameSync(temporary, path),
      () => rename(temporary, path),
    );
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** Writes small files one after the other, as `writeFileAtomic` does but in place. */
export async function writeFiles(files: readonly { path: string; text: string; mode?: number }[]): Promise<void> {
  await diskSteps(
    () => {
      for (const { path, text, mode } of files) writeFileSync(path, text, { mode });
    },
    async () => {
      await Promise.all(files.map(({ path, text, mode }) => writeFile(path, text, { mode })));
    },
  );
}

/** A folder with more than so many entries is left to Node's `rm`. */
const fewEntries = 32;

/**
 * Takes a folder and what is in it away; quiet when it is not there. For folders of few files it asks other threads for
 * a third of the steps that `rm` does, each of which costs more than the step itself.
 */
export async function removeFolder(path: string): Promise<void> {
  try {
    if ((await removeFew(path, { left: fewEntries })) === true) return;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" && !existsSync(path)) return;
  }
  await rm(path, { recursive: true, force: true });
}

async function removeFew(folder: string, budget: { left: number }): Promise<boolean> {
  const entries = readdirSync(folder, { withFileTypes: true });
  budget.left -= entries.length;
  if (budget.left < 0) return false;
  const done = await Promise.all(
    entries.map((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? removeFew(path, budget) : unlink(path).then(() => true);
    }),
  );
  if (done.includes(false)) return false;
  await rmdir(folder);
  return true;
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

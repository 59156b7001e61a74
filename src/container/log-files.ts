import { type FileHandle, open, stat } from "node:fs/promises";
import type { LogPlan } from "#api/container-runtime.ts";

const chunkBytes = 1 << 18;
const newline = 0x0a;

async function inodeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ ino }) => ino,
    () => undefined,
  );
}

/** The files of a log, oldest first: rotation renames `path` to `path.1`, `path.1` to `path.2`… */
async function pathsOf(log: LogPlan): Promise<string[]> {
  const out = [log.path];
  for (let number = 1; number < Math.max(1, log.maxFiles); number++) {
    const path = `${log.path}.${number}`;
    if ((await inodeOf(path)) === undefined) break;
    out.unshift(path);
  }
  return out;
}

/** Opens all files of a log, oldest first. A rotation in the middle would skip or repeat one: then once more. */
export async function openLogFiles(log: LogPlan): Promise<FileHandle[]> {
  for (;;) {
    const before = await inodeOf(log.path);
    const files: FileHandle[] = [];
    for (const path of await pathsOf(log)) {
      const file = await open(path, "r").catch(() => undefined);
      if (file !== undefined) files.push(file);
    }
    if (before === (await inodeOf(log.path))) return files;
    await Promise.all(files.map((file) => file.close()));
  }
}

/**
 * The file that follows one in time, or undefined while that one is still written to. A new file has its name only
 * once conmon writes to it, so nothing more comes into the one before.
 */
export async function openNextFile(log: LogPlan, current: FileHandle): Promise<FileHandle | undefined> {
  const own = (await current.stat()).ino;
  const newest = await inodeOf(log.path);
  if (newest === undefined || newest === own) return undefined;
  const files = await openLogFiles(log);
  const inodes = await Promise.all(files.map(async (file) => (await file.stat()).ino));
  // When the own one was removed meanwhile, the oldest that is left is next.
  const next = files[inodes.indexOf(own) + 1];
  await Promise.all(files.filter((file) => file !== next).map((file) => file.close()));
  return next;
}

/** Where the last `lines` whole lines of a file begin, and how many there were. */
async function tailOffset(file: FileHandle, size: number, lines: number): Promise<{ offset: number; found: number }> {
  const buffer = Buffer.alloc(Math.min(chunkBytes, Math.max(1, size)));
  let found = 0;
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - buffer.length);
    await file.read(buffer, 0, end - start, start);
    for (
      let at = buffer.lastIndexOf(newline, end - start - 1);
      at >= 0;
      at = at === 0 ? -1 : buffer.lastIndexOf(newline, at - 1)
    ) {
      if (start + at === size - 1) continue;
      found++;
      if (found === lines) return { offset: start + at + 1, found };
    }
    end = start;
  }
  return { offset: 0, found: size > 0 ? found + 1 : 0 };
}

/** For each file, oldest first, where the last `tail` lines of all begin. Undefined: nothing of it is wanted. */
export async function offsetsOfTail(files: readonly FileHandle[], tail: number): Promise<(number | undefined)[]> {
  const offsets: (number | undefined)[] = files.map(() => undefined);
  let left = tail;
  for (let index = files.length - 1; index >= 0 && left > 0; index--) {
    const file = files[index] as FileHandle;
    const { offset, found } = await tailOffset(file, (await file.stat()).size, left);
    offsets[index] = offset;
    left -= found;
  }
  return offsets;
}

/** Reads whole lines from a file, from an offset to its present end. */
export class LineReader {
  readonly #file: FileHandle;
  #offset: number;
  #rest: Buffer = Buffer.alloc(0);

  constructor(file: FileHandle, offset: number) {
    this.#file = file;
    this.#offset = offset;
  }

  /** The next lines that are there now, newlines included, none of them read before; none at the end. */
  async next(): Promise<Buffer[]> {
    for (;;) {
      const buffer = Buffer.allocUnsafeSlow(chunkBytes);
      const { bytesRead } = await this.#file.read(buffer, 0, chunkBytes, this.#offset);
      if (bytesRead === 0) return [];
      this.#offset += bytesRead;
      const read = buffer.subarray(0, bytesRead);
      const data = this.#rest.length === 0 ? read : Buffer.concat([this.#rest, read]);
      const lines: Buffer[] = [];
      let start = 0;
      for (let end = data.indexOf(newline); end >= 0; end = data.indexOf(newline, start)) {
        lines.push(data.subarray(start, end + 1));
        start = end + 1;
      }
      this.#rest = data.subarray(start);
      if (lines.length > 0) return lines;
    }
  }
}

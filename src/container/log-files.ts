import { type FileHandle, open, rm, stat } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { constants, createGunzip, gunzipSync } from "node:zlib";
import type { LogPlan } from "#api/container-runtime.ts";

const chunkBytes = 1 << 18;
const newline = 0x0a;
/** As much of a file's first line as tells it from another: conmon stamps each with nanoseconds. */
const headBytes = 64;
/** Rotations in a row that keep us from seeing all files at one time. */
const maxTries = 20;

async function inodeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ ino }) => ino,
    () => undefined,
  );
}

/** One file of a log, held open: it can be read although it is renamed, compressed or removed meanwhile. */
export class LogFile {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #isCompressed: boolean;
  #plain: FileHandle | undefined;

  private constructor(path: string, file: FileHandle, isCompressed: boolean) {
    this.#path = path;
    this.#file = file;
    this.#isCompressed = isCompressed;
  }

  static async open(path: string): Promise<LogFile> {
    return new LogFile(path, await open(path, "r"), path.endsWith(".gz"));
  }

  async inode(): Promise<number> {
    return (await this.#file.stat()).ino;
  }

  async size(): Promise<number> {
    return (await (await this.plain()).stat()).size;
  }

  /** The first bytes of the first line; empty when they cannot be read. */
  async head(): Promise<string> {
    const start = Buffer.alloc(this.#isCompressed ? 4096 : headBytes);
    const { bytesRead } = await this.#file.read(start, 0, start.length, 0);
    const read = start.subarray(0, bytesRead);
    if (!this.#isCompressed) return read.toString("latin1");
    try {
      const plain = gunzipSync(read, { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: 64 << 20 });
      return plain.toString("latin1", 0, headBytes);
    } catch {
      return "";
    }
  }

  /** Its lines. A compressed one is written out, once and only when asked for, to a file that has no name. */
  async plain(): Promise<FileHandle> {
    if (!this.#isCompressed) return this.#file;
    this.#plain ??= await this.#decompress();
    return this.#plain;
  }

  async #decompress(): Promise<FileHandle> {
    const path = `${this.#path}.${randomBytes(6).toString("hex")}`;
    const target = await open(path, "wx+", 0o600);
    await rm(path, { force: true });
    try {
      await pipeline(
        createReadStream("", { fd: this.#file, start: 0, autoClose: false, highWaterMark: chunkBytes }),
        createGunzip({ chunkSize: chunkBytes }),
        async (plain: AsyncIterable<Buffer>) => {
          for await (const chunk of plain) await target.appendFile(chunk);
        },
      );
      return target;
    } catch (error) {
      await target.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#plain?.close();
    await this.#file.close();
  }
}

/** A rotated file, compressed or not; undefined when there is none of that number. */
async function openRotated(path: string): Promise<LogFile | undefined> {
  for (const name of [path, `${path}.gz`]) {
    const file = await LogFile.open(name).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
    if (file !== undefined) return file;
  }
  return undefined;
}

/**
 * Opens all files of a log, oldest first: rotation renames `path` to `path.1`, `path.1` to `path.2`…, and may compress
 * them. A rotation in the middle would skip or repeat one: then once more.
 */
export async function openLogFiles(log: LogPlan): Promise<LogFile[]> {
  for (let tries = 0; ; tries++) {
    const before = await inodeOf(log.path);
    const files: LogFile[] = [];
    const newest = await openRotated(log.path);
    if (newest !== undefined) files.push(newest);
    for (let number = 1; number < Math.max(1, log.maxFiles); number++) {
      const file = await openRotated(`${log.path}.${number}`);
      if (file === undefined) break;
      files.unshift(file);
    }
    if (before === (await inodeOf(log.path)) || tries === maxTries) return files;
    await closeAll(files);
  }
}

export async function closeAll(files: readonly LogFile[]): Promise<void> {
  await Promise.all(files.map((file) => file.close()));
}

/** Which of the files holds what `wanted` does; -1 for none. Compressing makes another file of the same lines. */
async function placeOf(files: readonly LogFile[], wanted: LogFile): Promise<number> {
  const own = await wanted.inode();
  const inodes = await Promise.all(files.map((file) => file.inode()));
  const same = inodes.indexOf(own);
  if (same >= 0) return same;
  const head = await wanted.head();
  for (let at = files.length - 1; at >= 0; at--)
    if (head !== "" && (await (files[at] as LogFile).head()) === head) return at;
  return -1;
}

/**
 * The file that follows one in time, or undefined while that one is still written to. A new file has its name only
 * once conmon writes to it, so nothing more comes into the one before.
 */
export async function openNextFile(log: LogPlan, current: LogFile): Promise<LogFile | undefined> {
  const newest = await inodeOf(log.path);
  if (newest === undefined || newest === (await current.inode())) return undefined;
  const files = await openLogFiles(log);
  // When the own one was removed meanwhile, the oldest that is left is next.
  const next = files[(await placeOf(files, current)) + 1];
  await closeAll(files.filter((file) => file !== next));
  return next;
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

/** A file's whole lines from its last to its first, each with where it begins. */
export async function* linesBackward(file: LogFile): AsyncGenerator<{ offset: number; line: Buffer }> {
  const handle = await file.plain();
  const { size } = await handle.stat();
  /** What was read of the line that goes on before `end`. */
  let rest: Buffer = Buffer.alloc(0);
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - chunkBytes);
    const read = Buffer.allocUnsafeSlow(end - start);
    const { bytesRead } = await handle.read(read, 0, read.length, start);
    if (bytesRead < read.length) return;
    const data = rest.length === 0 ? read : Buffer.concat([read, rest]);
    let lineEnd = data.lastIndexOf(newline);
    for (let before = lineEnd; lineEnd >= 0; lineEnd = before) {
      before = lineEnd === 0 ? -1 : data.lastIndexOf(newline, lineEnd - 1);
      if (before < 0) break;
      yield { offset: start + before + 1, line: data.subarray(before + 1, lineEnd + 1) };
    }
    rest = lineEnd < 0 ? data : data.subarray(0, lineEnd + 1);
    end = start;
  }
  if (rest.length > 0 && rest[rest.length - 1] === newline) yield { offset: 0, line: rest };
}

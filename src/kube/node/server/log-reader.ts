import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { type FSWatcher, watch } from "node:fs";
import { basename, dirname, join } from "node:path";
import { createGunzip } from "node:zlib";
import { parseCriLine } from "./cri-log.ts";

export interface LogOptions {
  follow: boolean;
  timestamps: boolean;
  /** The last so many lines; undefined: all. */
  tailLines?: number;
  limitBytes?: number;
  /** Milliseconds since the epoch: older lines are left out. */
  since?: number;
  stream?: "All" | "Stdout" | "Stderr";
}

const blockSize = 64 * 1024;
const newline = 0x0a;

/** Takes what is shown; a promise means: wait. */
export type LogSink = (chunk: Uint8Array) => Promise<void> | undefined;

/**
 * Writes a container's log to `sink`, rotated files included, oldest first. With `follow` it goes on until
 * the container has stopped (`isRunning` says no and everything was read) or the signal aborts.
 */
export async function readLog(
  path: string,
  options: LogOptions,
  sink: LogSink,
  isRunning: () => Promise<boolean>,
  signal: AbortSignal,
): Promise<void> {
  const writer = new LineWriter(options, sink);
  if (options.tailLines === 0 && !options.follow) return;
  const file = await open(path, "r");
  let at = 0;
  try {
    if (options.tailLines === undefined) {
      for (const older of await rotatedFiles(path)) {
        if (!(await readWhole(older, writer, signal))) return;
      }
    } else at = await tailOffset(file, options.tailLines);
    const follower = new Follower(path, file, at, writer, isRunning, signal);
    await (options.follow ? follower.follow() : follower.drain());
  } finally {
    await file.close().catch(() => {});
  }
}

/** `0.log.20260101-101112` and its compressed form, oldest first. */
async function rotatedFiles(path: string): Promise<string[]> {
  const prefix = `${basename(path)}.`;
  const names = await readdir(dirname(path)).catch(() => []);
  return names
    .filter((name) => name.startsWith(prefix) && /^\d{8}-\d{6}(\.gz)?$/.test(name.slice(prefix.length)))
    .sort()
    .map((name) => join(dirname(path), name));
}

/** False when enough was written. */
async function readWhole(path: string, writer: LineWriter, signal: AbortSignal): Promise<boolean> {
  const file = await open(path, "r").catch(() => undefined);
  if (file === undefined) return true;
  const source = file.createReadStream();
  const chunks: AsyncIterable<Buffer> = path.endsWith(".gz") ? source.pipe(createGunzip()) : source;
  try {
    for await (const chunk of chunks) if (signal.aborted || !(await writer.push(chunk))) return false;
    return true;
  } finally {
    source.destroy();
  }
}

/** Where the last `lines` log lines begin. Partial lines belong to the complete one that ends them. */
async function tailOffset(file: FileHandle, lines: number): Promise<number> {
  const { size } = await file.stat();
  if (lines === 0) return size;
  let found = 0;
  /** Where the line after the one that is looked at begins. */
  let next = size;
  for (let end = size; end > 0;) {
    const from = Math.max(0, end - blockSize);
    const block = Buffer.alloc(end - from);
    await file.read(block, 0, block.length, from);
    for (let at = block.length - 1; at >= -1; at--) {
      const isStart = at === -1 ? from === 0 : block[at] === newline;
      const start = from + at + 1;
      if (!isStart || start >= size) continue;
      if (await endsLine(file, start)) {
        found++;
        if (found > lines) return next;
      }
      next = start;
    }
    end = from;
  }
  return 0;
}

/** True when the physical line at `start` is the last part of a log line. */
async function endsLine(file: FileHandle, start: number): Promise<boolean> {
  const head = Buffer.alloc(80);
  const { bytesRead } = await file.read(head, 0, head.length, start);
  return parseCriLine(head.subarray(0, bytesRead))?.complete !== false;
}

/** Turns log bytes into what is shown. */
class LineWriter {
  readonly #options: LogOptions;
  readonly #sink: LogSink;
  #rest = Buffer.alloc(0);
  #left: number;
  #midLine = false;

  constructor(options: LogOptions, sink: LogSink) {
    this.#options = options;
    this.#sink = sink;
    this.#left = options.limitBytes ?? Number.POSITIVE_INFINITY;
  }

  /** False when enough was written. */
  async push(chunk: Buffer): Promise<boolean> {
    const data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const out: Buffer[] = [];
    let start = 0;
    for (let end = data.indexOf(newline); end >= 0; end = data.indexOf(newline, start)) {
      this.#line(data.subarray(start, end), out);
      start = end + 1;
    }
    this.#rest = Buffer.from(data.subarray(start));
    if (out.length === 0) return this.#left > 0;
    let shown = Buffer.concat(out);
    if (shown.length > this.#left) shown = shown.subarray(0, this.#left);
    this.#left -= shown.length;
    const full = this.#sink(shown);
    if (full !== undefined) await full;
    return this.#left > 0;
  }

  #line(raw: Buffer, out: Buffer[]): void {
    const line = parseCriLine(raw);
    if (line === undefined) return;
    const { since, stream = "All", timestamps } = this.#options;
    if (stream !== "All" && stream.toLowerCase() !== line.stream) return;
    if (since !== undefined && Date.parse(line.time) < since) return;
    if (timestamps && !this.#midLine) out.push(Buffer.from(`${line.time} `));
    out.push(line.text);
    if (line.complete) out.push(Buffer.from("\n"));
    this.#midLine = !line.complete;
  }
}

/** Reads a growing file, and its successor after a rotation. */
class Follower {
  readonly #path: string;
  readonly #writer: LineWriter;
  readonly #isRunning: () => Promise<boolean>;
  readonly #signal: AbortSignal;
  #file: FileHandle;
  #at: number;

  constructor(
    path: string,
    file: FileHandle,
    at: number,
    writer: LineWriter,
    isRunning: () => Promise<boolean>,
    signal: AbortSignal,
  ) {
    this.#path = path;
    this.#file = file;
    this.#at = at;
    this.#writer = writer;
    this.#isRunning = isRunning;
    this.#signal = signal;
  }

  /** Reads to the end as it is now; false when enough was written. */
  async drain(): Promise<boolean> {
    const block = Buffer.alloc(blockSize);
    while (!this.#signal.aborted) {
      const { bytesRead } = await this.#file.read(block, 0, blockSize, this.#at);
      if (bytesRead === 0) return true;
      this.#at += bytesRead;
      if (!(await this.#writer.push(block.subarray(0, bytesRead)))) return false;
    }
    return false;
  }

  async follow(): Promise<void> {
    let wake: () => void = () => {};
    let changed = false;
    const notify = (): void => {
      changed = true;
      wake();
    };
    let watcher: FSWatcher | undefined;
    try {
      watcher = watch(dirname(this.#path), notify);
      watcher.on("error", notify);
    } catch {
      // The folder went away: the container is being removed, and the loop below sees it.
    }
    this.#signal.addEventListener("abort", notify, { once: true });
    try {
      while (!this.#signal.aborted) {
        changed = false;
        const running = await this.#isRunning();
        if (!(await this.drain())) return;
        if (await this.#rotated()) continue;
        if (!running) return;
        if (changed) continue;
        // A container's end shows itself by no write: look now and then.
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, 1_000);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
          if (changed) wake();
        });
      }
    } finally {
      watcher?.close();
      this.#signal.removeEventListener("abort", notify);
      await this.#file.close().catch(() => {});
    }
  }

  async #rotated(): Promise<boolean> {
    const [mine, there] = await Promise.all([this.#file.stat(), stat(this.#path).catch(() => undefined)]);
    if (there === undefined) return false;
    if (there.ino !== mine.ino) {
      const next = await open(this.#path, "r").catch(() => undefined);
      if (next === undefined) return false;
      await this.#file.close();
      this.#file = next;
      this.#at = 0;
      return true;
    }
    if (there.size < this.#at) {
      this.#at = 0;
      return true;
    }
    return false;
  }
}

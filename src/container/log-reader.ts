import { type FSWatcher, watch } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import type { LogPlan, LoggedLine } from "#api/container-runtime.ts";

export interface ReadLogOptions {
  follow: boolean;
  tail?: number;
  /** Milliseconds since the epoch. */
  since?: number;
  until?: number;
  /** True once nothing more will be written. */
  ended: () => boolean;
  signal?: AbortSignal;
}

const chunkBytes = 1 << 16;
const newline = 0x0a;

/** One line of conmon's log: `TIME STREAM TAG TEXT` (kubelet, "CRI logging"). Tag F ends a line, P is a part of one. */
export function parseLogLine(line: Buffer): LoggedLine | undefined {
  const first = line.indexOf(0x20);
  const second = line.indexOf(0x20, first + 1);
  const third = line.indexOf(0x20, second + 1);
  if (first < 0 || second < 0 || third < 0) return undefined;
  const stream = line.toString("latin1", first + 1, second);
  if (stream !== "stdout" && stream !== "stderr") return undefined;
  const isWhole = line[second + 1] === 0x46;
  const text = line.subarray(third + 1);
  return {
    stream,
    time: utcTime(line.toString("latin1", 0, first)),
    data: isWhole ? Buffer.concat([text, Buffer.from("\n")]) : Buffer.from(text),
  };
}

/** Conmon writes local time with an offset; docker shows UTC with nine digits. */
function utcTime(text: string): string {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d+)([+-]\d\d:\d\d|Z)$/.exec(text);
  if (match === null) return text;
  const [, seconds, fraction, offset] = match as unknown as [string, string, string, string];
  const digits = fraction.padEnd(9, "0").slice(0, 9);
  if (offset === "Z" || offset === "+00:00") return `${seconds}.${digits}Z`;
  return `${new Date(`${seconds}${offset}`).toISOString().slice(0, 19)}.${digits}Z`;
}

/** The files of a log, oldest first: rotation renames `path` to `path.1`, `path.1` to `path.2`… */
async function filesOf(log: LogPlan): Promise<string[]> {
  const out = [log.path];
  for (let number = 1; number < Math.max(1, log.maxFiles); number++) {
    const path = `${log.path}.${number}`;
    if (
      !(await stat(path).then(
        () => true,
        () => false,
      ))
    )
      break;
    out.unshift(path);
  }
  return out;
}

/** Where the last `lines` whole lines of a file begin, and how many there were. */
async function tailOffset(file: FileHandle, size: number, lines: number): Promise<{ offset: number; found: number }> {
  const buffer = Buffer.alloc(chunkBytes);
  let found = 0;
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - chunkBytes);
    await file.read(buffer, 0, end - start, start);
    for (let at = end - start - 1; at >= 0; at--) {
      if (buffer[at] !== newline || start + at === size - 1) continue;
      // Parts of one long line count as one: a part's tag is P.
      found++;
      if (found === lines) return { offset: start + at + 1, found };
    }
    end = start;
  }
  return { offset: 0, found: size > 0 ? found + 1 : 0 };
}

/** Reads whole lines from a file, from an offset to its present end. */
class LineReader {
  readonly #file: FileHandle;
  #offset: number;
  #rest: Buffer = Buffer.alloc(0);

  constructor(file: FileHandle, offset: number) {
    this.#file = file;
    this.#offset = offset;
  }

  get offset(): number {
    return this.#offset;
  }

  /** The lines that are there now and were not read before. */
  async *lines(): AsyncGenerator<Buffer, void, undefined> {
    const buffer = Buffer.alloc(chunkBytes);
    for (;;) {
      const { bytesRead } = await this.#file.read(buffer, 0, chunkBytes, this.#offset);
      if (bytesRead === 0) return;
      this.#offset += bytesRead;
      const data =
        this.#rest.length === 0
          ? Buffer.from(buffer.subarray(0, bytesRead))
          : Buffer.concat([this.#rest, buffer.subarray(0, bytesRead)]);
      let start = 0;
      for (let end = data.indexOf(newline); end >= 0; end = data.indexOf(newline, start)) {
        yield data.subarray(start, end);
        start = end + 1;
      }
      this.#rest = data.subarray(start);
    }
  }
}

/** Resolves when a file or its folder changes, the signal aborts, or after a while: then it is looked at again. */
function changed(path: string, signal: AbortSignal | undefined, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    let watcher: FSWatcher | undefined;
    const done = (): void => {
      clearTimeout(timer);
      watcher?.close();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, timeoutMs);
    try {
      watcher = watch(path, done);
      watcher.on("error", done);
    } catch {
      // It is not there yet: the timer looks again.
    }
    signal?.addEventListener("abort", done, { once: true });
    if (signal?.aborted) done();
  });
}

/** Reads a log in order, across rotated files; with `follow` until the container has ended and all is read. */
export async function* readLog(log: LogPlan, options: ReadLogOptions): AsyncGenerator<LoggedLine, void, undefined> {
  const { since, until, tail, follow, signal } = options;
  const take = (line: LoggedLine): boolean => {
    if (since === undefined && until === undefined) return true;
    const at = Date.parse(line.time);
    return (since === undefined || at >= since) && (until === undefined || at <= until);
  };
  if (log.format === "none" || (tail === 0 && !follow)) return;
  const files = await filesOf(log);
  const starts = tail === undefined ? new Map<string, number>() : await startsOfTail(files, tail);
  for (const path of files) {
    const from = starts.get(path) ?? (tail === undefined ? 0 : Number.POSITIVE_INFINITY);
    const isLast = path === files[files.length - 1];
    if (!Number.isFinite(from) && !isLast) continue;
    const file = await open(path, "r").catch(() => undefined);
    if (file === undefined) {
      if (!isLast || !follow) continue;
      while (
        !signal?.aborted &&
        !options.ended() &&
        !(await stat(path).then(
          () => true,
          () => false,
        ))
      )
        await changed(path, signal, 100);
      if (signal?.aborted || options.ended()) return;
      yield* readLog(log, { ...options, ...(tail === undefined ? {} : { tail: Number.MAX_SAFE_INTEGER }) });
      return;
    }
    try {
      const reader = new LineReader(file, Number.isFinite(from) ? from : (await file.stat()).size);
      for (;;) {
        const over = options.ended();
        for await (const raw of reader.lines()) {
          if (signal?.aborted) return;
          const line = parseLogLine(raw);
          if (line === undefined) continue;
          if (until !== undefined && Date.parse(line.time) > until) return;
          if (take(line)) yield line;
        }
        if (!isLast || !follow || over || signal?.aborted) break;
        if (until !== undefined && Date.now() > until) return;
        await changed(path, signal, 250);
        // Rotated away: read the rest of this one, then go on with the new file.
        const now = await stat(path).catch(() => undefined);
        if (now !== undefined && now.ino !== (await file.stat()).ino) {
          for await (const raw of reader.lines()) {
            const line = parseLogLine(raw);
            if (line !== undefined && take(line)) yield line;
          }
          yield* readLog(
            { ...log, maxFiles: 1 },
            { ...options, follow, ...(tail === undefined ? {} : { tail: Number.MAX_SAFE_INTEGER }) },
          );
          return;
        }
      }
    } finally {
      await file.close();
    }
  }
}

async function startsOfTail(files: readonly string[], tail: number): Promise<Map<string, number>> {
  const starts = new Map<string, number>();
  let left = tail;
  for (const path of [...files].reverse()) {
    if (left <= 0) break;
    const file = await open(path, "r").catch(() => undefined);
    if (file === undefined) continue;
    try {
      const { offset, found } = await tailOffset(file, (await file.stat()).size, left);
      starts.set(path, offset);
      left -= found;
    } finally {
      await file.close();
    }
  }
  return starts;
}

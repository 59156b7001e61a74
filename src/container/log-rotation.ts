import { createReadStream, createWriteStream, renameSync, rmSync, statSync } from "node:fs";
import { rename, rm, utimes } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import type { LogPlan } from "#api/container-runtime.ts";

/** How often sizes are looked at: seldom while logs grow slowly, often enough that a fast one keeps its limit. */
const slowestMs = 1_000;
const fastestMs = 20;

interface Watched {
  log: LogPlan;
  size: number;
  lookedAt: number;
}

const sizeOf = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.size;

/**
 * Keeps logs below their size: moves a full one aside (`path.1`, `path.2`, …), lets conmon open a new one, and
 * compresses what was moved (`path.1.gz`). Looks only at logs that have a limit.
 */
export class LogRotation {
  readonly #reopen: (id: string) => void;
  readonly #logs = new Map<string, Watched>();
  /** A rotated file is being compressed: names stay as they are meanwhile. */
  readonly #compressing = new Map<string, { done: Promise<void>; stop: AbortController }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(reopen: (id: string) => void) {
    this.#reopen = reopen;
  }

  add(id: string, log: LogPlan): void {
    if (log.format === "none" || log.maxSize <= 0) return;
    this.#logs.set(id, { log, size: 0, lookedAt: performance.now() });
    if (this.#timer === undefined) this.#wait(fastestMs);
  }

  /** The log does not grow any more. */
  remove(id: string): void {
    this.#logs.delete(id);
    if (this.#logs.size === 0) this.#sleep();
  }

  /** The log is about to be removed: nothing is made beside it from now on. */
  async forget(id: string): Promise<void> {
    this.remove(id);
    const compressing = this.#compressing.get(id);
    compressing?.stop.abort();
    await compressing?.done;
  }

  /** Ends the watch for good; a compression that is under way is begun again by the next process. */
  stop(): void {
    this.#logs.clear();
    this.#sleep();
    for (const { stop } of this.#compressing.values()) stop.abort();
  }

  #sleep(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #wait(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const next = this.#look();
      if (this.#logs.size > 0) this.#wait(next);
    }, ms);
    this.#timer.unref();
  }

  /** Rotates what is full; gives the time after which the fastest log may be half way to its limit. */
  #look(): number {
    let next = slowestMs;
    const now = performance.now();
    for (const [id, entry] of this.#logs) {
      const { log } = entry;
      const found = sizeOf(log.path);
      let size = found ?? 0;
      const rate = Math.max(0, size - entry.size) / Math.max(1, now - entry.lookedAt);
      // The new file is there once conmon writes to it, and no more to the one that was moved.
      if (found !== undefined && log.compress && !this.#compressing.has(id) && sizeOf(`${log.path}.1`) !== undefined)
        this.#compress(id, log);
      if (size >= log.maxSize && !this.#compressing.has(id)) {
        rotate(log.path, Math.max(1, log.maxFiles));
        this.#reopen(id);
        size = 0;
      }
      entry.size = size;
      entry.lookedAt = now;
      if (rate > 0) next = Math.min(next, (log.maxSize - size) / rate / 2);
    }
    return Math.max(fastestMs, next);
  }

  #compress(id: string, log: LogPlan): void {
    const stop = new AbortController();
    // What fails stays as it is, which can be read as well; the next look tries again.
    const done = compressLog(`${log.path}.1`, stop.signal)
      .catch(() => {})
      .finally(() => this.#compressing.delete(id));
    this.#compressing.set(id, { done, stop });
  }
}

/** Puts `path.gz` in the place of a file, with its time. */
export async function compressLog(path: string, signal?: AbortSignal): Promise<void> {
  const temporary = `${path}.gz.tmp`;
  try {
    const { atime, mtime } = statSync(path);
    await pipeline(
      createReadStream(path, { highWaterMark: 1 << 18 }),
      createGzip({ level: 1, chunkSize: 1 << 17 }),
      createWriteStream(temporary, { mode: 0o640 }),
      signal === undefined ? {} : { signal },
    );
    await utimes(temporary, atime, mtime);
    await rename(temporary, `${path}.gz`);
    await rm(path, { force: true });
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Shifts the numbered files by one, compressed or not; what is over `maxFiles` in all goes. */
export function rotate(path: string, maxFiles: number): void {
  if (maxFiles === 1) {
    rmSync(path, { force: true });
    return;
  }
  for (const end of ["", ".gz"]) rmSync(`${path}.${maxFiles - 1}${end}`, { force: true });
  for (let number = maxFiles - 2; number >= 1; number--) {
    for (const end of ["", ".gz"]) {
      if (sizeOf(`${path}.${number}${end}`) !== undefined)
        renameSync(`${path}.${number}${end}`, `${path}.${number + 1}${end}`);
    }
  }
  renameSync(path, `${path}.1`);
}

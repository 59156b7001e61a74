import { type FSWatcher, watch } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import type { LogPlan, LoggedLine } from "#api/container-runtime.ts";
import { LineReader, offsetsOfTail, openLogFiles, openNextFile } from "./log-files.ts";
import { parseLogLine } from "./log-line.ts";

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

/** How long a follower waits for a change before it looks by itself whether the container has ended. */
const lookAgainMs = 250;

/** Resolves when a file or folder changes, the signal aborts, or after a while. */
function changed(path: string, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    let watcher: FSWatcher | undefined;
    const done = (): void => {
      clearTimeout(timer);
      watcher?.close();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, lookAgainMs);
    try {
      watcher = watch(path, done);
      watcher.on("error", done);
    } catch {
      // It is not there, or no watch is left: the timer looks again.
    }
    signal?.addEventListener("abort", done, { once: true });
    if (signal?.aborted) done();
  });
}

interface Range {
  isBefore(line: LoggedLine): boolean;
  isAfter(line: LoggedLine): boolean;
}

/** A double of today's milliseconds is exact to a quarter of a microsecond. */
const halfMicrosecond = 0.0005;

/** Milliseconds with the fraction that `Date.parse` cuts off. */
function exactTime(time: string): number {
  return Date.parse(time) + Number(`0.${time.slice(23, 29)}`);
}

function rangeOf({ since, until }: ReadLogOptions): Range {
  return {
    isBefore: (line) => since !== undefined && exactTime(line.time) < since - halfMicrosecond,
    isAfter: (line) => until !== undefined && exactTime(line.time) > until + halfMicrosecond,
  };
}

/**
 * Reads a log in order, across rotated files; with `follow` until the container has ended and all is read, also
 * through rotations that happen meanwhile. Gives what is there, some thousand lines at once at most: a promise for
 * each line would cost more than the line.
 */
export async function* readLog(log: LogPlan, options: ReadLogOptions): AsyncGenerator<LoggedLine[], void, undefined> {
  const { tail, follow, signal } = options;
  if (log.format === "none" || (tail === 0 && !follow)) return;
  const range = rangeOf(options);
  let files = await openLogFiles(log);
  let isFresh = false;
  while (files.length === 0) {
    // Conmon makes the file with the first line.
    if (!follow || signal?.aborted || options.ended()) return;
    await changed(dirname(log.path), signal);
    files = await openLogFiles(log);
    isFresh = true;
  }
  try {
    const offsets = tail === undefined || isFresh ? files.map(() => 0) : await offsetsOfTail(files, tail);
    for (let index = 0; ; index++) {
      const file = files[index] as FileHandle;
      const isNewest = index === files.length - 1;
      const offset = offsets[index] ?? (index < offsets.length ? undefined : 0);
      if (offset === undefined && !isNewest) continue;
      const reader = new LineReader(file, offset ?? (await file.stat()).size);
      for (;;) {
        // In this order: what is written before the end is read after it was seen.
        const isOver = !isNewest || !follow || options.ended();
        const next = isNewest && follow ? await openNextFile(log, file) : undefined;
        for (let lines = await reader.next(); lines.length > 0; lines = await reader.next()) {
          if (signal?.aborted) return;
          const wanted: LoggedLine[] = [];
          let isPast = false;
          for (const raw of lines) {
            const line = parseLogLine(raw);
            if (line === undefined || range.isBefore(line)) continue;
            isPast = range.isAfter(line);
            if (isPast) break;
            wanted.push(line);
          }
          if (wanted.length > 0) yield wanted;
          if (isPast) return;
        }
        if (next !== undefined) {
          files.push(next);
          break;
        }
        if (isOver || signal?.aborted) break;
        if (options.until !== undefined && Date.now() > options.until) return;
        await changed(log.path, signal);
      }
      if (index === files.length - 1) return;
    }
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
}

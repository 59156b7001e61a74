import { type FSWatcher, watch } from "node:fs";
import { dirname } from "node:path";
import type { LogPlan, LoggedLine } from "#api/container-runtime.ts";
import { EntryMerger, type TailStart, findTail } from "./log-entries.ts";
import { type LogFile, LineReader, closeAll, openLogFiles, openNextFile } from "./log-files.ts";
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
    const begin: TailStart =
      tail === undefined || isFresh
        ? { file: 0, offset: 0, skip: 0 }
        : tail === 0
          ? { file: files.length - 1, offset: await (files[files.length - 1] as LogFile).size(), skip: 0 }
          : await findTail(files, tail);
    let { skip } = begin;
    const merger = new EntryMerger();
    /** Puts a line into `wanted` where it is; true when it and all that follow are too late. */
    const take = (line: LoggedLine, wanted: LoggedLine[]): boolean => {
      if (skip > 0) skip--;
      else if (range.isAfter(line)) return true;
      else if (!range.isBefore(line)) wanted.push(line);
      return false;
    };
    for (let index = begin.file; ; index++) {
      const file = files[index] as LogFile;
      const isNewest = index === files.length - 1;
      const reader = new LineReader(await file.plain(), index === begin.file ? begin.offset : 0);
      for (;;) {
        // In this order: what is written before the end is read after it was seen.
        const isOver = !isNewest || !follow || options.ended();
        const next = isNewest && follow ? await openNextFile(log, file) : undefined;
        for (let lines = await reader.next(); lines.length > 0; lines = await reader.next()) {
          if (signal?.aborted) return;
          const wanted: LoggedLine[] = [];
          let isPast = false;
          for (const raw of lines) {
            const fragment = parseLogLine(raw);
            if (fragment === undefined) continue;
            if (merger.isWhole(fragment)) isPast = take(fragment, wanted);
            else for (const line of merger.push(fragment)) isPast ||= take(line, wanted);
            if (isPast) break;
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
      if (index < files.length - 1) continue;
      const rest: LoggedLine[] = [];
      for (const line of merger.flush()) take(line, rest);
      if (rest.length > 0) yield rest;
      return;
    }
  } finally {
    await closeAll(files);
  }
}

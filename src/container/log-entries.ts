import type { LoggedLine } from "#api/container-runtime.ts";
import type { LogFile } from "./log-files.ts";
import { linesBackward } from "./log-files.ts";
import { type LogFragment, parseLogLine } from "./log-line.ts";

/** A line longer than this becomes several entries (moby, daemon/logger/copier.go). */
const maxEntryBytes = 16_384;
/** How far before a tail pieces of it are looked for. */
const maxBeyondBytes = 1 << 20;

interface Pending {
  time: string;
  pieces: Uint8Array[];
  length: number;
}

/**
 * Makes entries of conmon's fragments as docker cuts them: a line of the program is one, whenever it was written, and
 * stands where its end was; what is longer than 16 KiB comes in pieces of that size.
 */
export class EntryMerger {
  readonly #pending = new Map<LoggedLine["stream"], Pending>();

  /** Whether a fragment is an entry as it is: nearly all are. */
  isWhole({ stream, data, isEnd }: LogFragment): boolean {
    return isEnd && data.length <= maxEntryBytes && (this.#pending.size === 0 || !this.#pending.has(stream));
  }

  /** The entries that a fragment completes. */
  push(fragment: LogFragment): LoggedLine[] {
    if (this.isWhole(fragment)) return [fragment];
    const { stream, time, data, isEnd } = fragment;
    const before = this.#pending.get(stream);
    const text = isEnd ? data.subarray(0, data.length - 1) : data;
    const pending: Pending = before ?? { time, pieces: [], length: 0 };
    pending.pieces.push(text);
    pending.length += text.length;
    const out: LoggedLine[] = [];
    if (pending.length >= maxEntryBytes) {
      const all = Buffer.concat(pending.pieces);
      let at = 0;
      for (; all.length - at >= maxEntryBytes; at += maxEntryBytes)
        out.push({ stream, time: pending.time, data: all.subarray(at, at + maxEntryBytes) });
      pending.pieces = [all.subarray(at)];
      pending.length = all.length - at;
    } else if (isEnd) pending.time = time;
    if (!isEnd) {
      this.#pending.set(stream, pending);
      return out;
    }
    this.#pending.delete(stream);
    out.push({ stream, time: pending.time, data: Buffer.concat([...pending.pieces, Buffer.from("\n")]) });
    return out;
  }

  /** What has no end, once nothing more comes. */
  flush(): LoggedLine[] {
    const out: LoggedLine[] = [];
    for (const [stream, { time, pieces, length }] of this.#pending)
      if (length > 0) out.push({ stream, time, data: Buffer.concat(pieces) });
    this.#pending.clear();
    return out;
  }
}

/** Where the last entries of a log begin: in which file, at which byte, and how many that begin there are too old. */
export interface TailStart {
  file: number;
  offset: number;
  skip: number;
}

/** An entry whose beginning was not seen yet. */
interface OpenEntry {
  length: number;
  hasEnd: boolean;
  /** How many entries come after it. */
  newer: number;
}

function entriesIn({ length, hasEnd }: OpenEntry): number {
  return Math.floor(length / maxEntryBytes) + (hasEnd || length % maxEntryBytes > 0 ? 1 : 0);
}

/**
 * Finds the last `tail` entries, at least one. Files are oldest first. Pieces of an entry that stand very far before
 * its end, between lines of the other stream, are not looked for.
 */
export async function findTail(files: readonly LogFile[], tail: number): Promise<TailStart> {
  const open = new Map<LoggedLine["stream"], OpenEntry>();
  let closed = 0;
  let beyond = 0;
  const all = (): number => [...open.values()].reduce((sum, each) => sum + entriesIn(each), closed);
  for (let file = files.length - 1; file >= 0; file--) {
    for await (const { offset, line } of linesBackward(files[file] as LogFile)) {
      const fragment = parseLogLine(line);
      if (fragment === undefined) continue;
      const { stream, data, isEnd } = fragment;
      const later = open.get(stream);
      if (isEnd) {
        const newer = all();
        if (later !== undefined) closed += entriesIn(later);
        open.set(stream, { length: data.length - 1, hasEnd: true, newer });
      } else if (later === undefined) open.set(stream, { length: data.length, hasEnd: false, newer: all() });
      else later.length += data.length;
      const found = all();
      if (found <= tail) continue;
      beyond += line.length;
      const isWhole = [...open.values()].every((each) => each.newer >= tail);
      if (isWhole || beyond > maxBeyondBytes) return { file, offset, skip: found - tail };
    }
  }
  return { file: 0, offset: 0, skip: Math.max(0, all() - tail) };
}

import { renameSync, rmSync, statSync } from "node:fs";
import type { LogPlan } from "#api/container-runtime.ts";

/** How often sizes are looked at: seldom while logs grow slowly, often enough that a fast one keeps its limit. */
const slowestMs = 1_000;
const fastestMs = 20;

/**
 * Keeps logs below their size: moves a full one aside (`path.1`, `path.2`, …) and lets conmon open a new one.
 * Looks only at logs that have a limit.
 */
export class LogRotation {
  readonly #reopen: (id: string) => void;
  readonly #logs = new Map<string, { log: LogPlan; size: number; lookedAt: number }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(reopen: (id: string) => void) {
    this.#reopen = reopen;
  }

  add(id: string, log: LogPlan): void {
    if (log.format === "none" || log.maxSize <= 0) return;
    this.#logs.set(id, { log, size: 0, lookedAt: performance.now() });
    if (this.#timer === undefined) this.#wait(fastestMs);
  }

  remove(id: string): void {
    this.#logs.delete(id);
    if (this.#logs.size === 0) this.stop();
  }

  stop(): void {
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
      let size = statSync(log.path, { throwIfNoEntry: false })?.size ?? 0;
      const rate = Math.max(0, size - entry.size) / Math.max(1, now - entry.lookedAt);
      if (size >= log.maxSize) {
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
}

/** Shifts the numbered files by one; what is over `maxFiles` in all goes. */
export function rotate(path: string, maxFiles: number): void {
  if (maxFiles === 1) {
    rmSync(path, { force: true });
    return;
  }
  rmSync(`${path}.${maxFiles - 1}`, { force: true });
  for (let number = maxFiles - 2; number >= 1; number--) {
    if (statSync(`${path}.${number}`, { throwIfNoEntry: false }) !== undefined)
      renameSync(`${path}.${number}`, `${path}.${number + 1}`);
  }
  renameSync(path, `${path}.1`);
}

import { renameSync, rmSync, statSync } from "node:fs";
import type { LogPlan } from "#api/container-runtime.ts";

/** How often sizes are looked at: a log may grow over its limit by what is written in between. */
const periodMs = 1_000;

/**
 * Keeps logs below their size: moves a full one aside (`path.1`, `path.2`, …) and lets conmon open a new one.
 * Looks only at logs that have a limit.
 */
export class LogRotation {
  readonly #reopen: (id: string) => void;
  readonly #logs = new Map<string, LogPlan>();
  #timer: NodeJS.Timeout | undefined;

  constructor(reopen: (id: string) => void) {
    this.#reopen = reopen;
  }

  add(id: string, log: LogPlan): void {
    if (log.format === "none" || log.maxSize <= 0) return;
    this.#logs.set(id, log);
    this.#timer ??= setInterval(() => this.#look(), periodMs);
    this.#timer.unref();
  }

  remove(id: string): void {
    this.#logs.delete(id);
    if (this.#logs.size === 0) this.stop();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    for (const [id, log] of this.#logs) {
      const size = statSync(log.path, { throwIfNoEntry: false })?.size ?? 0;
      if (size < log.maxSize) continue;
      rotate(log.path, Math.max(1, log.maxFiles));
      this.#reopen(id);
    }
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

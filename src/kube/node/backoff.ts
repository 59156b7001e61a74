import type { Clock } from "#base/clock.ts";

interface Entry {
  delayMs: number;
  updatedAt: number;
}

/**
 * Delays for things that keep failing, by key: the first `initialMs`, doubling to `maxMs`; forgotten when
 * nothing failed for twice `maxMs` (client-go, util/flowcontrol.Backoff). Times are wall-clock milliseconds.
 */
export class Backoff {
  readonly #entries = new Map<string, Entry>();
  readonly #clock: Clock;
  readonly #initialMs: number;
  readonly #maxMs: number;

  constructor(clock: Clock, initialMs = 10_000, maxMs = 300_000) {
    this.#clock = clock;
    this.#initialMs = initialMs;
    this.#maxMs = maxMs;
  }

  /** The delay in force for `key`, 0 for none. */
  delay(key: string): number {
    return this.#entries.get(key)?.delayMs ?? 0;
  }

  /** How long to wait yet, counted from `since`, when the failure happened. 0: go. */
  remaining(key: string, since: number): number {
    const entry = this.#entries.get(key);
    if (entry === undefined || since - entry.updatedAt > 2 * this.#maxMs) return 0;
    return Math.max(0, entry.delayMs - (this.#clock.now() - since));
  }

  /** The thing is tried again after a failure at `since`: the next delay is longer. */
  next(key: string, since: number): void {
    const entry = this.#entries.get(key);
    const fresh = entry === undefined || since - entry.updatedAt > 2 * this.#maxMs;
    this.#entries.set(key, {
      delayMs: fresh ? this.#initialMs : Math.min(entry.delayMs * 2, this.#maxMs),
      updatedAt: this.#clock.now(),
    });
  }

  forget(key: string): void {
    this.#entries.delete(key);
  }

  forgetPrefix(prefix: string): void {
    for (const key of this.#entries.keys()) if (key.startsWith(prefix)) this.#entries.delete(key);
  }
}

/** `10s`, `1m20s`, `5m0s`: Go's way of writing durations of whole seconds. */
export function goDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m${seconds % 60}s`;
  return `${Math.floor(minutes / 60)}h${minutes % 60}m${seconds % 60}s`;
}

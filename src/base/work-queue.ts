/** Delays of a key that keeps failing: base × 2ⁿ, capped (client-go, workqueue.ItemExponentialFailureRateLimiter). */
export interface BackoffOptions {
  baseMs: number;
  maxMs: number;
}

/**
 * A queue of keys, as controllers use: a key that is added while it waits is there once; a key that is added
 * while it is worked on comes again afterwards (client-go, util/workqueue).
 */
export class WorkQueue {
  readonly #waiting = new Set<string>();
  readonly #processing = new Set<string>();
  readonly #dirty = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, { at: number; timer: NodeJS.Timeout }>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  readonly #backoff: BackoffOptions;
  #closed = false;

  constructor(backoff: BackoffOptions = { baseMs: 5, maxMs: 60_000 }) {
    this.#backoff = backoff;
  }

  get length(): number {
    return this.#waiting.size;
  }

  add(key: string): void {
    if (this.#closed) return;
    if (this.#processing.has(key)) {
      this.#dirty.add(key);
      return;
    }
    const taker = this.#takers.shift();
    if (taker === undefined) {
      this.#waiting.add(key);
    } else {
      this.#waiting.delete(key);
      this.#processing.add(key);
      taker(key);
    }
  }

  /** Adds the key after `ms`; of several calls the earliest counts. */
  addAfter(key: string, ms: number): void {
    if (this.#closed) return;
    if (ms <= 0) return this.add(key);
    const at = performance.now() + ms;
    const before = this.#timers.get(key);
    if (before !== undefined) {
      if (before.at <= at) return;
      clearTimeout(before.timer);
    }
    const timer = setTimeout(
      () => {
        this.#timers.delete(key);
        this.add(key);
      },
      Math.min(ms, 2 ** 31 - 1),
    );
    this.#timers.set(key, { at, timer });
  }

  /** Adds the key after its back-off, which doubles with each call until `forget`. */
  addRateLimited(key: string): void {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.addAfter(key, Math.min(this.#backoff.baseMs * 2 ** Math.min(failures, 40), this.#backoff.maxMs));
  }

  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** The next key, or undefined once the queue is closed. Each key taken must be given back with `done`. */
  async take(): Promise<string | undefined> {
    for (const key of this.#waiting) {
      this.#waiting.delete(key);
      this.#processing.add(key);
      return key;
    }
    if (this.#closed) return undefined;
    return new Promise((resolve) => this.#takers.push(resolve));
  }

  done(key: string): void {
    this.#processing.delete(key);
    if (this.#dirty.delete(key)) this.add(key);
  }

  /** Wakes all takers with undefined and drops timers and what waits. */
  close(): void {
    this.#closed = true;
    this.#waiting.clear();
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }
}

/** Runs work one at a time for each key, in the order asked; different keys do not wait for each other. */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** With a signal, who waits for a turn gives up when it aborts, and rejects with its reason. */
  async run<T>(key: string, work: () => Promise<T> | T, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    const before = this.#tails.get(key);
    let isWaiting = before !== undefined;
    const begin = (): Promise<T> | T => {
      isWaiting = false;
      signal?.throwIfAborted();
      return work();
    };
    const mine = before === undefined ? (async () => work())() : before.then(begin, begin);
    // Also of one that was given up: those behind it wait for those before it.
    const forget = (): void => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    };
    const tail: Promise<void> = mine.then(forget, forget);
    this.#tails.set(key, tail);
    return signal === undefined || !isWaiting ? mine : orAborted(mine, signal, () => isWaiting);
  }
}

/** What `work` gives, or the signal's reason when that comes first and while `isGivenUp` says so. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal, isGivenUp: () => boolean): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => {
      if (isGivenUp()) reject(signal.reason as Error);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/** Lets at most `limit` pieces of work run at once; the rest wait in order. */
export class Gate {
  readonly #limit: number;
  #active = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** With a signal, who waits gives up when it aborts, and rejects with its reason. `onWait` tells that it waits. */
  async run<T>(work: () => Promise<T>, options: { signal?: AbortSignal; onWait?: () => void } = {}): Promise<T> {
    const { signal, onWait } = options;
    signal?.throwIfAborted();
    if (this.#active >= this.#limit) {
      onWait?.();
      await this.#turn(signal);
    } else this.#active++;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#active--;
      else next();
    }
  }

  #turn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const go = (): void => {
        signal?.removeEventListener("abort", giveUp);
        resolve();
      };
      const giveUp = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1);
        reject(signal?.reason as Error);
      };
      this.#waiting.push(go);
      signal?.addEventListener("abort", giveUp, { once: true });
    });
  }
}

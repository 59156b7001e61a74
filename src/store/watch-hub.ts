import type { StoreEvent, WatchBatch } from "./store.ts";

function keyOf(event: StoreEvent): string {
  return event.type === "put" ? event.item.key : event.key;
}

interface Watcher {
  readonly prefix: string;
  pending: StoreEvent[];
  revision: number;
  wake: (() => void) | undefined;
  failure: unknown;
}

/**
 * Hands committed events to watchers. A watcher that has not read yet gets what came meanwhile as one batch;
 * one that is too far behind is ended with the error of `onSlow`, so that memory stays bounded.
 */
export class WatchHub {
  readonly #watchers = new Set<Watcher>();
  readonly #maxPending: number;
  readonly #onSlow: () => unknown;

  constructor(options: { maxPending?: number; onSlow: () => unknown }) {
    this.#maxPending = options.maxPending ?? 50_000;
    this.#onSlow = options.onSlow;
  }

  get size(): number {
    return this.#watchers.size;
  }

  /** All events up to `revision`, in order, committed. */
  publish(events: readonly StoreEvent[], revision: number): void {
    for (const watcher of this.#watchers) {
      for (const event of events) {
        if (keyOf(event).startsWith(watcher.prefix)) watcher.pending.push(event);
      }
      if (watcher.pending.length > this.#maxPending) this.#fail(watcher, this.#onSlow());
      watcher.revision = revision;
      watcher.wake?.();
    }
  }

  /** Ends every watch with `error`, or without one. */
  close(error?: unknown): void {
    for (const watcher of this.#watchers) this.#fail(watcher, error ?? null);
  }

  #fail(watcher: Watcher, error: unknown): void {
    watcher.failure = error;
    watcher.pending = [];
    this.#watchers.delete(watcher);
    watcher.wake?.();
  }

  /**
   * Registers at once (no event is missed between `backlog` and the first read). `backlog` are the events
   * since the start revision; `revision` the newest one that they cover.
   */
  subscribe(prefix: string, backlog: StoreEvent[], revision: number, signal: AbortSignal): AsyncIterable<WatchBatch> {
    const watcher: Watcher = { prefix, pending: backlog, revision, wake: undefined, failure: undefined };
    if (!signal.aborted) this.#watchers.add(watcher);
    const onAbort = (): void => this.#fail(watcher, null);
    signal.addEventListener("abort", onAbort, { once: true });
    const watchers = this.#watchers;
    return (async function* () {
      let delivered = backlog.length > 0 ? -1 : revision;
      try {
        for (;;) {
          if (watcher.failure === null || signal.aborted) return;
          if (watcher.failure !== undefined) throw watcher.failure;
          if (watcher.revision > delivered) {
            const batch: WatchBatch = { events: watcher.pending, revision: watcher.revision };
            watcher.pending = [];
            delivered = watcher.revision;
            yield batch;
            continue;
          }
          await new Promise<void>((resolve) => {
            watcher.wake = resolve;
          });
          watcher.wake = undefined;
        }
      } finally {
        watchers.delete(watcher);
        signal.removeEventListener("abort", onAbort);
      }
    })();
  }
}

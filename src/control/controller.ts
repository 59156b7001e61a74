import type { KubeObject } from "#api/kube/object.ts";
import { objectKey } from "#api/kube/object.ts";
import { errorCode, errorMessage, hasCode } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { TaskGroup } from "#base/task-group.ts";
import { type BackoffOptions, WorkQueue } from "#base/work-queue.ts";

/** What a reconcile may ask for; nothing means: done until something changes. */
export interface ReconcileResult {
  requeueAfterMs?: number;
}

export interface ControllerOptions {
  name: string;
  /** How many keys are worked on at once. Default 1; a key is never worked on twice at once. */
  workers?: number;
  /** Retry delays of a key whose reconcile throws. Default 5 ms doubling to 1,000 s as upstream's. */
  backoff?: BackoffOptions;
  /** Workers start when all of these have resolved: informers' `synced`. */
  waitFor?: readonly Promise<unknown>[];
  /** Makes the world of one key what it should be. Throwing means: again, later. */
  reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult | void>;
}

/** Counters since the start. */
export interface ControllerMetrics {
  reconciles: number;
  errors: number;
  /** Keys that are worked on now. */
  active: number;
  queued: number;
  /** Total seconds spent in reconcile. */
  seconds: number;
}

/**
 * A reconcile loop: a queue of keys and workers that take them. Owned by the task group it is started in.
 * A conflict (somebody else wrote first) is retried quietly; other failures are logged.
 */
export class Controller {
  readonly name: string;
  readonly queue: WorkQueue;
  readonly #options: ControllerOptions;
  readonly #log: Logger;
  readonly #counts = { reconciles: 0, errors: 0, active: 0, seconds: 0 };

  constructor(options: ControllerOptions, parts: { log: Logger }) {
    this.name = options.name;
    this.#options = options;
    this.#log = parts.log.with({ controller: options.name });
    this.queue = new WorkQueue(options.backoff ?? { baseMs: 5, maxMs: 1_000_000 });
  }

  get metrics(): ControllerMetrics {
    return { ...this.#counts, queued: this.queue.length };
  }

  enqueue(key: string): void {
    this.queue.add(key);
  }

  enqueueAfter(key: string, ms: number): void {
    this.queue.addAfter(key, ms);
  }

  enqueueObject(object: KubeObject): void {
    this.queue.add(objectKey(object));
  }

  /** Starts the workers; they end, and the queue closes, when the group stops. */
  start(tasks: TaskGroup): void {
    tasks.signal.addEventListener("abort", () => this.queue.close(), { once: true });
    const workers = this.#options.workers ?? 1;
    for (let worker = 0; worker < workers; worker++) {
      tasks.run(`controller ${this.name} worker ${worker}`, (signal) => this.#work(signal));
    }
  }

  async #work(signal: AbortSignal): Promise<void> {
    if (this.#options.waitFor !== undefined) {
      await untilAborted(Promise.all(this.#options.waitFor), signal);
    }
    for (;;) {
      if (signal.aborted) return;
      const key = await this.queue.take();
      if (key === undefined) return;
      await this.#reconcile(key, signal);
    }
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<void> {
    const startedAt = performance.now();
    this.#counts.active++;
    this.#counts.reconciles++;
    try {
      const result = await this.#options.reconcile(key, signal);
      this.queue.forget(key);
      if (result?.requeueAfterMs !== undefined) this.queue.addAfter(key, result.requeueAfterMs);
    } catch (error) {
      if (signal.aborted && errorCode(error) === "cancelled") return;
      this.#counts.errors++;
      const fields = { key, error: errorMessage(error), failures: this.queue.failures(key) + 1 };
      if (hasCode(error, "conflict", "unavailable")) this.#log.debug("A reconcile will be tried again.", fields);
      else this.#log.warn("A reconcile failed and will be tried again.", fields);
      this.queue.addRateLimited(key);
    } finally {
      this.#counts.active--;
      this.#counts.seconds += (performance.now() - startedAt) / 1000;
      this.queue.done(key);
    }
  }
}

/** Resolves when `work` does or when the signal aborts, whichever is first. */
async function untilAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  let onAbort!: () => void;
  const aborted = new Promise<void>((resolve) => {
    onAbort = resolve;
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

import { type Clock, systemClock } from "./clock.ts";
import { GantryError, errorCode } from "./errors.ts";
import type { Logger } from "./log.ts";

export interface TaskGroupOptions {
  name: string;
  log: Logger;
  clock?: Clock;
  /** The group stops when this aborts, too. */
  signal?: AbortSignal;
}

/**
 * Owns loops, timers and background work. Whatever is started here has a name, gets the group's signal, and
 * is waited for on stop. A task that throws is logged, and does not take its siblings with it.
 */
export class TaskGroup {
  readonly name: string;
  readonly #controller = new AbortController();
  readonly #running = new Map<Promise<void>, string>();
  readonly #children = new Set<TaskGroup>();
  readonly #log: Logger;
  readonly #clock: Clock;

  constructor(options: TaskGroupOptions) {
    this.name = options.name;
    this.#log = options.log;
    this.#clock = options.clock ?? systemClock;
    if (options.signal?.aborted) this.#controller.abort();
    else options.signal?.addEventListener("abort", () => this.#controller.abort(), { once: true, signal: this.signal });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The names of what is running now, for status pages and for the error of a stop that timed out. */
  get running(): string[] {
    return [...this.#running.values(), ...[...this.#children].flatMap((child) => child.running)];
  }

  /** Starts `work` at once and owns it. A group that is stopping starts nothing. */
  run(name: string, work: (signal: AbortSignal) => Promise<void> | void): void {
    if (this.signal.aborted) return;
    const task = (async () => work(this.signal))()
      .catch((error: unknown) => {
        if (this.signal.aborted && errorCode(error) === "cancelled") return;
        this.#log.error("A background task failed.", {
          group: this.name,
          task: name,
          error,
          stack: (error as Error)?.stack,
        });
      })
      .finally(() => this.#running.delete(task));
    this.#running.set(task, name);
  }

  /** Runs `work` every `ms`, the first time after `ms`; a run that throws is logged and the next one comes. */
  every(name: string, ms: number, work: (signal: AbortSignal) => Promise<void> | void): void {
    this.run(name, async (signal) => {
      while (!signal.aborted) {
        await this.#clock.sleep(ms, signal);
        try {
          await work(signal);
        } catch (error) {
          if (signal.aborted) return;
          this.#log.error("A periodic task failed.", { group: this.name, task: name, error });
        }
      }
    });
  }

  /** Runs `work` once after `ms` unless the group stops, or the returned function is called, first. */
  after(name: string, ms: number, work: () => Promise<void> | void): () => void {
    const cancel = new AbortController();
    this.run(name, async (signal) => {
      try {
        await this.#clock.sleep(ms, AbortSignal.any([signal, cancel.signal]));
      } catch {
        return;
      }
      await work();
    });
    return () => cancel.abort();
  }

  /** A group that stops with this one. */
  child(name: string): TaskGroup {
    const child = new TaskGroup({
      name: `${this.name}/${name}`,
      log: this.#log,
      clock: this.#clock,
      signal: this.signal,
    });
    this.#children.add(child);
    return child;
  }

  /** Aborts the signal and waits for everything, at most `deadlineMs`; then throws, naming what still runs. */
  async stop(deadlineMs = 10_000): Promise<void> {
    this.#controller.abort();
    const settled = (async () => {
      while (this.#running.size > 0) await Promise.allSettled(this.#running.keys());
      await Promise.allSettled([...this.#children].map((child) => child.stop(deadlineMs)));
    })();
    let timer: NodeJS.Timeout | undefined;
    const expired = new Promise<"expired">((resolve) => {
      timer = setTimeout(() => resolve("expired"), deadlineMs);
    });
    const outcome = await Promise.race([settled, expired]);
    clearTimeout(timer);
    if (outcome === "expired") {
      throw new GantryError("timeout", `${this.name} did not stop within ${deadlineMs} ms.`, {
        data: { running: this.running },
      });
    }
  }
}

import { Worker } from "node:worker_threads";
import { type ErrorCode, GantryError } from "#base/errors.ts";
import type { UnpackAnswer, UnpackJob } from "./unpack-worker.ts";
import type { UnpackResult } from "./unpack.ts";
import { workerFile } from "./worker-file.ts";

/** A worker costs some 10 MB: it goes after it has had nothing to do for so long. */
const idleMs = 5_000;

interface Pending {
  resolve: (result: UnpackResult) => void;
  reject: (error: unknown) => void;
  onProgress: ((bytes: number) => void) | undefined;
}

/** Unpacks archives in worker threads, so that a large layer never holds up the event loop. */
export class UnpackPool {
  readonly #size: number;
  readonly #idle: Worker[] = [];
  readonly #all = new Set<Worker>();
  readonly #waiting: ((worker: Worker) => void)[] = [];
  readonly #pending = new Map<number, Pending>();
  #timer: NodeJS.Timeout | undefined;
  #next = 1;

  constructor(size = 2) {
    this.#size = size;
  }

  async unpack(job: Omit<UnpackJob, "id">, onProgress?: (bytes: number) => void): Promise<UnpackResult> {
    const worker = await this.#take();
    const id = this.#next++;
    try {
      return await new Promise<UnpackResult>((resolve, reject) => {
        this.#pending.set(id, { resolve, reject, onProgress });
        worker.postMessage({ ...job, id } satisfies UnpackJob);
      });
    } finally {
      this.#pending.delete(id);
      this.#giveBack(worker);
    }
  }

  #take(): Promise<Worker> {
    clearTimeout(this.#timer);
    const idle = this.#idle.pop();
    if (idle !== undefined) return Promise.resolve(idle);
    if (this.#all.size < this.#size) return Promise.resolve(this.#make());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #make(): Worker {
    const worker = new Worker(workerFile(), { name: "gantry-unpack", execArgv: ["--no-warnings"] });
    worker.unref();
    this.#all.add(worker);
    worker.on("message", (answer: UnpackAnswer) => this.#answer(answer));
    worker.on("error", (error) => {
      this.#all.delete(worker);
      for (const pending of this.#pending.values())
        pending.reject(new GantryError("internal", "The worker that unpacks layers has failed.", { cause: error }));
    });
    return worker;
  }

  #answer(answer: UnpackAnswer): void {
    const pending = this.#pending.get(answer.id);
    if (pending === undefined) return;
    if ("result" in answer) pending.resolve(answer.result);
    else if ("progress" in answer) pending.onProgress?.(answer.progress);
    else pending.reject(new GantryError(answer.error.code as ErrorCode, answer.error.message));
  }

  #giveBack(worker: Worker): void {
    if (!this.#all.has(worker)) return;
    const next = this.#waiting.shift();
    if (next !== undefined) return next(worker);
    this.#idle.push(worker);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      for (const idle of this.#idle.splice(0)) {
        this.#all.delete(idle);
        void idle.terminate();
      }
    }, idleMs);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await Promise.all([...this.#all].map((worker) => worker.terminate()));
    this.#all.clear();
    this.#idle.length = 0;
  }
}

import { Worker } from "node:worker_threads";
import type { PathStat } from "#api/docker/container-types.ts";
import { AsyncQueue } from "#base/async-queue.ts";
import { type ErrorCode, GantryError } from "#base/errors.ts";
import { decompressed } from "./decompress.ts";
import type { CopyInOptions, CopyPlace } from "./copy-archive.ts";
import type { CopyAnswer, CopyJob, CopyOrder } from "./copy-job.ts";
import { workerFile } from "./worker-file.ts";

/**
 * A thread that has the container's root as its own: a process in the container that swaps folders for links
 * while we copy gains nothing.
 */
class CopyThread {
  readonly #worker: Worker;
  readonly #answers = new AsyncQueue<CopyAnswer>();
  readonly #reader: AsyncIterator<CopyAnswer>;

  constructor(job: CopyJob) {
    this.#worker = new Worker(workerFile(), {
      name: "gantry-copy",
      execArgv: ["--no-warnings"],
      workerData: { copy: job },
    });
    this.#worker.on("message", (answer: CopyAnswer) => this.#answers.push(answer));
    this.#worker.on("error", (cause) =>
      this.#answers.end(new GantryError("internal", "The thread that copies files has failed.", { cause })),
    );
    this.#worker.on("exit", () => this.#answers.end(new GantryError("cancelled", "The copy was ended.")));
    this.#reader = this.#answers[Symbol.asyncIterator]();
  }

  send(order: CopyOrder): void {
    this.#worker.postMessage(order);
  }

  /** Throws what the thread has thrown. */
  async next(): Promise<Exclude<CopyAnswer, { error: unknown }>> {
    const { value, done } = await this.#reader.next();
    if (done === true) throw new GantryError("cancelled", "The copy was ended.");
    const answer = value as CopyAnswer;
    if ("error" in answer) throw new GantryError(answer.error.code as ErrorCode, answer.error.message);
    return answer;
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** `docker cp` out of a container; see `copy-archive.ts`. The iterator must be read to its end or returned. */
export async function copyOut(place: CopyPlace): Promise<{ stat: PathStat; tar: AsyncGenerator<Uint8Array> }> {
  const thread = new CopyThread({ direction: "out", place });
  try {
    const first = await thread.next();
    if (!("stat" in first)) throw new Error("a copy begins with what it is about");
    const tar = async function* (): AsyncGenerator<Uint8Array> {
      try {
        // One chunk is under way while another is sent.
        thread.send({ more: true });
        for (;;) {
          thread.send({ more: true });
          const answer = await thread.next();
          if (!("chunk" in answer)) return;
          yield answer.chunk;
        }
      } finally {
        await thread.close();
      }
    };
    return { stat: first.stat, tar: tar() };
  } catch (error) {
    await thread.close();
    throw error;
  }
}

/**
 * `docker cp` into a container; see `copy-archive.ts`. The archive may be compressed: that is undone here, since in
 * the thread the container's programs would be found.
 */
export async function copyIn(
  place: CopyPlace,
  tar: AsyncIterable<Uint8Array>,
  options: CopyInOptions = {},
): Promise<void> {
  const thread = new CopyThread({ direction: "in", place, options });
  try {
    // Refused before a byte is read, where the place is wrong.
    let answer = await thread.next();
    for await (const chunk of decompressed(tar)) {
      if (!("more" in answer)) break;
      thread.send({ chunk });
      answer = await thread.next();
    }
    if ("more" in answer) thread.send({ end: true });
    while (!("end" in answer)) answer = await thread.next();
  } finally {
    await thread.close();
  }
}

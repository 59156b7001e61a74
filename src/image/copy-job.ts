import type { MessagePort } from "node:worker_threads";
import type { PathStat } from "#api/docker/container-types.ts";
import { GantryError } from "#base/errors.ts";
import { mappedRoot } from "#base/id-mapping.ts";
import { becomeFileOwner } from "#host/file-credentials.ts";
import { enterRootInThread } from "#host/thread-root.ts";
import { type CopyInOptions, type CopyPlace, copyIn, copyOut } from "./copy-archive.ts";

/** One `docker cp`, done by a thread whose `/` is the container's. */
export type CopyJob =
  | { direction: "out"; place: CopyPlace }
  | { direction: "in"; place: CopyPlace; options: CopyInOptions };

/** From the thread. `more` asks for the next chunk (in) as the other side's `more` does (out). */
export type CopyAnswer =
  | { stat: PathStat }
  | { chunk: Uint8Array }
  | { more: true }
  | { end: true }
  | { error: { code: string; message: string } };

/** To the thread. */
export type CopyOrder = { chunk: Uint8Array } | { end: true } | { more: true };

/** Runs in a thread of its own, which is good for nothing else afterwards. */
export async function runCopyJob(job: CopyJob, port: MessagePort): Promise<void> {
  const post = (answer: CopyAnswer): void => port.postMessage(answer);
  const orders: CopyOrder[] = [];
  let wake = (): void => {};
  port.on("message", (order: CopyOrder) => {
    orders.push(order);
    wake();
  });
  const nextOrder = async (): Promise<CopyOrder> => {
    while (orders.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    return orders.shift() as CopyOrder;
  };
  try {
    enterRootInThread(job.place.rootfs);
    // Files are made by this thread alone, so it may stay the container's root.
    if (job.place.mapping !== undefined) becomeFileOwner(mappedRoot(job.place.mapping));
    const place = { ...job.place, rootfs: "/" };
    if (job.direction === "out") {
      const { stat, tar } = copyOut(place, { blocking: true });
      post({ stat });
      for await (const chunk of tar) {
        await nextOrder();
        post({ chunk });
      }
    } else {
      const chunks = async function* (): AsyncGenerator<Uint8Array> {
        for (;;) {
          post({ more: true });
          const order = await nextOrder();
          if (!("chunk" in order)) return;
          yield order.chunk;
        }
      };
      await copyIn(place, chunks(), job.options);
    }
    post({ end: true });
  } catch (error) {
    const code = error instanceof GantryError ? error.code : "internal";
    post({ error: { code, message: error instanceof Error ? error.message : String(error) } });
  }
}

import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { parentPort, workerData } from "node:worker_threads";
import { type ErrorCode, GantryError } from "#base/errors.ts";
import { type CopyJob, runCopyJob } from "./copy-job.ts";
import { decompress, sniffBytes, sniffCompression } from "./decompress.ts";
import { Unpacker, type UnpackOptions, type UnpackResult } from "./unpack.ts";

/** One archive to unpack: a file, compressed or not. */
export interface UnpackJob extends UnpackOptions {
  id: number;
  source: string;
}

export type UnpackAnswer =
  | { id: number; result: UnpackResult }
  | { id: number; progress: number }
  | { id: number; error: { code: string; message: string } };

const readBytes = 1 << 18;
const progressEvery = 4 << 20;

async function unpack(job: UnpackJob, post: (answer: UnpackAnswer) => void): Promise<UnpackResult> {
  const file = await open(job.source);
  const head = Buffer.alloc(sniffBytes);
  try {
    await file.read(head, 0, sniffBytes, 0);
  } catch (error) {
    await file.close();
    throw error;
  }
  // It closes the file.
  const raw = createReadStream("", { fd: file, start: 0, highWaterMark: readBytes });
  const unpacker = new Unpacker(job);
  try {
    let told = 0;
    for await (const chunk of decompress(sniffCompression(head), raw as AsyncIterable<Buffer>)) {
      unpacker.push(chunk);
      if (raw.bytesRead - told < progressEvery) continue;
      told = raw.bytesRead;
      post({ id: job.id, progress: told });
    }
    return unpacker.finish();
  } finally {
    unpacker.close();
    raw.destroy();
  }
}

/** Errors of the file system are not the archive's fault. */
function codeOf(error: unknown): ErrorCode {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (syscall === undefined) return "invalid";
  if (code === "ENOENT") return "not-found";
  return code === "ENOSPC" || code === "EDQUOT" ? "exhausted" : "internal";
}

function serveUnpacking(): void {
  parentPort?.on("message", (job: UnpackJob) => {
    const post = (answer: UnpackAnswer): void => parentPort?.postMessage(answer);
    unpack(job, post).then(
      (result) => post({ id: job.id, result }),
      (error: unknown) => {
        const code = error instanceof GantryError ? error.code : codeOf(error);
        post({ id: job.id, error: { code, message: error instanceof Error ? error.message : String(error) } });
      },
    );
  });
}

const { copy } = (workerData ?? {}) as { copy?: CopyJob };
if (copy === undefined) serveUnpacking();
else if (parentPort !== null) void runCopyJob(copy, parentPort);

import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import { parentPort, workerData } from "node:worker_threads";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { type ErrorCode, GantryError } from "#base/errors.ts";
import { type CopyJob, runCopyJob } from "./copy-job.ts";
import type { Compression } from "./oci.ts";
import { Unpacker, type UnpackOptions, type UnpackResult } from "./unpack.ts";

/** One archive to unpack. */
export interface UnpackJob extends UnpackOptions {
  id: number;
  source: string;
  compression: Compression;
}

export type UnpackAnswer =
  | { id: number; result: UnpackResult }
  | { id: number; progress: number }
  | { id: number; error: { code: string; message: string } };

const readBytes = 1 << 18;
const progressEvery = 4 << 20;

async function unpack(job: UnpackJob, post: (answer: UnpackAnswer) => void): Promise<UnpackResult> {
  const raw = createReadStream(job.source, { highWaterMark: readBytes });
  let read = 0;
  let told = 0;
  raw.on("data", (chunk) => {
    read += chunk.length;
    if (read - told < progressEvery) return;
    told = read;
    post({ id: job.id, progress: read });
  });
  const unpacker = new Unpacker(job);
  let source: Readable = raw;
  if (job.compression !== "none") {
    const decoder =
      job.compression === "gzip"
        ? createGunzip({ chunkSize: readBytes })
        : createZstdDecompress({ chunkSize: readBytes });
    raw.on("error", (error) => decoder.destroy(error));
    source = raw.pipe(decoder);
  }
  for await (const chunk of source as AsyncIterable<Buffer>) unpacker.push(chunk);
  return unpacker.finish();
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

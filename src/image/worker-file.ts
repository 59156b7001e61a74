import { join } from "node:path";
import { bundledFile, isBundled } from "#host/bundled-file.ts";

/** The program of our worker threads: a source file, or what the build made of it. */
export function workerFile(): string {
  return isBundled ? bundledFile("unpack-worker.js") : join(import.meta.dirname, "unpack-worker.ts");
}

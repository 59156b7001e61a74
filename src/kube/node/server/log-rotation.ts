import { createReadStream, createWriteStream } from "node:fs";
import { readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import type { PodRuntime } from "#api/pod-runtime.ts";

export interface RotationOptions {
  /** Default 10 MiB. */
  maxBytes?: number;
  /** Files of one container, the current one included. Default 5. */
  maxFiles?: number;
}

const stampPattern = /^\d{8}-\d{6}(\.gz)?$/;

/**
 * Turns a container's log over when it has grown too large: the file is renamed with a time stamp, the
 * runtime opens a new one, older ones are compressed and the oldest deleted (kubelet, ContainerLogManager).
 * Returns true when it was turned over.
 */
export async function rotateLog(
  runtime: PodRuntime,
  containerId: string,
  path: string,
  now: number,
  options: RotationOptions = {},
): Promise<boolean> {
  const { maxBytes = 10 * 1024 * 1024, maxFiles = 5 } = options;
  const size = (await stat(path).catch(() => undefined))?.size ?? 0;
  if (size < maxBytes) return false;
  const folder = dirname(path);
  const prefix = `${basename(path)}.`;
  const all = await readdir(folder);
  for (const name of all.filter((one) => one.startsWith(prefix) && one.endsWith(".tmp"))) await rm(join(folder, name));
  const older = all.filter((name) => name.startsWith(prefix) && stampPattern.test(name.slice(prefix.length))).sort();
  // With the current file and the one it is about to become.
  for (const name of older.splice(0, Math.max(0, older.length - (maxFiles - 2)))) await rm(join(folder, name));
  for (const name of older.filter((one) => !one.endsWith(".gz"))) await compress(join(folder, name));
  const stamp = new Date(now).toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  await rename(path, `${path}.${stamp}`);
  try {
    await runtime.reopenContainerLog(containerId);
  } catch (error) {
    await rename(`${path}.${stamp}`, path);
    throw error;
  }
  return true;
}

async function compress(path: string): Promise<void> {
  const temporary = `${path}.tmp`;
  await pipeline(createReadStream(path), createGzip(), createWriteStream(temporary));
  await rename(temporary, `${path}.gz`);
  await rm(path);
}

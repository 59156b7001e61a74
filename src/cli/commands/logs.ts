import { closeSync, existsSync, openSync, readSync, statSync, watch } from "node:fs";
import { GantryError } from "#base/errors.ts";
import { type DaemonName, daemonNames, instancePaths } from "#daemon/instance-paths.ts";
import { requireInstance } from "../instance.ts";
import type { InstanceOptions } from "../instance-options.ts";

interface LogsOptions extends InstanceOptions {
  follow?: boolean;
  tail?: number;
}

const chunkBytes = 64 * 1024;

/** Where in the file the last `lines` lines begin. Reads backwards, so that a large log costs nothing. */
function offsetOfTail(fd: number, size: number, lines: number): number {
  if (lines <= 0) return size;
  const buffer = Buffer.alloc(chunkBytes);
  let seen = 0;
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - chunkBytes);
    readSync(fd, buffer, 0, end - start, start);
    for (let at = end - start - 1; at >= 0; at--) {
      if (buffer[at] !== 10 || start + at === size - 1) continue;
      seen++;
      if (seen === lines) return start + at + 1;
    }
    end = start;
  }
  return 0;
}

function copyFrom(fd: number, from: number): number {
  const buffer = Buffer.alloc(chunkBytes);
  let at = from;
  for (;;) {
    const read = readSync(fd, buffer, 0, chunkBytes, at);
    if (read === 0) return at;
    process.stdout.write(Buffer.from(buffer.subarray(0, read)));
    at += read;
  }
}

/** Prints the logs of the daemons, and follows them until interrupted. */
export async function logs(process_: string | undefined, options: LogsOptions): Promise<void> {
  if (process_ !== undefined && !daemonNames.includes(process_ as DaemonName)) {
    throw new GantryError("invalid", `There is no process "${process_}": say control or node.`);
  }
  const paths = instancePaths(requireInstance(options));
  const names = process_ === undefined ? daemonNames : [process_ as DaemonName];
  const files = names.map((name) => paths.log(name)).filter((path) => existsSync(path));
  if (files.length === 0) throw new GantryError("not-found", "Nothing has been logged yet: run `gantry up` first.");
  for (const path of files) {
    const fd = openSync(path, "r");
    let at = options.tail === undefined ? 0 : offsetOfTail(fd, statSync(path).size, options.tail);
    at = copyFrom(fd, at);
    if (!options.follow) {
      closeSync(fd);
      continue;
    }
    // Open watchers keep the process until ctrl-c.
    watch(path, () => {
      at = copyFrom(fd, at);
    });
  }
}

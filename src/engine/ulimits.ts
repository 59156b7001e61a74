import { GantryError } from "#base/errors.ts";

const names = new Set([
  "core",
  "cpu",
  "data",
  "fsize",
  "locks",
  "memlock",
  "msgqueue",
  "nice",
  "nofile",
  "nproc",
  "rss",
  "rtprio",
  "rttime",
  "sigpending",
  "stack",
]);

/** Throws `invalid` for a limit that the kernel does not know (setrlimit(2)). */
export function checkUlimitName(name: string): void {
  if (!names.has(name)) throw new GantryError("invalid", `invalid ulimit type: ${name}`);
}

import { readFileSync } from "node:fs";
import { GantryError } from "#base/errors.ts";

/** What mount(2) is given for a volume with driver options. */
export interface VolumeMount {
  type: string;
  source: string;
  flags: number;
  data: string;
}

/** Options that are flags of mount(2) (mount(8), "filesystem-independent mount options"): [clear, bits]. */
const flagWords: Readonly<Record<string, readonly [boolean, number]>> = {
  defaults: [false, 0],
  ro: [false, 1],
  rw: [true, 1],
  nosuid: [false, 2],
  suid: [true, 2],
  nodev: [false, 4],
  dev: [true, 4],
  noexec: [false, 8],
  exec: [true, 8],
  sync: [false, 16],
  async: [true, 16],
  dirsync: [false, 128],
  noatime: [false, 1024],
  atime: [true, 1024],
  nodiratime: [false, 2048],
  diratime: [true, 2048],
  bind: [false, 4096],
  rbind: [false, 4096 | 16384],
  relatime: [false, 1 << 21],
  norelatime: [true, 1 << 21],
  strictatime: [false, 1 << 24],
};

const known = new Set(["type", "device", "o", "size"]);

/**
 * Checks a local volume's driver options and splits them for mount(2). Undefined when there are none. Throws
 * `invalid` in docker's words, without the leading `create <name>: `.
 */
export function parseDriverOptions(options: Readonly<Record<string, string>>): VolumeMount | undefined {
  const keys = Object.keys(options);
  if (keys.length === 0) return undefined;
  const unknown = keys.find((key) => !known.has(key));
  if (unknown !== undefined) throw new GantryError("invalid", `invalid option: ${JSON.stringify(unknown)}`);
  if (options["size"] !== undefined) throw new GantryError("invalid", "quota size requested but no quota support");
  for (const needed of ["device", "type"])
    if (options[needed] === undefined) throw new GantryError("invalid", `missing required option: "${needed}"`);
  let flags = 0;
  const data: string[] = [];
  for (const word of (options["o"] ?? "").split(",").filter((each) => each !== "")) {
    const flag = flagWords[word];
    if (flag === undefined) data.push(word);
    else if (flag[0]) flags &= ~flag[1];
    else flags |= flag[1];
  }
  return { type: options["type"] ?? "", source: options["device"] ?? "", flags, data: data.join(",") };
}

/** True when this kernel can mount the file system now (filesystems(5)); `none` and bind mounts need none. */
export function kernelHas(type: string): boolean {
  return readFileSync("/proc/filesystems", "utf8")
    .split("\n")
    .some((line) => line.split("\t")[1] === type);
}

import { readFileSync } from "node:fs";
import { hasErrno } from "./errno.ts";
import { bind, check, cString } from "./libc.ts";

const p = "void *";
const mountCall = bind("mount", "int", [p, p, p, "ulong", p]);
const umount2 = bind("umount2", "int", [p, "int"]);

export const mountFlags = {
  readOnly: 1,
  noSuid: 2,
  noDev: 4,
  noExec: 8,
  remount: 32,
  noAtime: 1024,
  bind: 4096,
  recursive: 16384,
  unbindable: 1 << 17,
  private: 1 << 18,
  slave: 1 << 19,
  shared: 1 << 20,
  relatime: 1 << 21,
} as const;

/** mount(2). `flags` are of `mountFlags`. */
export function mount(source: string, target: string, type: string, flags = 0, data = ""): void {
  const result = mountCall(cString(source), cString(target), cString(type), flags, data === "" ? null : cString(data));
  check(result, "mount", { path: target, source, type });
}

export interface BindOptions {
  /** With the mounts below the source. */
  recursive?: boolean;
  readOnly?: boolean;
}

/** Makes `source` appear at `target`, which must exist and be of the same kind (folder or not). */
export function bindMount(source: string, target: string, options: BindOptions = {}): void {
  const flags = mountFlags.bind | (options.recursive === true ? mountFlags.recursive : 0);
  mount(source, target, "none", flags);
  if (options.readOnly === true) {
    try {
      mount("none", target, "none", mountFlags.bind | mountFlags.remount | mountFlags.readOnly);
    } catch (error) {
      unmount(target, { lazy: true });
      throw error;
    }
  }
}

export type Propagation = "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared";

/** Changes whether mounts made later at or below `target` travel to and from its copies. */
export function setPropagation(target: string, propagation: Propagation): void {
  const recursive = propagation.startsWith("r");
  const kind = (recursive ? propagation.slice(1) : propagation) as "private" | "slave" | "shared";
  mount("none", target, "none", mountFlags[kind] | (recursive ? mountFlags.recursive : 0));
}

export interface OverlayOptions {
  /** The top layer first, as in the kernel's option. */
  lower: readonly string[];
  /** Without it the mount is read-only. */
  upper?: string;
  work?: string;
  /** Further options, e.g. `["index=off"]`. */
  options?: readonly string[];
}

function escapeOverlay(path: string): string {
  return path.replace(/[\\:,]/g, "\\$&");
}

/**
 * Mounts an overlay. The kernel takes one page (4096 bytes) of options: with many layers pass short paths
 * relative to a working folder, or links.
 */
export function mountOverlay(target: string, overlay: OverlayOptions): void {
  const words = [`lowerdir=${overlay.lower.map(escapeOverlay).join(":")}`];
  if (overlay.upper !== undefined && overlay.work !== undefined) {
    words.push(`upperdir=${escapeOverlay(overlay.upper)}`, `workdir=${escapeOverlay(overlay.work)}`);
  }
  mount("overlay", target, "overlay", 0, [...words, ...(overlay.options ?? [])].join(","));
}

/** Mounts a tmpfs with options such as `size=64m,mode=1777`. */
export function mountTmpfs(target: string, options = "", flags = 0): void {
  mount("tmpfs", target, "tmpfs", flags, options);
}

/**
 * Unmounts what is on top at `target`. `lazy` takes it out of sight at once and lets it go when its last user
 * does. Throws `EINVAL` when nothing is mounted there, `EBUSY` (`conflict`) when it is in use.
 */
export function unmount(target: string, options: { lazy?: boolean } = {}): void {
  const noFollow = 8;
  check(umount2(cString(target), noFollow | (options.lazy === true ? 2 : 0)), "umount2", { path: target });
}

/** `unmount` that does not mind when nothing is mounted there. True when something was. */
export function unmountIfMounted(target: string): boolean {
  try {
    unmount(target, { lazy: true });
    return true;
  } catch (error) {
    if (hasErrno(error, "EINVAL", "ENOENT")) return false;
    throw error;
  }
}

/** One line of /proc/<pid>/mountinfo (proc(5)). */
export interface MountInfo {
  id: number;
  parentId: number;
  /** `major:minor`. */
  device: string;
  /** The folder of the file system that is mounted. */
  root: string;
  target: string;
  options: string[];
  /** `shared:3`, `master:2`… */
  propagation: string[];
  type: string;
  source: string;
  superOptions: string[];
}

function unescapeMountinfo(text: string): string {
  if (!text.includes("\\")) return text;
  return text.replace(/\\([0-7]{3})/g, (_all, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Parses the text of a mountinfo file. */
export function parseMountinfo(text: string): MountInfo[] {
  const mounts: MountInfo[] = [];
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const [before = "", after = ""] = line.split(" - ") as [string, string];
    const head = before.split(" ");
    const tail = after.split(" ");
    mounts.push({
      id: Number(head[0]),
      parentId: Number(head[1]),
      device: head[2] ?? "",
      root: unescapeMountinfo(head[3] ?? ""),
      target: unescapeMountinfo(head[4] ?? ""),
      options: (head[5] ?? "").split(","),
      propagation: head.slice(6),
      type: tail[0] ?? "",
      source: unescapeMountinfo(tail[1] ?? ""),
      superOptions: (tail[2] ?? "").split(","),
    });
  }
  return mounts;
}

/** The mounts that a process sees, in mount order. */
export function listMounts(pid: number | "self" = "self"): MountInfo[] {
  return parseMountinfo(readFileSync(`/proc/${pid}/mountinfo`, "utf8"));
}

/** True when something is mounted exactly at `target`. */
export function isMounted(target: string): boolean {
  return listMounts().some((entry) => entry.target === target);
}

/** The mount that `path` (absolute, without links) lies on. */
export function mountOf(path: string, mounts = listMounts()): MountInfo | undefined {
  let best: MountInfo | undefined;
  for (const entry of mounts) {
    const inside = entry.target === "/" || path === entry.target || path.startsWith(`${entry.target}/`);
    if (inside && (best === undefined || entry.target.length >= best.target.length)) best = entry;
  }
  return best;
}

/** Unmounts everything at and below `folder`, deepest and latest first. Returns how many there were. */
export function unmountBelow(folder: string): number {
  const targets = listMounts()
    .map((entry) => entry.target)
    .filter((target) => target === folder || target.startsWith(`${folder}/`))
    .reverse();
  let count = 0;
  for (const target of targets) if (unmountIfMounted(target)) count++;
  return count;
}

import { lstatSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { GantryError } from "#base/errors.ts";
import { closeFd } from "./descriptors.ts";
import {
  type Path,
  bind,
  bindInThread,
  check,
  cString,
  errnoName,
  lastErrno,
  rawSyscall,
  syscallNumbers,
} from "./libc.ts";

const pointer = "void *";
const mountCall = bind("mount", "int", [pointer, pointer, pointer, "ulong", pointer]);
const umountCall = bind("umount2", "int", [pointer, "int"]);
const umountInThread = bindInThread("umount2", "int", [pointer, "int"]);

/** mount(2) flags. */
export const mountFlags = {
  readOnly: 1,
  noSuid: 2,
  noDev: 4,
  noExec: 8,
  remount: 32,
  bind: 4096,
  recursive: 16384,
  unbindable: 1 << 17,
  private: 1 << 18,
  slave: 1 << 19,
  shared: 1 << 20,
} as const;

const detach = 2;

export interface MountRequest {
  source: string;
  target: string;
  /** `overlay`, `tmpfs`, `nfs`; empty for bind mounts and changes of propagation. */
  type?: string;
  flags?: number;
  data?: string;
}

/** mount(2). Throws with the kernel's errno in `data.errno`. */
export function mount({ source, target, type, flags = 0, data }: MountRequest): void {
  const result = mountCall(
    cString(source),
    cString(target),
    type === undefined ? null : cString(type),
    flags,
    data === undefined ? null : cString(data),
  );
  check(result, "mount", { path: target, source });
}

/** Makes `target` show what `source` shows; read-only needs a second call, as the kernel wants it. */
export function bindMount(
  source: string,
  target: string,
  options: { readOnly?: boolean; recursive?: boolean } = {},
): void {
  const recursive = options.recursive ? mountFlags.recursive : 0;
  mount({ source, target, flags: mountFlags.bind | recursive });
  if (options.readOnly)
    mount({ source: "none", target, flags: mountFlags.bind | mountFlags.remount | mountFlags.readOnly });
}

/** Sets how mounts below a mount point travel between namespaces. */
export function setPropagation(target: string, propagation: "private" | "shared" | "slave", recursive = false): void {
  mount({ source: "none", target, flags: mountFlags[propagation] | (recursive ? mountFlags.recursive : 0) });
}

/**
 * umount2(2), detached from the tree at once even when busy. False when nothing was mounted there.
 */
export function unmount(target: Path): boolean {
  try {
    check(umountCall(cString(target), detach), "umount", { path: String(target) });
    return true;
  } catch (error) {
    const errno = (error as { data?: { errno?: string } }).data?.errno;
    if (errno === "EINVAL" || errno === "ENOENT") return false;
    throw error;
  }
}

const here = -100;
const openTree = { clone: 1, closeOnExec: 0o2000000, recursive: 0x8000 } as const;
const emptyPath = 4;

/**
 * A copy of the mount at `source` and, when asked for, of those below it, as this namespace sees them: mounted nowhere
 * yet (open_tree(2), Linux 5.2). Returns a descriptor that holds it. Throws `not-found` when nothing is there.
 */
export function cloneMount(source: string, recursive: boolean): number {
  const flags = openTree.clone | openTree.closeOnExec | (recursive ? openTree.recursive : 0);
  return check(rawSyscall(syscallNumbers.openTree, "lpl", here, cString(source), flags), "open_tree", { path: source });
}

/** Mounts what `cloneMount` gave, in the namespace where the thread is (move_mount(2)). The descriptor stays open. */
export function attachMount(fd: number, target: string): void {
  const result = rawSyscall(syscallNumbers.moveMount, "lplpl", fd, cString(""), here, cString(target), emptyPath);
  check(result, "move_mount", { path: target });
}

let mountAttributes: boolean | undefined;

/** True where mount_setattr(2) is there: since Linux 5.12. */
export function canSetMountAttributes(): boolean {
  // No such descriptor: EBADF where the call is known.
  mountAttributes ??=
    rawSyscall(syscallNumbers.mountSetattr, "lplpl", -1, cString("x"), 0, Buffer.alloc(32), 32) === 0 ||
    errnoName(lastErrno()) !== "ENOSYS";
  return mountAttributes;
}

/** True when another file system, such as an overlay, is mounted at this path. Not for bind mounts of the same one. */
export function isMountPoint(path: string): boolean {
  const here = lstatSync(path, { throwIfNoEntry: false });
  return here !== undefined && here.dev !== lstatSync(dirname(path)).dev;
}

/** How many mounts on top of each other are taken away at most. */
const highestStack = 16;

/**
 * umount2(2) for a file system that ends with it, which may write to the disk for long: an overlay has the whole file
 * system below it written. Done in another thread; quiet when nothing is mounted there.
 */
export async function unmountFileSystem(path: string): Promise<void> {
  for (let count = 0; count < highestStack && isMountPoint(path); count++) {
    // When the thread could not do it, this tells why.
    if ((await umountInThread(cString(path), detach)) !== 0) unmount(path);
  }
}

/** AT_EMPTY_PATH: the descriptor itself is meant. */
const itself = 0x1000;
const idmapAttribute = 0x100000n;

/**
 * Makes `target` show what `source` shows with other owners: the ids on disk are ids of the user namespace, seen from
 * the machine (mount_setattr(2), MOUNT_ATTR_IDMAP). Mounts below are left out unless `recursive`, and then all of
 * them must take it. Throws with errno EINVAL where a file system cannot, ENOSYS before Linux 5.12.
 */
export function idmappedMount(
  source: string,
  target: string,
  userNamespace: number,
  { recursive = false }: { recursive?: boolean } = {},
): void {
  const tree = cloneMount(source, recursive);
  try {
    const attributes = Buffer.alloc(32);
    attributes.writeBigUInt64LE(idmapAttribute, 0);
    attributes.writeBigUInt64LE(BigInt(mountFlags.private), 16);
    attributes.writeBigUInt64LE(BigInt(userNamespace), 24);
    const flags = itself | (recursive ? openTree.recursive : 0);
    check(
      rawSyscall(syscallNumbers.mountSetattr, "lplpl", tree, cString(""), flags, attributes, attributes.length),
      "mount_setattr",
      { path: source },
    );
    attachMount(tree, target);
  } finally {
    closeFd(tree);
  }
}

/** One line of /proc/self/mountinfo (proc(5)). */
export interface MountInfo {
  id: number;
  parent: number;
  root: string;
  target: string;
  type: string;
  source: string;
  options: string;
  shared: boolean;
  /** Gets what is mounted in a group elsewhere. */
  slave: boolean;
}

const unescape = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

/** All mounts that a process (default: we) sees, in the order they were made. */
export function listMounts(pid: number | "self" = "self"): MountInfo[] {
  return readFileSync(`/proc/${pid}/mountinfo`, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => {
      const [before, after] = line.split(" - ") as [string, string];
      const fields = before.split(" ");
      const [type, source] = after.split(" ");
      return {
        id: Number(fields[0]),
        parent: Number(fields[1]),
        root: unescape(fields[3] as string),
        target: unescape(fields[4] as string),
        options: fields[5] as string,
        shared: fields.slice(6).some((field) => field.startsWith("shared:")),
        slave: fields.slice(6).some((field) => field.startsWith("master:")),
        type: type as string,
        source: unescape(source ?? ""),
      };
    });
}

/** The mount that a path is on. The path must not lead over links. */
export function mountOf(path: string): MountInfo {
  const all = listMounts();
  for (let at = path; ; at = dirname(at)) {
    // Of several on one place the last one is on top.
    const found = all.findLast(({ target }) => target === at);
    if (found !== undefined) return found;
    if (at === dirname(at)) throw new GantryError("not-found", `${path} is on no mount`);
  }
}

/** True when something is mounted at exactly this path. */
export function isMounted(target: string): boolean {
  return listMounts().some((mounted) => mounted.target === target);
}

import { type Path, bind, check, cString, errnoName, lastErrno, rawSyscall, syscallNumbers, systemError } from "./libc.ts";
import { type Signal, signalNumber } from "./pidfd.ts";

const p = "void *";
const atFdcwd = -100;
const atSymlinkNofollow = 0x100;

const killCall = bind("kill", "int", ["int", "int"]);
const mknodCall = bind("mknod", "int", [p, "uint", "uint64_t"]);
const mkfifoCall = bind("mkfifo", "int", [p, "uint"]);
const lchownCall = bind("lchown", "int", [p, "uint", "uint"]);
const utimensatCall = bind("utimensat", "int", ["int", p, p, "int"]);
const lsetxattrCall = bind("lsetxattr", "int", [p, p, p, "size_t", "int"]);
const lgetxattrCall = bind("lgetxattr", "long", [p, p, p, "size_t"]);
const llistxattrCall = bind("llistxattr", "long", [p, p, "size_t"]);
const lremovexattrCall = bind("lremovexattr", "int", [p, p]);
const sethostnameCall = bind("sethostname", "int", [p, "size_t"]);
const ioctlCall = bind("ioctl", "int", ["int", "ulong", p]);
const prctlCall = bind("prctl", "int", ["int", "ulong", "ulong", "ulong", "ulong"]);
const renameat2Call = bind("renameat2", "int", ["int", p, "int", p, "uint"]);

function shown(path: Path): string {
  return typeof path === "string" ? path : Buffer.from(path).toString("utf8");
}

/** Sends a signal to a process, or to a process group when `pid` is negative. False when there is none. */
export function kill(pid: number, signal: Signal): boolean {
  if (killCall(pid, signalNumber(signal)) === 0) return true;
  const errno = lastErrno();
  if (errnoName(errno) === "ESRCH") return false;
  throw systemError("kill", errno, { pid });
}

/** True while a process has this pid (a zombie counts). */
export function processExists(pid: number): boolean {
  return pid > 0 && (killCall(pid, 0) === 0 || errnoName(lastErrno()) === "EPERM");
}

/** The kernel's number of a device (gnu_dev_makedev). */
export function deviceNumber(major: number, minor: number): bigint {
  const big = BigInt(major);
  const small = BigInt(minor);
  return ((big & 0xfffff000n) << 32n) | ((big & 0xfffn) << 8n) | ((small & 0xffffff00n) << 12n) | (small & 0xffn);
}

/** Major and minor of a `stat.rdev`. */
export function splitDevice(device: bigint | number): { major: number; minor: number } {
  const value = BigInt(device);
  return {
    major: Number(((value >> 32n) & 0xfffff000n) | ((value >> 8n) & 0xfffn)),
    minor: Number(((value >> 12n) & 0xffffff00n) | (value & 0xffn)),
  };
}

/** Makes a device node; `mode` holds the type bits (S_IFCHR 0o020000, S_IFBLK 0o060000). */
export function mknod(path: Path, mode: number, major: number, minor: number): void {
  check(mknodCall(cString(path), mode, deviceNumber(major, minor)), "mknod", { path: shown(path) });
}

export function mkfifo(path: Path, mode: number): void {
  check(mkfifoCall(cString(path), mode), "mkfifo", { path: shown(path) });
}

/** Changes the owner of a file or of the link itself. */
export function lchown(path: Path, uid: number, gid: number): void {
  check(lchownCall(cString(path), uid, gid), "lchown", { path: shown(path) });
}

export interface Timestamp {
  seconds: number | bigint;
  nanoseconds: number;
}

/** Sets the times of a file, or of the link itself. */
export function lutimes(path: Path, accessed: Timestamp, modified: Timestamp): void {
  const times = Buffer.alloc(32);
  times.writeBigInt64LE(BigInt(accessed.seconds), 0);
  times.writeBigInt64LE(BigInt(accessed.nanoseconds), 8);
  times.writeBigInt64LE(BigInt(modified.seconds), 16);
  times.writeBigInt64LE(BigInt(modified.nanoseconds), 24);
  check(utimensatCall(atFdcwd, cString(path), times, atSymlinkNofollow), "utimensat", { path: shown(path) });
}

/** Sets an extended attribute of a file, or of the link itself, to raw bytes. */
export function lsetxattr(path: Path, name: Path, value: Uint8Array): void {
  // koffi takes an empty array for NULL, which the kernel reads as "no value" just as well.
  const result = lsetxattrCall(cString(path), cString(name), value.length === 0 ? null : value, value.length, 0);
  check(result, "lsetxattr", { path: shown(path), name: shown(name) });
}

/** An extended attribute's bytes; undefined when it is not set. */
export function lgetxattr(path: Path, name: Path): Buffer | undefined {
  for (let size = 256; ; size = 65536) {
    const value = Buffer.alloc(size);
    const length = lgetxattrCall(cString(path), cString(name), value, size);
    if (length >= 0) return value.subarray(0, length);
    const errno = lastErrno();
    const reason = errnoName(errno);
    if (reason === "ENODATA" || reason === "EOPNOTSUPP") return undefined;
    if (reason !== "ERANGE" || size === 65536) throw systemError("lgetxattr", errno, { path: shown(path) });
  }
}

/** The names of all extended attributes. */
export function llistxattr(path: Path): string[] {
  for (let size = 1024; ; size = 65536) {
    const names = Buffer.alloc(size);
    const length = llistxattrCall(cString(path), names, size);
    if (length >= 0) return names.subarray(0, length).toString("latin1").split("\0").slice(0, -1);
    const errno = lastErrno();
    if (errnoName(errno) === "EOPNOTSUPP") return [];
    if (errnoName(errno) !== "ERANGE" || size === 65536) throw systemError("llistxattr", errno, { path: shown(path) });
  }
}

export function lremovexattr(path: Path, name: Path): void {
  check(lremovexattrCall(cString(path), cString(name)), "lremovexattr", { path: shown(path), name: shown(name) });
}

export interface Openat2Options {
  /** open(2) flags, e.g. `constants.O_RDONLY`. O_CLOEXEC is added. */
  flags: number;
  mode?: number;
  /** `in-root`: links and `..` are resolved as if the folder were `/`. `beneath`: whatever leaves it is refused. */
  resolve: "in-root" | "beneath";
  /** Refuse symbolic links anywhere in the path. */
  noLinks?: boolean;
}

/** Opens a path that cannot leave the folder behind `folderFd` (openat2(2)). Returns a descriptor to close. */
export function openInside(folderFd: number, path: Path, options: Openat2Options): number {
  const how = Buffer.alloc(24);
  how.writeBigUInt64LE(BigInt(options.flags | 0o2000000), 0);
  how.writeBigUInt64LE(BigInt(options.mode ?? 0), 8);
  const resolveBits = (options.resolve === "in-root" ? 0x10 : 0x08) | 0x02 | (options.noLinks === true ? 0x04 : 0);
  how.writeBigUInt64LE(BigInt(resolveBits), 16);
  const result = rawSyscall(syscallNumbers.openat2, "lppl", folderFd, cString(path), how, how.length);
  return check(result, "openat2", { path: shown(path) });
}

export function sethostname(name: string): void {
  check(sethostnameCall(Buffer.from(name), Buffer.byteLength(name)), "sethostname");
}

/** Sets a terminal's size (TIOCSWINSZ); the kernel tells its foreground programs with SIGWINCH. */
export function setTerminalSize(fd: number, columns: number, rows: number): void {
  const size = Buffer.alloc(8);
  size.writeUInt16LE(rows, 0);
  size.writeUInt16LE(columns, 2);
  check(ioctlCall(fd, 0x5414, size), "ioctl");
}

/** Makes this process the parent of its orphaned descendants (PR_SET_CHILD_SUBREAPER). */
export function setChildSubreaper(on: boolean): void {
  check(prctlCall(36, on ? 1 : 0, 0, 0, 0), "prctl");
}

export type RenameMode = "no-replace" | "exchange";

/** rename(2) that refuses to replace (`already-exists`), or swaps two names in one step. */
export function renameSpecial(from: Path, to: Path, mode: RenameMode): void {
  const flags = mode === "no-replace" ? 1 : 2;
  check(renameat2Call(atFdcwd, cString(from), atFdcwd, cString(to), flags), "renameat2", { path: shown(to) });
}

import { type Path, bind, cString, check, lastErrno, errnoName, systemError } from "./libc.ts";

const pointer = "void *";
const mknodCall = bind("mknod", "int", [pointer, "uint32", "uint64"]);
const lsetxattrCall = bind("lsetxattr", "int", [pointer, pointer, pointer, "size_t", "int"]);
const lgetxattrCall = bind("lgetxattr", "long", [pointer, pointer, pointer, "size_t"]);
const llistxattrCall = bind("llistxattr", "long", [pointer, pointer, "size_t"]);
const lremovexattrCall = bind("lremovexattr", "int", [pointer, pointer]);

/** File types for `makeNode` (stat(2), S_IFMT). */
export const nodeTypes = { fifo: 0o010000, character: 0o020000, block: 0o060000, socket: 0o140000 } as const;

/** glibc's encoding of a device number (makedev(3)). */
export function makeDevice(major: number, minor: number): bigint {
  const high = BigInt(major);
  const low = BigInt(minor);
  return ((high & 0xfffff000n) << 32n) | ((high & 0xfffn) << 8n) | ((low & 0xffffff00n) << 12n) | (low & 0xffn);
}

/** The reverse of `makeDevice`, for `stat().rdev`. */
export function splitDevice(device: bigint): { major: number; minor: number } {
  return {
    major: Number(((device >> 32n) & 0xfffff000n) | ((device >> 8n) & 0xfffn)),
    minor: Number(((device >> 12n) & 0xffffff00n) | (device & 0xffn)),
  };
}

/** mknod(2). `mode` holds type and permissions. */
export function makeNode(path: Path, mode: number, device = 0n): void {
  check(mknodCall(cString(path), mode, device), "mknod", { path: String(path) });
}

/** lsetxattr(2): the attribute of the link itself. */
export function setXattr(path: Path, name: string, value: Uint8Array): void {
  check(
    lsetxattrCall(cString(path), cString(name), value.length === 0 ? Buffer.alloc(1) : value, value.length, 0),
    "lsetxattr",
    { path: String(path), name },
  );
}

export function removeXattr(path: Path, name: string): void {
  check(lremovexattrCall(cString(path), cString(name)), "lremovexattr", { path: String(path), name });
}

/** lgetxattr(2), or undefined when the file has no such attribute. */
export function getXattr(path: Path, name: string): Buffer | undefined {
  let buffer = Buffer.alloc(256);
  for (;;) {
    const length = lgetxattrCall(cString(path), cString(name), buffer, buffer.length);
    if (length >= 0) return buffer.subarray(0, length);
    const errno = errnoName(lastErrno());
    if (errno === "ENODATA" || errno === "EOPNOTSUPP") return undefined;
    if (errno !== "ERANGE" || buffer.length > 1 << 20)
      throw systemError("lgetxattr", lastErrno(), { path: String(path), name });
    buffer = Buffer.alloc(buffer.length * 16);
  }
}

/** The names of all extended attributes; none where the file system has none. */
export function listXattrs(path: Path): string[] {
  let buffer = Buffer.alloc(1024);
  for (;;) {
    const length = llistxattrCall(cString(path), buffer, buffer.length);
    if (length === 0) return [];
    if (length > 0) return buffer.toString("utf8", 0, length - 1).split("\0");
    const errno = errnoName(lastErrno());
    if (errno === "EOPNOTSUPP") return [];
    if (errno !== "ERANGE" || buffer.length > 1 << 20)
      throw systemError("llistxattr", lastErrno(), { path: String(path) });
    buffer = Buffer.alloc(buffer.length * 16);
  }
}

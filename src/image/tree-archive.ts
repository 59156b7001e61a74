import {
  type BigIntStats,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readSync,
  readdirSync,
  readlinkSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { getXattr, listXattrs, splitDevice } from "#host/file-metadata.ts";
import { type FileOwner, type IdMapping, mappedRoot, overflowId, toContainerId } from "#base/id-mapping.ts";
import { capabilityXattr, withoutRootId } from "./file-capabilities.ts";
import { type TarType, encodeHeader, padding } from "./tar-header.ts";
import { encodeEntry, endOfArchive, tarEntry } from "./tar-writer.ts";
import { isWhiteout, opaqueXattr } from "./whiteout.ts";

export interface TreeArchiveOptions {
  /**
   * The root's own name in the archive, without a slash at its end; what is below stands below it. Undefined:
   * the root is left out and names are relative to it.
   */
  rootName?: string;
  /** `layer`: overlayfs' whiteouts and opaque folders become `.wh.` entries. `plain`: everything as it is. */
  kind: "layer" | "plain";
  /** Paths relative to the root (without a leading slash) that are left out. */
  exclude?: (path: string) => boolean;
  /** Touches files by synchronous calls alone, for a thread with a root of its own. */
  blocking?: boolean;
  /** The archive gets the ids inside this user namespace for those outside, which files have here. */
  mapping?: IdMapping;
}

const flushBytes = 1 << 18;
const readBytes = 1 << 18;
/** Files up to here are read at once: a trip through the thread pool costs more than the read. */
const smallBytes = 1 << 16;
const openFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

function typeOf(stats: BigIntStats): TarType | undefined {
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "directory";
  if (stats.isSymbolicLink()) return "symlink";
  if (stats.isCharacterDevice()) return "character";
  if (stats.isBlockDevice()) return "block";
  return stats.isFIFO() ? "fifo" : undefined;
}

function xattrsOf(path: string): Map<string, Buffer> {
  const out = new Map<string, Buffer>();
  for (const name of listXattrs(path).sort()) {
    // trusted.* is the kernel's own (overlayfs), security.selinux belongs to this machine.
    if (name.startsWith("trusted.") || name === "security.selinux") continue;
    const value = getXattr(path, name);
    if (value !== undefined) out.set(name, value);
  }
  return out;
}

/** A file's content from its open handle: exactly `size` bytes, whatever happens to the file meanwhile. */
async function* contentOf(file: FileHandle, size: number): AsyncGenerator<Buffer> {
  let left = size;
  while (left > 0) {
    const chunk = Buffer.allocUnsafe(Math.min(left, readBytes));
    const { bytesRead } = await file.read(chunk, 0, chunk.length, null);
    if (bytesRead === 0) {
      // It was cut while we read: the header has promised its size.
      for (; left > 0; left -= Math.min(left, readBytes)) yield Buffer.alloc(Math.min(left, readBytes));
      return;
    }
    left -= bytesRead;
    yield chunk.subarray(0, bytesRead);
  }
}

/** The next bytes of a file, filled up with zeros at its end. */
function readFrom(fd: number, size: number): Buffer {
  const content = Buffer.alloc(size);
  for (let at = 0; at < size;) {
    const count = readSync(fd, content, at, size - at, null);
    if (count === 0) break;
    at += count;
  }
  return content;
}

function readSmall(path: string, size: number): Buffer {
  const fd = openSync(path, openFlags);
  try {
    return readFrom(fd, size);
  } finally {
    closeSync(fd);
  }
}

const isGone = (error: unknown): boolean =>
  ["ENOENT", "ELOOP", "ENXIO"].includes((error as NodeJS.ErrnoException).code ?? "");

/** One walk over a folder; hard links to a file that is in the archive already become links. */
class TreeWalk {
  readonly #options: TreeArchiveOptions;
  readonly #links = new Map<string, string>();

  constructor(options: TreeArchiveOptions) {
    this.#options = options;
  }

  #owner(stats: BigIntStats): FileOwner {
    const [uid, gid] = [Number(stats.uid), Number(stats.gid)];
    const { mapping } = this.#options;
    if (mapping === undefined) return { uid, gid };
    // As the container sees what is none of its ids.
    return { uid: toContainerId(mapping.uids, uid) ?? overflowId, gid: toContainerId(mapping.gids, gid) ?? overflowId };
  }

  #xattrs(path: string): Map<string, Buffer> {
    const xattrs = xattrsOf(path);
    const { mapping } = this.#options;
    const capability = mapping === undefined ? undefined : xattrs.get(capabilityXattr);
    if (mapping !== undefined && capability !== undefined)
      xattrs.set(capabilityXattr, withoutRootId(capability, mappedRoot(mapping).uid));
    return xattrs;
  }

  async *entry(path: string, relative: string, name: string | undefined): AsyncGenerator<Buffer> {
    if (relative !== "" && this.#options.exclude?.(relative)) return;
    const stats = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    const type = stats === undefined ? undefined : typeOf(stats);
    if (stats === undefined || type === undefined) return;
    if (this.#options.kind === "layer" && name !== undefined && isWhiteout(stats)) {
      const slash = name.lastIndexOf("/") + 1;
      yield encodeEntry({
        name: `${name.slice(0, slash)}.wh.${name.slice(slash)}`,
        type: "file",
        mode: 0,
        mtime: seconds(stats),
      });
      return;
    }
    if (name !== undefined) yield* this.#one(path, name, type, stats);
    if (type !== "directory") return;
    const below = name === undefined ? "" : name === "/" ? "/" : `${name}/`;
    if (this.#options.kind === "layer" && getXattr(path, opaqueXattr)?.toString() === "y")
      yield encodeEntry({ name: `${below}.wh..wh..opq`, type: "file", mode: 0, mtime: seconds(stats) });
    let names: string[];
    try {
      names = readdirSync(path).sort();
    } catch (error) {
      if (isGone(error)) return;
      throw error;
    }
    for (const child of names)
      yield* this.entry(join(path, child), relative === "" ? child : `${relative}/${child}`, `${below}${child}`);
  }

  async *#one(path: string, name: string, type: TarType, stats: BigIntStats): AsyncGenerator<Buffer> {
    const key = `${stats.dev}:${stats.ino}`;
    const common = {
      name: type === "directory" && name !== "/" ? `${name}/` : name,
      mode: Number(stats.mode) & 0o7777,
      ...this.#owner(stats),
      mtime: seconds(stats),
    };
    if (type !== "directory" && stats.nlink > 1n) {
      const first = this.#links.get(key);
      if (first !== undefined) {
        yield encodeEntry({ ...common, type: "link", linkname: first });
        return;
      }
    }
    try {
      const device = splitDevice(type === "character" || type === "block" ? stats.rdev : 0n);
      const entry = tarEntry({
        ...common,
        type,
        size: type === "file" ? Number(stats.size) : 0,
        linkname: type === "symlink" ? readlinkSync(path) : "",
        devmajor: device.major,
        devminor: device.minor,
        xattrs: this.#xattrs(path),
      });
      if (type === "file" && entry.size > smallBytes && this.#options.blocking) {
        const fd = openSync(path, openFlags);
        try {
          yield encodeHeader(entry);
          for (let left = entry.size; left > 0;) {
            const chunk = readFrom(fd, Math.min(left, readBytes));
            left -= chunk.length;
            yield chunk;
          }
          yield padding(entry.size);
        } finally {
          closeSync(fd);
        }
      } else if (type === "file" && entry.size > smallBytes) {
        const file = await open(path, openFlags);
        try {
          yield encodeHeader(entry);
          yield* contentOf(file, entry.size);
          yield padding(entry.size);
        } finally {
          await file.close();
        }
      } else if (type === "file") {
        yield Buffer.concat([encodeHeader(entry), readSmall(path, entry.size), padding(entry.size)]);
      } else {
        yield encodeHeader(entry);
      }
    } catch (error) {
      // Removed between the listing and now, in a container that runs: as if we had come later.
      if (isGone(error)) return;
      throw error;
    }
    if (type !== "directory" && stats.nlink > 1n) this.#links.set(key, common.name);
  }
}

/** docker cuts times in archives to whole seconds. */
function seconds(stats: BigIntStats): number {
  return Number(stats.mtimeNs / 1_000_000_000n);
}

/**
 * Writes a folder (or a single file) as a tar archive, in the order of names, so that the same tree gives the
 * same bytes. Holds owners, modes, times in seconds, links, hard links, devices, fifos and extended attributes;
 * sockets are left out. Chunks are some 256 KB.
 */
export async function* archiveTree(root: string, options: TreeArchiveOptions): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let bytes = 0;
  let flushes = 0;
  for await (const part of new TreeWalk(options).entry(root, "", options.rootName)) {
    parts.push(part);
    bytes += part.length;
    if (bytes < flushBytes) continue;
    yield parts.length === 1 ? part : Buffer.concat(parts);
    parts = [];
    bytes = 0;
    if (++flushes % 4 === 0) await turn();
  }
  yield Buffer.concat([...parts, endOfArchive()]);
}

import { createHash } from "node:crypto";
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  futimesSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { GantryError } from "#base/errors.ts";
import type { Digest } from "#base/ids.ts";
import { makeDevice, makeNode, nodeTypes, setXattr } from "#host/file-metadata.ts";
import { type FileOwner, type IdMapping, mappedRoot, toHostId } from "#base/id-mapping.ts";
import { finish } from "./digest.ts";
import { capabilityXattr, withRootId } from "./file-capabilities.ts";
import { RootedPaths, partsOf } from "#host/rooted-path.ts";
import type { TarEntry } from "./tar-header.ts";
import { type TarContentSink, TarReader } from "./tar-reader.ts";
import { opaqueMarker, opaqueXattr, whiteoutPrefix } from "./whiteout.ts";

export interface UnpackLimits {
  /** Bytes of content in all. */
  maxBytes: number;
  maxEntries: number;
}

export const defaultUnpackLimits: UnpackLimits = { maxBytes: 256 * 2 ** 30, maxEntries: 5_000_000 };

export interface UnpackOptions {
  /** An existing, empty folder. */
  target: string;
  /**
   * `layer`: whiteouts become what overlayfs reads as such. `archive`: names are taken as they are (import,
   * cp).
   */
  kind: "layer" | "archive";
  /** Below which folder of the target the names stand, for `docker cp`: `["var", "lib"]`. It exists. */
  base?: readonly string[];
  /** A folder and something else never replace each other (docker cp). Default: only a full folder stays. */
  keepKinds?: boolean;
  /** Everything belongs to this user and group, whatever the archive says. */
  owner?: { uid: number; gid: number };
  /** The archive's ids are those inside this user namespace; files get the ones outside. */
  mapping?: IdMapping;
  limits?: UnpackLimits;
}

export interface UnpackResult {
  /** Digest of the uncompressed archive: the DiffID. */
  diffId: Digest;
  /** Bytes of content. */
  size: number;
  entries: number;
}

/**
 * Writes an archive's entries below a folder, synchronously: meant for a worker thread. Nothing is ever
 * written outside the folder, whatever names and links the archive holds.
 */
export class Unpacker {
  readonly #options: UnpackOptions;
  readonly #paths: RootedPaths;
  readonly #reader: TarReader;
  readonly #hash = createHash("sha256");
  readonly #limits: UnpackLimits;
  readonly #base: readonly string[];
  /** Folders get their times last: writing into them changes them. */
  readonly #folderTimes = new Map<string, number>();
  #bytes = 0;
  #entries = 0;

  constructor(options: UnpackOptions) {
    this.#options = options;
    this.#base = options.base ?? [];
    this.#limits = options.limits ?? defaultUnpackLimits;
    this.#paths = new RootedPaths(options.target);
    this.#reader = new TarReader((entry) => this.#entry(entry));
  }

  push(chunk: Buffer): void {
    this.#hash.update(chunk);
    this.#reader.push(chunk);
  }

  /** To be called in the end, whatever it was. */
  close(): void {
    this.#reader.close();
  }

  finish(): UnpackResult {
    this.#reader.end();
    for (const [path, mtime] of this.#folderTimes) utimesSync(path, mtime, mtime);
    return { diffId: finish(this.#hash), size: this.#bytes, entries: this.#entries };
  }

  #entry(entry: TarEntry): TarContentSink | undefined {
    this.#entries++;
    this.#bytes += entry.size;
    if (this.#entries > this.#limits.maxEntries)
      throw new GantryError("too-large", `the archive has more than ${this.#limits.maxEntries} entries`);
    if (this.#bytes > this.#limits.maxBytes)
      throw new GantryError("too-large", `the archive unpacks to more than ${this.#limits.maxBytes} bytes`);
    const parts = this.#partsOf(entry.name);
    const name = parts[parts.length - 1] ?? "";
    if (this.#options.kind === "layer" && name.startsWith(whiteoutPrefix)) {
      this.#whiteout(parts, name);
      return undefined;
    }
    // Refused before anything is made.
    this.#owner(entry);
    const path = this.#paths.locate(parts, true);
    if (parts.length > this.#base.length) this.#makeRoom(path, entry);
    else if (entry.type !== "directory" || this.#base.length > 0) return undefined;
    switch (entry.type) {
      case "file":
        return this.#file(path, entry);
      case "directory":
        this.#folder(path, entry);
        return undefined;
      case "link":
        this.#link(path, entry);
        return undefined;
      case "symlink":
        this.#checkSymlink(parts, entry);
        symlinkSync(entry.linkname, path);
        break;
      case "character":
      case "block":
        makeNode(path, nodeTypes[entry.type] | entry.mode, makeDevice(entry.devmajor, entry.devminor));
        break;
      case "fifo":
        makeNode(path, nodeTypes.fifo | entry.mode);
        break;
    }
    this.#own(path, entry);
    if (entry.type !== "symlink") chmodSync(path, entry.mode);
    this.#xattrs(path, entry);
    lutimesSync(path, entry.mtime, entry.mtime);
    return undefined;
  }

  #partsOf(name: string): string[] {
    return [...this.#base, ...partsOf(name)];
  }

  #whiteout(parts: readonly string[], name: string): void {
    const folder = dirname(this.#paths.locate(parts, true));
    if (name === opaqueMarker) {
      setXattr(folder, opaqueXattr, Buffer.from("y"));
      return;
    }
    const hidden = name.slice(whiteoutPrefix.length);
    // `.wh..wh.` names other than the opaque marker are AUFS' own bookkeeping.
    if (hidden.startsWith(whiteoutPrefix)) return;
    if (hidden === "" || hidden === "." || hidden === "..")
      throw new GantryError("invalid", `invalid whiteout ${JSON.stringify(name)}`);
    const path = join(folder, hidden);
    rmSync(path, { recursive: true, force: true });
    this.#paths.forget();
    makeNode(path, nodeTypes.character, 0n);
  }

  /** An entry replaces what is there, but a folder stays a folder. */
  #makeRoom(path: string, entry: TarEntry): void {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined || (stats.isDirectory() && entry.type === "directory")) return;
    if (this.#options.keepKinds && stats.isDirectory() !== (entry.type === "directory")) {
      const [here, there] = stats.isDirectory() ? ["directory", "non-directory"] : ["non-directory", "directory"];
      throw new GantryError(
        "invalid",
        `cannot overwrite ${here} ${JSON.stringify(`/${this.#partsOf(entry.name).join("/")}`)} with ${there} ${JSON.stringify(`/${this.#base.join("/")}`)}`,
      );
    }
    if (stats.isDirectory() && this.#options.kind === "archive" && readdirSync(path).length > 0) {
      throw new GantryError("invalid", `cannot overwrite directory "${entry.name}" with a non-directory`);
    }
    rmSync(path, { recursive: true, force: true });
    this.#folderTimes.delete(path);
    if (stats.isDirectory() || stats.isSymbolicLink()) this.#paths.forget();
  }

  #folder(path: string, entry: TarEntry): void {
    if (path !== this.#options.target && lstatSync(path, { throwIfNoEntry: false }) === undefined)
      mkdirSync(path, entry.mode);
    this.#own(path, entry);
    chmodSync(path, entry.mode);
    this.#xattrs(path, entry);
    this.#folderTimes.set(path, entry.mtime);
  }

  #file(path: string, entry: TarEntry): TarContentSink {
    const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
    let position = 0;
    let isOpenEnded = false;
    return {
      write: (chunk) => {
        for (let at = 0; at < chunk.length;) at += writeSync(fd, chunk, at, chunk.length - at, position + at);
        position += chunk.length;
        isOpenEnded = false;
      },
      hole: (length) => {
        position += length;
        isOpenEnded = true;
      },
      end: () => {
        try {
          if (isOpenEnded) ftruncateSync(fd, position);
          const { uid, gid } = this.#owner(entry);
          fchownSync(fd, uid, gid);
          fchmodSync(fd, entry.mode);
          if (entry.xattrs.size > 0) this.#xattrs(path, entry);
          futimesSync(fd, entry.mtime, entry.mtime);
        } finally {
          closeSync(fd);
        }
      },
      abort: () => closeSync(fd),
    };
  }

  #own(path: string, entry: TarEntry): void {
    const { uid, gid } = this.#owner(entry);
    lchownSync(path, uid, gid);
  }

  #owner(entry: TarEntry): FileOwner {
    const { owner = entry, mapping } = this.#options;
    if (mapping === undefined) return owner;
    const [uid, gid] = [toHostId(mapping.uids, owner.uid), toHostId(mapping.gids, owner.gid)];
    if (uid !== undefined && gid !== undefined) return { uid, gid };
    const [id, what] = uid === undefined ? [owner.uid, "Container ID"] : [owner.gid, "Container GID"];
    throw new GantryError("invalid", `${what} ${id} cannot be mapped to a host ID`);
  }

  #link(path: string, entry: TarEntry): void {
    let target: string;
    try {
      target = this.#paths.locate(this.#partsOf(entry.linkname), false);
    } catch (cause) {
      throw new GantryError(
        "invalid",
        `invalid hardlink ${JSON.stringify(entry.name)} -> ${JSON.stringify(entry.linkname)}`,
        { cause },
      );
    }
    try {
      linkSync(target, path);
    } catch (cause) {
      throw new GantryError("invalid", `link ${basename(target)} ${basename(path)}: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  /** docker refuses a link that points out of the root by climbing; an absolute one is meant for inside. */
  #checkSymlink(parts: readonly string[], entry: TarEntry): void {
    if (entry.linkname.startsWith("/")) return;
    let depth = parts.length - 1;
    for (const part of entry.linkname.split("/")) {
      if (part === "..") depth--;
      else if (part !== "" && part !== ".") depth++;
      if (depth < 0)
        throw new GantryError(
          "invalid",
          `invalid symlink ${JSON.stringify(entry.name)} -> ${JSON.stringify(entry.linkname)}`,
        );
    }
  }

  #xattrs(path: string, entry: TarEntry): void {
    for (const [name, value] of entry.xattrs) {
      // An archive must not speak overlayfs' own language.
      if (name.startsWith("trusted.overlay.") || name.startsWith("user.overlay.")) continue;
      const { mapping } = this.#options;
      const own =
        mapping !== undefined && name === capabilityXattr ? withRootId(value, mappedRoot(mapping).uid) : value;
      try {
        setXattr(path, name, own);
      } catch (error) {
        // File systems differ in what they keep; security.capability must not be lost without a word.
        if (name === "security.capability") throw error;
      }
    }
  }
}

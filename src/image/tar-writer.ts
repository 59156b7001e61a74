import { type TarEntry, blockBytes, encodeHeader, padding } from "./tar-header.ts";

/** What an entry is given; the rest is 0 or empty. */
export type TarEntryInit = Pick<TarEntry, "name" | "type"> & Partial<TarEntry>;

/** Fills an entry's defaults: mode 0644 or 0755, root, the epoch. */
export function tarEntry(init: TarEntryInit): TarEntry {
  return {
    size: 0,
    mode: init.type === "directory" ? 0o755 : init.type === "symlink" ? 0o777 : 0o644,
    uid: 0,
    gid: 0,
    mtime: 0,
    linkname: "",
    devmajor: 0,
    devminor: 0,
    xattrs: new Map(),
    ...init,
  };
}

/** An entry with its content, in one piece: for small archives that are made in memory. */
export function encodeEntry(init: TarEntryInit, content: Uint8Array = new Uint8Array()): Buffer {
  const entry = tarEntry({ ...init, size: content.length });
  return Buffer.concat([encodeHeader(entry), content, padding(content.length)]);
}

/** The two zero blocks that end an archive. */
export function endOfArchive(): Buffer {
  return Buffer.alloc(2 * blockBytes);
}

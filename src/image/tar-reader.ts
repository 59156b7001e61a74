import { GantryError } from "#base/errors.ts";
import {
  type RawHeader,
  type TarEntry,
  blockBytes,
  invalidHeader,
  parseHeader,
  parsePax,
  typeFlags,
} from "./tar-header.ts";
import {
  SparseContent,
  checkSparseMap,
  type SparseFile,
  oldSparseSize,
  paxSparse,
  readOldSparse,
} from "./tar-sparse.ts";

/** Takes the content of one entry. Calls are synchronous: what is not needed is copied by nobody. */
export interface TarContentSink {
  write(chunk: Buffer): void;
  /** So many zeros that no archive holds. */
  hole(length: number): void;
  end(): void;
  /** Nothing more comes, and it is not whole. */
  abort(): void;
}

/** Says what becomes of an entry's content; undefined skips it. */
export type TarHandler = (entry: TarEntry) => TarContentSink | undefined;

/** A pax or long-name header larger than this is an attack. */
const maxMetadataBytes = 1 << 20;

/**
 * Reads a tar archive that is pushed in in chunks of any size: ustar, pax (with binary xattrs), GNU long names and
 * sparse files in all of GNU tar's forms. Throws `invalid` on anything malformed; `end` throws when the archive stops in the middle.
 */
export class TarReader {
  readonly #handler: TarHandler;
  #header = Buffer.alloc(blockBytes);
  #headerFill = 0;
  #remaining = 0;
  #padding = 0;
  #sink: Omit<TarContentSink, "hole"> | undefined;
  #metadata: { flag: string; chunks: Buffer[] } | undefined;
  #pax = new Map<string, Buffer>();
  #globalPax = new Map<string, Buffer>();
  #longName: string | undefined;
  #longLink: string | undefined;
  #zeroBlocks = 0;
  /** A sparse file whose map goes on in the blocks after its header. */
  #sparse: { raw: RawHeader; size: number; map: number[] } | undefined;

  constructor(handler: TarHandler) {
    this.#handler = handler;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#zeroBlocks >= 2) return;
      if (this.#remaining > 0) {
        const take = Math.min(this.#remaining, chunk.length - at);
        const piece = chunk.subarray(at, at + take);
        if (this.#metadata !== undefined) this.#metadata.chunks.push(Buffer.from(piece));
        else this.#sink?.write(piece);
        this.#remaining -= take;
        at += take;
        if (this.#remaining === 0) this.#contentEnded();
      } else if (this.#padding > 0) {
        const skip = Math.min(this.#padding, chunk.length - at);
        this.#padding -= skip;
        at += skip;
      } else {
        const take = Math.min(blockBytes - this.#headerFill, chunk.length - at);
        chunk.copy(this.#header, this.#headerFill, at, at + take);
        this.#headerFill += take;
        at += take;
        if (this.#headerFill === blockBytes) {
          this.#headerFill = 0;
          this.#block();
        }
      }
    }
  }

  /** The input is over. An archive without its two zero blocks is taken, as everybody does. */
  end(): void {
    if (this.#remaining > 0 || this.#headerFill > 0 || this.#metadata !== undefined || this.#sparse !== undefined)
      throw new GantryError("invalid", "unexpected EOF");
  }

  /** Lets go of an entry that did not come to its end. */
  close(): void {
    this.#sink?.abort();
    this.#sink = undefined;
  }

  #block(): void {
    if (this.#sparse !== undefined) {
      const { raw, size, map } = this.#sparse;
      if (readOldSparse(this.#header, map, false)) return;
      this.#sparse = undefined;
      this.#entry(raw, { size, map, name: undefined });
      return;
    }
    if (this.#header.every((byte) => byte === 0)) {
      this.#zeroBlocks++;
      return;
    }
    this.#zeroBlocks = 0;
    const raw = parseHeader(this.#header);
    this.#padding = (blockBytes - (raw.size % blockBytes)) % blockBytes;
    if ("xgLK".includes(raw.typeFlag)) {
      if (raw.size > maxMetadataBytes) throw invalidHeader();
      this.#metadata = { flag: raw.typeFlag, chunks: [] };
      this.#remaining = raw.size;
      if (raw.size === 0) this.#contentEnded();
      return;
    }
    if (raw.typeFlag === "S") {
      const map: number[] = [];
      const size = oldSparseSize(this.#header);
      if (readOldSparse(this.#header, map, true)) this.#sparse = { raw, size, map };
      else this.#entry(raw, { size, map, name: undefined });
      return;
    }
    this.#entry(raw, undefined);
  }

  #contentEnded(): void {
    if (this.#metadata === undefined) {
      const sink = this.#sink;
      this.#sink = undefined;
      sink?.end();
      return;
    }
    const { flag, chunks } = this.#metadata;
    this.#metadata = undefined;
    const data = Buffer.concat(chunks);
    if (flag === "x") this.#pax = parsePax(data);
    else if (flag === "g") for (const [key, value] of parsePax(data)) this.#globalPax.set(key, value);
    else {
      const end = data.indexOf(0);
      const text = data.toString("utf8", 0, end < 0 ? data.length : end);
      if (flag === "L") this.#longName = text;
      else this.#longLink = text;
    }
  }

  #entry(raw: RawHeader, oldSparse: SparseFile | undefined): void {
    const pax = new Map([...this.#globalPax, ...this.#pax]);
    const text = (key: string): string | undefined => pax.get(key)?.toString("utf8");
    const number = (key: string, fallback: number): number => {
      const value = text(key);
      if (value === undefined || value === "") return fallback;
      const parsed = Number(value);
      if (!Number.isFinite(parsed)) throw invalidHeader();
      return parsed;
    };
    let type = typeFlags[raw.typeFlag];
    const sparse = oldSparse ?? (type === "file" ? paxSparse(this.#pax) : undefined);
    const name = sparse?.name ?? text("path") ?? this.#longName ?? raw.name;
    const linkname = text("linkpath") ?? this.#longLink ?? raw.linkname;
    const size = number("size", raw.size);
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#pax = new Map();
    if (type === undefined) throw new GantryError("invalid", `unhandled tar header type ${raw.typeFlag.charCodeAt(0)}`);
    // Old archives mark a directory by the slash at the end of its name alone.
    if (type === "file" && name.endsWith("/")) type = "directory";
    const hasContent = type === "file";
    const xattrs = new Map<string, Buffer>();
    for (const [key, value] of pax) if (key.startsWith("SCHILY.xattr.")) xattrs.set(key.slice(13), Buffer.from(value));
    if (!Number.isInteger(size) || size < 0 || name.includes("\0") || linkname.includes("\0")) throw invalidHeader();
    const entry: TarEntry = {
      name,
      type,
      size: hasContent ? (sparse?.size ?? size) : 0,
      mode: raw.mode & 0o7777,
      uid: number("uid", raw.uid),
      gid: number("gid", raw.gid),
      mtime: number("mtime", raw.mtime),
      linkname,
      devmajor: raw.devmajor,
      devminor: raw.devminor,
      xattrs,
    };
    // A hard link may carry a size without content; what other types say is skipped.
    this.#remaining = type === "link" ? 0 : size;
    this.#padding = type === "link" ? 0 : (blockBytes - (size % blockBytes)) % blockBytes;
    if (sparse?.map !== undefined) checkSparseMap(sparse.map, sparse.size, size);
    const sink = this.#handler(entry);
    this.#sink =
      sink === undefined || sparse === undefined || !hasContent ? sink : new SparseContent(sink, sparse, size);
    if (!hasContent && this.#sink !== undefined) {
      this.#sink.end();
      this.#sink = undefined;
    }
    if (this.#remaining === 0 && this.#sink !== undefined) this.#contentEnded();
  }
}

import { GantryError } from "#base/errors.ts";

export type TarType = "file" | "link" | "symlink" | "character" | "block" | "directory" | "fifo";

/** One entry of a tar archive, with what pax and GNU extensions say applied. Names are raw text as stored. */
export interface TarEntry {
  name: string;
  type: TarType;
  /** Of the content that follows; 0 for everything but files. */
  size: number;
  mode: number;
  uid: number;
  gid: number;
  /** Seconds since the epoch, with fractions. */
  mtime: number;
  linkname: string;
  devmajor: number;
  devminor: number;
  /** Extended attributes as raw bytes. */
  xattrs: ReadonlyMap<string, Buffer>;
}

export const blockBytes = 512;

/** Type flags (POSIX.1-2017, pax, "ustar Interchange Format"). */
export const typeFlags: Record<string, TarType> = {
  "0": "file",
  "\0": "file",
  "7": "file",
  S: "file",
  "1": "link",
  "2": "symlink",
  "3": "character",
  "4": "block",
  "5": "directory",
  "6": "fifo",
};

export interface RawHeader {
  name: string;
  typeFlag: string;
  size: number;
  mode: number;
  uid: number;
  gid: number;
  mtime: number;
  linkname: string;
  devmajor: number;
  devminor: number;
}

function text(block: Buffer, start: number, length: number): string {
  let end = start;
  while (end < start + length && block[end] !== 0) end++;
  return block.toString("utf8", start, end);
}

/** A number in a header: octal text, or GNU's base 256 when the first bit is set. */
export function tarNumber(block: Buffer, start: number, length: number): number {
  const first = block[start] as number;
  if (first & 0x80) {
    const negative = (first & 0x40) !== 0;
    let value = negative ? -1n : 0n;
    value = (value << 7n) | BigInt(first & 0x7f);
    if (negative) value = (-1n << 7n) | BigInt(first & 0x7f);
    for (let at = start + 1; at < start + length; at++) value = (value << 8n) | BigInt(block[at] as number);
    if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) throw invalidHeader();
    return Number(value);
  }
  const digits = text(block, start, length).trim();
  if (digits === "") return 0;
  if (!/^[0-7]+$/.test(digits)) throw invalidHeader();
  return Number.parseInt(digits, 8);
}

export function invalidHeader(): GantryError {
  return new GantryError("invalid", "archive/tar: invalid tar header");
}

/** Reads one header block. Throws `invalid` when its checksum is wrong. */
export function parseHeader(block: Buffer): RawHeader {
  let sum = 8 * 32;
  let signed = 8 * 32;
  for (let at = 0; at < blockBytes; at++) {
    if (at >= 148 && at < 156) continue;
    const byte = block[at] as number;
    sum += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const stored = tarNumber(block, 148, 8);
  if (stored !== sum && stored !== signed) throw invalidHeader();
  const isUstar = block.toString("latin1", 257, 262) === "ustar";
  const isGnu = isUstar && block.toString("latin1", 262, 265) === "  \0";
  const prefix = isUstar && !isGnu ? text(block, 345, 155) : "";
  const name = text(block, 0, 100);
  const size = tarNumber(block, 124, 12);
  if (size < 0) throw invalidHeader();
  return {
    name: prefix === "" ? name : `${prefix}/${name}`,
    typeFlag: String.fromCharCode(block[156] as number),
    size,
    mode: tarNumber(block, 100, 8),
    uid: tarNumber(block, 108, 8),
    gid: tarNumber(block, 116, 8),
    mtime: tarNumber(block, 136, 12),
    linkname: text(block, 157, 100),
    devmajor: isUstar ? tarNumber(block, 329, 8) : 0,
    devminor: isUstar ? tarNumber(block, 337, 8) : 0,
  };
}

/** Records that stand as often as a sparse file has pieces: they become the list that a later version has at once. */
const sparsePieces = new Set(["GNU.sparse.offset", "GNU.sparse.numbytes"]);

/** The records of a pax header: `LENGTH KEY=VALUE\n`, values as bytes since xattrs are binary. */
export function parsePax(data: Buffer): Map<string, Buffer> {
  const records = new Map<string, Buffer>();
  const pieces: Buffer[] = [];
  let at = 0;
  while (at < data.length) {
    const space = data.indexOf(0x20, at);
    if (space < 0 || space - at > 10) throw invalidHeader();
    const length = Number(data.toString("latin1", at, space));
    if (!Number.isInteger(length) || length < 5 || at + length > data.length || data[at + length - 1] !== 0x0a)
      throw invalidHeader();
    const equals = data.indexOf(0x3d, space);
    if (equals < 0 || equals >= at + length) throw invalidHeader();
    const key = data.toString("utf8", space + 1, equals);
    const value = data.subarray(equals + 1, at + length - 1);
    if (sparsePieces.has(key)) pieces.push(value, Buffer.from(","));
    else records.set(key, value);
    at += length;
  }
  if (pieces.length > 0) records.set("GNU.sparse.map", Buffer.concat(pieces.slice(0, -1)));
  return records;
}

function octal(block: Buffer, value: number, start: number, length: number): void {
  const digits = value.toString(8);
  if (value >= 0 && digits.length < length) {
    block.write(digits.padStart(length - 1, "0"), start, "latin1");
    return;
  }
  let rest = BigInt(value);
  for (let at = start + length - 1; at > start; at--) {
    block[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  block[start] = value < 0 ? 0xff : 0x80;
}

const flagOf: Record<TarType, string> = {
  file: "0",
  link: "1",
  symlink: "2",
  character: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};

function plainHeader(
  name: Buffer,
  typeFlag: string,
  entry: Omit<TarEntry, "name" | "type" | "xattrs" | "linkname">,
  linkname: Buffer,
): Buffer {
  const block = Buffer.alloc(blockBytes);
  name.copy(block, 0, 0, 100);
  octal(block, entry.mode & 0o7777, 100, 8);
  octal(block, entry.uid, 108, 8);
  octal(block, entry.gid, 116, 8);
  octal(block, entry.size, 124, 12);
  octal(block, Math.floor(entry.mtime), 136, 12);
  block.write(typeFlag, 156, "latin1");
  linkname.copy(block, 157, 0, 100);
  block.write("ustar\u000000", 257, "latin1");
  octal(block, entry.devmajor, 329, 8);
  octal(block, entry.devminor, 337, 8);
  let sum = 8 * 32;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.byteLength(key) + value.length + 3;
  let length = rest + String(rest).length;
  if (String(length).length !== String(rest).length) length = rest + String(length).length;
  return Buffer.concat([Buffer.from(`${length} ${key}=`), value, Buffer.from("\n")]);
}

/** Zero bytes that fill content of `size` up to a whole block. */
export function padding(size: number): Buffer {
  return Buffer.alloc((blockBytes - (size % blockBytes)) % blockBytes);
}

/** The header blocks of an entry: a pax header before the plain one where something does not fit it. */
export function encodeHeader(entry: TarEntry): Buffer {
  const name = Buffer.from(entry.name);
  const linkname = Buffer.from(entry.linkname);
  const pax: Buffer[] = [];
  if (name.length > 100 || /[^\u0020-\u007e]/.test(entry.name)) pax.push(paxRecord("path", name));
  if (linkname.length > 100 || /[^\u0020-\u007e]/.test(entry.linkname)) pax.push(paxRecord("linkpath", linkname));
  if (!Number.isInteger(entry.mtime))
    pax.push(paxRecord("mtime", Buffer.from(entry.mtime.toFixed(9).replace(/0+$/, ""))));
  for (const [key, value] of entry.xattrs) pax.push(paxRecord(`SCHILY.xattr.${key}`, value));
  const header = plainHeader(name, flagOf[entry.type], entry, linkname);
  if (pax.length === 0) return header;
  const data = Buffer.concat(pax);
  const empty = Buffer.alloc(0);
  const paxName = Buffer.from(`PaxHeaders.0/${entry.name.slice(-60)}`.slice(0, 99));
  const paxHeader = plainHeader(
    paxName,
    "x",
    { ...entry, size: data.length, mode: 0o644, uid: 0, gid: 0, mtime: 0, devmajor: 0, devminor: 0 },
    empty,
  );
  return Buffer.concat([paxHeader, data, padding(data.length), header]);
}

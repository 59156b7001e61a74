import { invalidHeader, tarNumber } from "./tar-header.ts";
import type { TarContentSink } from "./tar-reader.ts";

/** Offsets and lengths of what is stored of a sparse file, in turn; the rest of it is zeros. */
export type SparseMap = readonly number[];

/** What makes an entry a sparse file (GNU tar manual, "Storing Sparse Files"). */
export interface SparseFile {
  /** Of the whole file, holes included. */
  size: number;
  /** Undefined where the map stands before the content (version 1.0). */
  map: SparseMap | undefined;
  /** The file's own name, where the header has a made-up one. */
  name: string | undefined;
}

/** Pieces in one file: more is an attack. */
const maxPieces = 1 << 18;
const mapBlock = 512;

/** Throws `invalid` unless the pieces follow each other inside the file and are `stored` bytes together. */
export function checkSparseMap(map: SparseMap, size: number, stored: number): void {
  let end = 0;
  let sum = 0;
  for (let at = 0; at < map.length; at += 2) {
    const [offset, length] = [map[at] as number, map[at + 1] as number];
    if (offset < end || length < 0 || offset + length > size) throw invalidHeader();
    end = offset + length;
    sum += length;
  }
  if (sum !== stored) throw invalidHeader();
}

/** Appends the pieces of a header (`S`) or of the blocks that go on with it; tells whether another one follows. */
export function readOldSparse(block: Buffer, map: number[], isHeader: boolean): boolean {
  const [start, count, more] = isHeader ? [386, 4, 482] : [0, 21, 504];
  for (let entry = 0; entry < count; entry++) {
    const at = start + entry * 24;
    if (block[at] === 0) break;
    if (map.length >= 2 * maxPieces) throw invalidHeader();
    map.push(tarNumber(block, at, 12), tarNumber(block, at + 12, 12));
  }
  return block[more] !== 0;
}

/** The whole file's size in a header of type `S`. */
export function oldSparseSize(block: Buffer): number {
  const size = tarNumber(block, 483, 12);
  if (size < 0) throw invalidHeader();
  return size;
}

function decimal(text: string): number {
  const value = Number(text);
  if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(value)) throw invalidHeader();
  return value;
}

/** What pax records say of a sparse file in the versions 0.0, 0.1 and 1.0; undefined for any other file. */
export function paxSparse(pax: ReadonlyMap<string, Buffer>): SparseFile | undefined {
  const text = (key: string): string | undefined => pax.get(`GNU.sparse.${key}`)?.toString("latin1");
  const version = `${text("major") ?? ""}.${text("minor") ?? ""}`;
  const pieces = text("map");
  if (!["1.0", "0.0", "0.1"].includes(version) && (version !== "." || pieces === undefined)) return undefined;
  const name = pax.get("GNU.sparse.name")?.toString("utf8");
  const size = decimal(text("realsize") ?? text("size") ?? "");
  if (version === "1.0") return { size, map: undefined, name };
  const map = pieces === undefined || pieces === "" ? [] : pieces.split(",").map(decimal);
  if (map.length % 2 !== 0 || map.length !== 2 * decimal(text("numblocks") ?? "")) throw invalidHeader();
  return { size, map, name };
}

/**
 * Takes what is stored of a sparse file, whose map was checked unless it stands before the content, and gives the
 * whole file: data, and holes between it.
 */
export class SparseContent implements Omit<TarContentSink, "hole"> {
  readonly #target: TarContentSink;
  readonly #size: number;
  readonly #stored: number;
  #map: SparseMap | undefined;
  /** Of a map that stands before the content: the number being read, those that were, the bytes that were. */
  #digits = "";
  readonly #numbers: number[] = [];
  #mapBytes = 0;
  /** The piece that is being filled, what of it is there, and where in the file we are. */
  #piece = 0;
  #filled = 0;
  #position = 0;

  constructor(target: TarContentSink, file: SparseFile, stored: number) {
    this.#target = target;
    this.#size = file.size;
    this.#stored = stored;
    this.#map = file.map;
  }

  /** Reads the map that stands before the content; returns how many bytes of the chunk it took. */
  #readMap(chunk: Buffer): number {
    for (let at = 0; at < chunk.length; at++) {
      this.#mapBytes++;
      const count = this.#numbers[0];
      if (count === undefined || this.#numbers.length < 1 + 2 * count) {
        const byte = chunk[at] as number;
        if (byte === 0x0a) {
          const number = decimal(this.#digits);
          if (this.#numbers.length === 0 && number > maxPieces) throw invalidHeader();
          this.#numbers.push(number);
          this.#digits = "";
        } else {
          this.#digits += String.fromCharCode(byte);
          if (this.#digits.length > 16) throw invalidHeader();
        }
      }
      if (this.#mapBytes % mapBlock !== 0) continue;
      const [pieces] = this.#numbers;
      if (pieces !== undefined && this.#numbers.length === 1 + 2 * pieces) {
        const map = this.#numbers.slice(1);
        checkSparseMap(map, this.#size, this.#stored - this.#mapBytes);
        this.#map = map;
        return at + 1;
      }
    }
    return chunk.length;
  }

  write(chunk: Buffer): void {
    let at = this.#map === undefined ? this.#readMap(chunk) : 0;
    while (at < chunk.length) {
      const [offset, length] = [this.#map?.[this.#piece], this.#map?.[this.#piece + 1]];
      if (offset === undefined || length === undefined) throw invalidHeader();
      if (this.#filled === 0) this.#hole(offset);
      const take = Math.min(length - this.#filled, chunk.length - at);
      if (take > 0) this.#target.write(chunk.subarray(at, at + take));
      at += take;
      this.#filled += take;
      this.#position += take;
      if (this.#filled < length) continue;
      this.#piece += 2;
      this.#filled = 0;
    }
  }

  #hole(until: number): void {
    if (until <= this.#position) return;
    this.#target.hole(until - this.#position);
    this.#position = until;
  }

  end(): void {
    if (this.#map === undefined) {
      this.abort();
      throw invalidHeader();
    }
    this.#hole(this.#size);
    this.#target.end();
  }

  abort(): void {
    this.#target.abort();
  }
}

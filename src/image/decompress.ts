import { Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { GantryError } from "#base/errors.ts";
import type { Compression } from "./oci.ts";

/** How many bytes `sniffCompression` wants to see. */
export const sniffBytes = 6;

/** What a stream is compressed with, by its first bytes. Throws `unsupported` for bzip2 and xz. */
export function sniffCompression(start: Uint8Array): Compression {
  const starts = (...magic: number[]): boolean => magic.every((byte, at) => start[at] === byte);
  if (starts(0x1f, 0x8b)) return "gzip";
  if (starts(0x28, 0xb5, 0x2f, 0xfd)) return "zstd";
  if (starts(0x42, 0x5a, 0x68))
    throw new GantryError("unsupported", "bzip2 archives are not supported: decompress the archive first (bunzip2)");
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a))
    throw new GantryError("unsupported", "xz archives are not supported: decompress the archive first (unxz)");
  return "none";
}

/** The plain bytes of a stream that may be compressed with gzip or zstd. */
export async function* decompressed(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  const iterator = source[Symbol.asyncIterator]();
  let start = Buffer.alloc(0);
  let done = false;
  while (start.length < sniffBytes && !done) {
    const next = await iterator.next();
    if (next.done) done = true;
    else start = Buffer.concat([start, next.value]);
  }
  const all = async function* (): AsyncGenerator<Buffer> {
    try {
      yield start;
      for (;;) {
        const next = await iterator.next();
        if (next.done) return;
        yield Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
      }
    } finally {
      await iterator.return?.();
    }
  };
  const compression = sniffCompression(start);
  if (compression === "none") {
    yield* all();
    return;
  }
  const decoder = compression === "gzip" ? createGunzip() : createZstdDecompress();
  const input = Readable.from(all());
  input.on("error", (error) => decoder.destroy(error));
  try {
    yield* input.pipe(decoder) as AsyncIterable<Buffer> as AsyncGenerator<Buffer>;
  } catch (cause) {
    if (cause instanceof GantryError) throw cause;
    throw new GantryError("invalid", `the archive cannot be decompressed: ${(cause as Error).message}`, { cause });
  } finally {
    input.destroy();
  }
}

import { Readable, type Transform, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { GantryError } from "#base/errors.ts";
import { type ChildProcess, start } from "#host/spawn.ts";
import type { Compression } from "./oci.ts";

/** How many bytes `sniffCompression` wants to see. */
export const sniffBytes = 6;
const chunkBytes = 1 << 18;

const startsWith = (start: Uint8Array, ...magic: number[]): boolean => magic.every((byte, at) => start[at] === byte);

/** What an archive is compressed with, by its first bytes: docker looks at nothing else. */
export function sniffCompression(start: Uint8Array): Compression {
  if (startsWith(start, 0x1f, 0x8b)) return "gzip";
  if (startsWith(start, 0x28, 0xb5, 0x2f, 0xfd)) return "zstd";
  if (startsWith(start, 0x42, 0x5a, 0x68)) return "bzip2";
  if (startsWith(start, 0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return "xz";
  return "none";
}

/** Formats that Node does not know: a program reads them, as in docker. */
const programs = {
  bzip2: { argv: ["bzip2", "-dc"], package: "bzip2" },
  xz: { argv: ["xz", "-dc", "-q"], package: "xz-utils" },
} as const;

/** The plain bytes of a stream that may be compressed with gzip, zstd, xz or bzip2. Throws `invalid`, `unsupported`. */
export async function* decompressed(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  const iterator = source[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  let done = false;
  while (head.length < sniffBytes && !done) {
    const next = await iterator.next();
    if (next.done) done = true;
    else head = Buffer.concat([head, next.value]);
  }
  const all = async function* (): AsyncGenerator<Buffer> {
    try {
      yield head;
      for (;;) {
        const next = await iterator.next();
        if (next.done) return;
        yield Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
      }
    } finally {
      await iterator.return?.();
    }
  };
  yield* decompress(sniffCompression(head), all());
}

/** The plain bytes of a stream whose compression is known. Throws `invalid`, `unsupported`. */
export async function* decompress(compression: Compression, source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  switch (compression) {
    case "none":
      yield* source;
      return;
    case "gzip":
      yield* throughDecoder(createGunzip({ chunkSize: chunkBytes }), source);
      return;
    case "zstd":
      yield* throughDecoder(createZstdDecompress({ chunkSize: chunkBytes }), source);
      return;
    default:
      yield* throughProgram(compression, source);
  }
}

async function* throughDecoder(decoder: Transform, source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  // A file's stream is piped as it is: that costs less than an iterator over its chunks.
  const input = source instanceof Readable ? source : Readable.from(source);
  input.on("error", (error) => decoder.destroy(error));
  try {
    yield* input.pipe(decoder) as AsyncIterable<Buffer> as AsyncGenerator<Buffer>;
  } catch (cause) {
    if (cause instanceof GantryError || (cause as NodeJS.ErrnoException).syscall !== undefined) throw cause;
    throw new GantryError("invalid", `the archive cannot be decompressed: ${(cause as Error).message}`, { cause });
  } finally {
    input.destroy();
    decoder.destroy();
  }
}

async function* throughProgram(kind: keyof typeof programs, source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const { argv, package: packageName } = programs[kind];
  let child: ChildProcess;
  try {
    child = start({ argv, stdio: ["pipe", "pipe", "null"] });
  } catch (cause) {
    if (!(cause instanceof GantryError && cause.code === "not-found")) throw cause;
    throw new GantryError(
      "unsupported",
      `exec: "${argv[0]}": executable file not found in $PATH: install the package ${packageName} to read archives in ${kind}`,
      { cause },
    );
  }
  let failure: unknown;
  const feeding = pipeline(source, child.stdin as Writable).catch((error: unknown) => {
    failure = error;
    child.kill("SIGKILL");
  });
  try {
    yield* child.stdout as AsyncIterable<Buffer> as AsyncGenerator<Buffer>;
    const { code } = await child.exited;
    await feeding;
    // Its pipe breaks when the program has ended before its input: then its own failure tells more.
    if (failure !== undefined && (failure as NodeJS.ErrnoException).code !== "EPIPE") throw failure;
    if (code !== 0)
      throw new GantryError("invalid", `the archive cannot be decompressed: ${argv[0]} found it to be damaged`);
  } finally {
    child.kill("SIGKILL");
    child.stdout?.destroy();
    child.stdin?.destroy();
    await feeding;
  }
}

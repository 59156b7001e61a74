import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { GantryError } from "#base/errors.ts";
import { type ChildProcess, start } from "#host/spawn.ts";
import type { Compression } from "./oci.ts";

/** How many bytes `sniffCompression` wants to see. */
export const sniffBytes = 6;

const startsWith = (start: Uint8Array, ...magic: number[]): boolean => magic.every((byte, at) => start[at] === byte);

/** Formats that a program decompresses, as docker has it too: its name, and the package to install. */
function programFor(start: Uint8Array): { argv: string[]; name: string } | undefined {
  if (startsWith(start, 0x42, 0x5a, 0x68)) return { argv: ["bzip2", "-dc"], name: "bzip2" };
  if (startsWith(start, 0xfd, 0x37, 0x7a, 0x58, 0x5a)) return { argv: ["xz", "-dc", "-q"], name: "xz" };
  return undefined;
}

/** What a layer is compressed with, by its first bytes. Throws `unsupported` for bzip2 and xz. */
export function sniffCompression(start: Uint8Array): Compression {
  if (startsWith(start, 0x1f, 0x8b)) return "gzip";
  if (startsWith(start, 0x28, 0xb5, 0x2f, 0xfd)) return "zstd";
  const program = programFor(start);
  if (program !== undefined)
    throw new GantryError("unsupported", `layers that are compressed with ${program.name} are not supported`);
  return "none";
}

/** The plain bytes of a stream that may be compressed with gzip, zstd, xz or bzip2. */
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
  const program = programFor(head);
  if (program !== undefined) {
    yield* throughProgram(program, all());
    return;
  }
  const compression = sniffCompression(head);
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

async function* throughProgram(
  { argv, name }: { argv: string[]; name: string },
  source: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer> {
  let child: ChildProcess;
  try {
    child = start({ argv, stdio: ["pipe", "pipe", "null"] });
  } catch (cause) {
    throw new GantryError("unsupported", `the program ${name} is missing: install it to read archives of its kind`, {
      cause,
    });
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
    if (failure instanceof GantryError) throw failure;
    if (code !== 0) throw new GantryError("invalid", `the archive cannot be decompressed: ${name} failed`);
  } finally {
    child.kill("SIGKILL");
    await feeding;
  }
}

import { constants, openSync } from "node:fs";
import { basename, dirname } from "node:path";
import { AsyncQueue } from "#base/async-queue.ts";
import { closeFd } from "./descriptors.ts";
import { bind, check, errnoName, lastErrno, systemError } from "./libc.ts";
import { type ReadinessWatch, onceWritable, watchReadable } from "./poll.ts";

const pointer = "void *";
const socketCall = bind("socket", "int", ["int", "int", "int"]);
const connectCall = bind("connect", "int", ["int", pointer, "uint32"]);
const recvCall = bind("recv", "long", ["int", pointer, "size_t", "int"]);
const sendCall = bind("send", "long", ["int", pointer, "size_t", "int"]);
const shutdownCall = bind("shutdown", "int", ["int", "int"]);

const unixFamily = 1;
const seqpacket = 5;
const nonBlocking = 0o4000;
const closeOnExec = 0o2000000;
const noSignal = 0x4000;
const shutdownWrite = 1;
const openPathOnly = 0o10000000;
const fileNameTooLong = 36;
/** sun_path(7) with its final NUL. */
const maxPath = 107;

/**
 * A unix socket that keeps the borders of messages (SOCK_SEQPACKET), which Node has no client for. Reading
 * starts with the iteration of `packets`; a reader that falls behind stops the peer (nothing is dropped).
 */
export class SeqpacketSocket {
  readonly #fd: number;
  readonly #queue = new AsyncQueue<Buffer>();
  readonly #buffer: Buffer;
  #watch: ReadinessWatch | undefined;
  /** Ends the wait for room to write. */
  #stopWaiting: (() => void) | undefined;
  #closed = false;
  #paused = false;

  private constructor(fd: number, maxPacket: number) {
    this.#fd = fd;
    this.#buffer = Buffer.alloc(maxPacket);
    this.#listen();
  }

  /**
   * Connects to the socket at `path`. A path that is too long for the kernel is reached through the folder's
   * descriptor in /proc. Throws `not-found` or `unavailable`.
   */
  static connect(path: string, maxPacket = 65_536): SeqpacketSocket {
    const isLong = Buffer.byteLength(path) > maxPath;
    const folder = isLong ? openSync(dirname(path), openPathOnly | constants.O_DIRECTORY) : -1;
    const name = isLong ? `/proc/self/fd/${folder}/${basename(path)}` : path;
    let fd = -1;
    try {
      if (Buffer.byteLength(name) > maxPath) throw systemError("connect", fileNameTooLong, { path });
      fd = check(socketCall(unixFamily, seqpacket | nonBlocking | closeOnExec, 0), "socket");
      const address = Buffer.alloc(2 + Buffer.byteLength(name) + 1);
      address.writeUInt16LE(unixFamily, 0);
      address.write(name, 2);
      check(connectCall(fd, address, address.length), "connect", { path });
    } catch (error) {
      closeFd(fd);
      throw error;
    } finally {
      closeFd(folder);
    }
    return new SeqpacketSocket(fd, maxPacket);
  }

  #listen(): void {
    if (this.#closed) return;
    this.#watch = watchReadable(this.#fd, () => this.#drain());
  }

  #drain(): void {
    for (let packets = 0; packets < 64; packets++) {
      if (this.#queue.length > 256) {
        this.#paused = true;
        this.#watch?.close();
        this.#watch = undefined;
        return;
      }
      const length = recvCall(this.#fd, this.#buffer, this.#buffer.length, 0);
      if (length > 0) {
        if (!this.#queue.push(Buffer.from(this.#buffer.subarray(0, length)))) return this.close();
        continue;
      }
      if (length < 0) {
        const errno = errnoName(lastErrno());
        if (errno === "EAGAIN" || errno === "EINTR") return;
      }
      return this.close();
    }
  }

  /** Ends when the peer closes, or after `close`. For one reader. */
  async *packets(): AsyncGenerator<Buffer, void, undefined> {
    try {
      for await (const packet of this.#queue) {
        yield packet;
        if (this.#paused && this.#queue.length < 64) {
          this.#paused = false;
          this.#listen();
        }
      }
    } finally {
      this.close();
    }
  }

  /** Sends one message; waits while the peer's buffer is full. False when the peer has gone. */
  async send(data: Uint8Array): Promise<boolean> {
    while (!this.#closed) {
      if (sendCall(this.#fd, data, data.length, noSignal) >= 0) return true;
      const errno = errnoName(lastErrno());
      if (errno !== "EAGAIN" && errno !== "EINTR") return false;
      await new Promise<void>((resolve) => {
        const watch = onceWritable(this.#fd, resolve);
        this.#stopWaiting = () => {
          watch.close();
          resolve();
        };
      });
      this.#stopWaiting = undefined;
    }
    return false;
  }

  /** No more messages come from us. */
  endWriting(): void {
    if (!this.#closed) shutdownCall(this.#fd, shutdownWrite);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch?.close();
    this.#stopWaiting?.();
    closeFd(this.#fd);
    this.#queue.end();
  }
}

import koffi from "koffi";
import { errorMessage, GantryError } from "#base/errors.ts";
import { closeFd } from "./descriptors.ts";
import { bind, check, errnoName, lastErrno, systemError } from "./libc.ts";

/** One message for the kernel, without its header. */
export interface NetlinkMessage {
  type: number;
  /** NLM_F_* besides REQUEST and ACK. */
  flags?: number;
  payload: Buffer;
}

export const netlinkProtocol = { route: 0, netfilter: 12 } as const;
export const netlinkFlag = {
  request: 1,
  ack: 4,
  dump: 0x300,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
} as const;

const socketCall = bind("socket", "int", ["int", "int", "int"]);
const bindCall = bind("bind", "int", ["int", "void *", "int"]);
const setsockopt = bind("setsockopt", "int", ["int", "int", "int", "void *", "int"]);
const recv = bind("recv", "long", ["int", "void *", "long", "int"]);
const sendCall = koffi.load(null).func("send", "long", ["int", "void *", "long", "int"]);

const afNetlink = 16;
const sockRaw = 3;
const sockCloexec = 0o2000000;
const solNetlink = 270;
const typeError = 2;
const typeDone = 3;
const dontWait = 0x40;

/**
 * A netlink socket. It belongs to the network namespace that the thread was in when it was opened, for good.
 * Requests are sent from a worker thread, since the kernel works on them inside send(2) (deleting a link can take
 * tens of milliseconds); answers lie ready when it returns.
 */
export class NetlinkSocket {
  readonly #fd: number;
  #sequence = 0;
  #tail: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  static open(protocol: number = netlinkProtocol.route): NetlinkSocket {
    const fd = check(socketCall(afNetlink, sockRaw | sockCloexec, protocol), "socket");
    const one = Buffer.from([1, 0, 0, 0]);
    // Short acknowledgements, with the kernel's sentence about what is wrong.
    setsockopt(fd, solNetlink, 10, one, 4);
    setsockopt(fd, solNetlink, 11, one, 4);
    const buffer = Buffer.alloc(4);
    buffer.writeInt32LE(4 << 20);
    setsockopt(fd, 1, 33, buffer, 4);
    const address = Buffer.alloc(12);
    address.writeUInt16LE(afNetlink, 0);
    try {
      check(bindCall(fd, address, 12), "bind");
    } catch (error) {
      closeFd(fd);
      throw error;
    }
    return new NetlinkSocket(fd);
  }

  /**
   * Sends messages in one go, which the kernel works on in order and each for itself, and returns the error of
   * each, undefined for success.
   */
  request(messages: readonly NetlinkMessage[]): Promise<(GantryError | undefined)[]> {
    return this.#serially(async () => {
      if (messages.length === 0) return [];
      const first = this.#sequence + 1;
      await this.#send(messages, netlinkFlag.ack);
      const results = Array.from<GantryError | undefined>({ length: messages.length });
      let missing = messages.length;
      while (missing > 0) {
        for (const { type, sequence, flags, payload } of this.#receive()) {
          if (type !== typeError || sequence < first) continue;
          missing--;
          const errno = -payload.readInt32LE(0);
          if (errno !== 0) results[sequence - first] = netlinkError(errno, flags, payload);
        }
      }
      return results;
    });
  }

  /** Asks for a dump; returns the payloads of its messages. */
  dump(message: NetlinkMessage): Promise<{ type: number; payload: Buffer }[]> {
    return this.#serially(async () => {
      const sequence = this.#sequence + 1;
      await this.#send([message], netlinkFlag.dump);
      const found: { type: number; payload: Buffer }[] = [];
      for (;;) {
        for (const part of this.#receive()) {
          if (part.sequence !== sequence) continue;
          if (part.type === typeDone) return found;
          if (part.type === typeError) {
            const errno = -part.payload.readInt32LE(0);
            if (errno !== 0) throw netlinkError(errno, part.flags, part.payload);
            return found;
          }
          found.push({ type: part.type, payload: Buffer.from(part.payload) });
        }
      }
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#tail.then(
      () => closeFd(this.#fd),
      () => closeFd(this.#fd),
    );
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new GantryError("cancelled", "The netlink socket is closed.");
    const result = this.#tail.then(work, work);
    this.#tail = result.catch(() => {});
    return result;
  }

  async #send(messages: readonly NetlinkMessage[], flags: number): Promise<void> {
    const parts = messages.map((message) => {
      const length = 16 + message.payload.length;
      const bytes = Buffer.alloc((length + 3) & ~3);
      bytes.writeUInt32LE(length, 0);
      bytes.writeUInt16LE(message.type, 4);
      bytes.writeUInt16LE(netlinkFlag.request | flags | (message.flags ?? 0), 6);
      bytes.writeUInt32LE(++this.#sequence, 8);
      message.payload.copy(bytes, 16);
      return bytes;
    });
    const all = Buffer.concat(parts);
    await new Promise<void>((resolve, reject) => {
      sendCall.async(this.#fd, all, all.length, 0, (error: Error | null, sent: number) => {
        if (error !== null) reject(error);
        else if (sent < 0) reject(systemError("send", lastErrno()));
        else resolve();
      });
    });
  }

  *#receive(): Iterable<{ type: number; flags: number; sequence: number; payload: Buffer }> {
    const bytes = receiveBuffer;
    const length = check(recv(this.#fd, bytes, bytes.length, dontWait), "recv");
    for (let at = 0; at + 16 <= length;) {
      const size = bytes.readUInt32LE(at);
      if (size < 16) return;
      yield {
        type: bytes.readUInt16LE(at + 4),
        flags: bytes.readUInt16LE(at + 6),
        sequence: bytes.readUInt32LE(at + 8),
        payload: bytes.subarray(at + 16, at + size),
      };
      at += (size + 3) & ~3;
    }
  }
}

// Every receive is worked off before the next one, so one buffer serves all sockets.
const receiveBuffer = Buffer.alloc(256 * 1024);

function netlinkError(errno: number, flags: number, payload: Buffer): GantryError {
  const error = systemError("netlink", errno);
  // NLM_F_ACK_TLVS: attributes follow, of which number 1 is a sentence. The request's header comes before them.
  if ((flags & 0x200) === 0 || payload.length < 24) return error;
  for (let at = 20; at + 4 <= payload.length;) {
    const size = payload.readUInt16LE(at);
    if (size < 4) break;
    if ((payload.readUInt16LE(at + 2) & 0x3fff) === 1) {
      const text = payload.toString("utf8", at + 4, at + size - 1);
      return new GantryError(error.code, `netlink: ${text}`, { data: { ...error.data, errno: errnoName(errno) } });
    }
    at += (size + 3) & ~3;
  }
  return error;
}

/** What the kernel says in a netlink error, without our words. */
export function kernelWords(error: unknown): string {
  return errorMessage(error).replace(/^netlink: /, "");
}

/** One attribute: length, type, value, padding. */
export function attribute(type: number, value: Uint8Array | string | number | readonly Buffer[]): Buffer {
  let content: Uint8Array;
  if (typeof value === "number") {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value >>> 0);
    content = bytes;
  } else if (typeof value === "string") content = Buffer.from(`${value}\0`);
  else if (value instanceof Uint8Array) content = value;
  else content = Buffer.concat(value);
  const bytes = Buffer.alloc((4 + content.length + 3) & ~3);
  bytes.writeUInt16LE(4 + content.length, 0);
  bytes.writeUInt16LE(Array.isArray(value) ? type | 0x8000 : type, 2);
  bytes.set(content, 4);
  return bytes;
}

/** The attributes in `bytes` from `offset`, by type, the last of each. */
export function readAttributes(bytes: Buffer, offset: number): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = offset; at + 4 <= bytes.length;) {
    const size = bytes.readUInt16LE(at);
    if (size < 4 || at + size > bytes.length) break;
    found.set(bytes.readUInt16LE(at + 2) & 0x3fff, bytes.subarray(at + 4, at + size));
    at += (size + 3) & ~3;
  }
  return found;
}

import { Duplex } from "node:stream";
import type { SpdyHeaders } from "./header-block.ts";

/** What a stream needs of its session. */
export interface StreamCarrier {
  /** Calls `done` when the session has taken the bytes. */
  sendData(stream: SpdyStream, chunk: Buffer, fin: boolean, done: (error?: Error | null) => void): void;
  sendReply(stream: SpdyStream, headers: SpdyHeaders): void;
  sendReset(stream: SpdyStream): void;
  /** The reader took `bytes`. */
  consumed(stream: SpdyStream, bytes: number): void;
  forget(stream: SpdyStream): void;
}

/** One stream of a SPDY session: a Duplex whose two directions end by themselves. */
export class SpdyStream extends Duplex {
  readonly id: number;
  /** Those that opened the stream. */
  readonly headers: SpdyHeaders;
  /** Bytes that may be sent yet, where the peer speaks of windows. */
  sendWindow: number;
  receivedSinceUpdate = 0;
  readonly #carrier: StreamCarrier;
  #resume: (() => void) | undefined;
  #inputEnded = false;
  #outputEnded = false;

  constructor(id: number, headers: SpdyHeaders, sendWindow: number, carrier: StreamCarrier) {
    super({ allowHalfOpen: true, readableHighWaterMark: 256 * 1024, writableHighWaterMark: 64 * 1024 });
    this.id = id;
    this.headers = headers;
    this.sendWindow = sendWindow;
    this.#carrier = carrier;
    this.on("error", () => {});
  }

  /** Answers the peer that the stream is accepted. */
  reply(headers: SpdyHeaders = {}): void {
    this.#carrier.sendReply(this, headers);
  }

  /** Takes what came from the peer. The promise, if any, resolves when the reader has made room. */
  receive(chunk: Buffer, fin: boolean): Promise<void> | undefined {
    if (this.destroyed || this.#inputEnded) return undefined;
    const room = chunk.length === 0 || this.push(chunk);
    if (chunk.length > 0) this.#carrier.consumed(this, chunk.length);
    if (fin) {
      this.#inputEnded = true;
      this.push(null);
    }
    if (room || fin) return undefined;
    return new Promise((resolve) => {
      this.#resume = resolve;
      this.once("close", resolve);
    });
  }

  /** The peer broke the stream off, or the session is over. */
  cut(error?: Error): void {
    this.#inputEnded = true;
    this.#outputEnded = true;
    this.destroy(error);
  }

  override _read(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#carrier.sendData(this, chunk, false, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#outputEnded = true;
    this.#carrier.sendData(this, Buffer.alloc(0), true, done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.#inputEnded || !this.#outputEnded) this.#carrier.sendReset(this);
    this.#carrier.forget(this);
    done(error);
  }
}

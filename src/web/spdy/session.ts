import type { Duplex } from "node:stream";
import { GantryError } from "#base/errors.ts";
import {
  encodeDataHead,
  encodeGoAway,
  encodePing,
  encodeReset,
  encodeSynReply,
  encodeSynStream,
  encodeWindowUpdate,
  type Frame,
  FrameReader,
  resetStatus,
  settingInitialWindow,
} from "./frames.ts";
import { HeaderBlockReader, HeaderBlockWriter, type SpdyHeaders } from "./header-block.ts";
import { type StreamCarrier, SpdyStream } from "./stream.ts";

const defaultWindow = 64 * 1024;
const maxStreams = 1000;
const maxDataFrame = 64 * 1024;

export interface SpdySessionOptions {
  role: "server" | "client";
  /** A stream that the peer has opened. It is to be answered with `reply` or `destroy`. */
  onStream?: (stream: SpdyStream) => void;
}

/**
 * SPDY/3.1 over any two-way byte stream. Windows are kept only with a peer that speaks of them: Go's spdystream,
 * which kubectl and the kubelet use, does not, and would be waited for in vain.
 */
export class SpdySession {
  /** Resolves when the connection is over. */
  readonly closed: Promise<void>;
  readonly #carrier: Duplex;
  readonly #options: SpdySessionOptions;
  readonly #streams = new Map<number, SpdyStream>();
  readonly #reader = new FrameReader();
  readonly #headersIn = new HeaderBlockReader();
  readonly #headersOut = new HeaderBlockWriter();
  readonly #windowWaiters = new Set<() => void>();
  readonly #streamCarrier: StreamCarrier;
  #nextId: number;
  #lastPeerId = 0;
  #windows = false;
  #initialWindow = defaultWindow;
  #sessionWindow = defaultWindow;
  #receivedSinceUpdate = 0;
  #over = false;

  constructor(carrier: Duplex, options: SpdySessionOptions) {
    this.#carrier = carrier;
    this.#options = options;
    this.#nextId = options.role === "client" ? 1 : 2;
    this.#streamCarrier = {
      sendData: (stream, chunk, fin, done) => this.#sendData(stream, chunk, fin, done),
      sendReply: (stream, headers) => this.#write(encodeSynReply(stream.id, false, this.#headersOut.write(headers))),
      sendReset: (stream) => this.#write(encodeReset(stream.id, resetStatus.cancel)),
      consumed: (stream, bytes) => this.#consumed(stream, bytes),
      forget: (stream) => this.#streams.delete(stream.id),
    };
    carrier.on("error", () => carrier.destroy());
    this.closed = this.#run();
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** Opens a stream. */
  open(headers: SpdyHeaders): SpdyStream {
    if (this.#over) throw new GantryError("unavailable", "The SPDY connection is closed.");
    const stream = new SpdyStream(this.#nextId, headers, this.#initialWindow, this.#streamCarrier);
    this.#nextId += 2;
    this.#streams.set(stream.id, stream);
    this.#write(encodeSynStream(stream.id, false, this.#headersOut.write(headers)));
    return stream;
  }

  /** Says goodbye, lets what was written go out, and ends the connection; cuts it after `deadlineMs`. */
  async close(deadlineMs = 2000): Promise<void> {
    if (!this.#over) {
      this.#write(encodeGoAway(this.#lastPeerId, 0));
      this.#carrier.end();
    }
    const timer = setTimeout(() => this.#carrier.destroy(), deadlineMs);
    await this.closed;
    clearTimeout(timer);
  }

  destroy(): void {
    this.#carrier.destroy();
  }

  async #run(): Promise<void> {
    try {
      for await (const chunk of this.#carrier as AsyncIterable<Buffer>) {
        for (const frame of this.#reader.push(chunk)) {
          const wait = this.#handle(frame);
          if (wait !== undefined) await wait;
        }
      }
    } catch {
      // A broken connection and a broken peer end alike: everything below is told.
    } finally {
      this.#over = true;
      this.#headersIn.close();
      this.#carrier.destroy();
      for (const stream of this.#streams.values()) stream.cut();
      this.#streams.clear();
      this.#wakeWriters();
    }
  }

  #handle(frame: Frame): Promise<void> | undefined {
    switch (frame.kind) {
      case "data":
        return this.#handleData(frame.streamId, frame.chunk, frame.fin);
      case "syn-stream":
        return this.#handleSynStream(frame.streamId, frame.fin, frame.block);
      case "syn-reply":
      case "headers":
        return this.#handleHeaders(frame.streamId, frame.fin, frame.block);
      case "rst-stream":
        this.#streams.get(frame.streamId)?.cut();
        return undefined;
      case "ping":
        // Odd numbers are the client's.
        if ((frame.id % 2 === 1) === (this.#options.role === "server")) this.#write(encodePing(frame.id));
        return undefined;
      case "settings":
        for (const { id, value } of frame.values) if (id === settingInitialWindow) this.#setInitialWindow(value);
        return undefined;
      case "window-update":
        this.#windows = true;
        if (frame.streamId === 0) this.#sessionWindow += frame.delta;
        else {
          const stream = this.#streams.get(frame.streamId);
          if (stream !== undefined) stream.sendWindow += frame.delta;
        }
        this.#wakeWriters();
        return undefined;
      case "go-away":
        return undefined;
    }
  }

  #handleData(streamId: number, chunk: Buffer, fin: boolean): Promise<void> | undefined {
    const stream = this.#streams.get(streamId);
    // What still comes for a stream that was cut is dropped: the reset is on its way.
    return stream?.receive(chunk, fin);
  }

  async #handleSynStream(streamId: number, fin: boolean, block: Buffer): Promise<void> {
    const headers = await this.#headersIn.read(block);
    const mine = streamId % 2 === (this.#options.role === "client" ? 1 : 0);
    if (mine || streamId <= this.#lastPeerId || streamId === 0) {
      this.#write(encodeReset(streamId, resetStatus.protocolError));
      return;
    }
    this.#lastPeerId = streamId;
    if (this.#options.onStream === undefined || this.#streams.size >= maxStreams) {
      this.#write(encodeReset(streamId, resetStatus.refusedStream));
      return;
    }
    const stream = new SpdyStream(streamId, headers, this.#initialWindow, this.#streamCarrier);
    this.#streams.set(streamId, stream);
    if (fin) void stream.receive(Buffer.alloc(0), true);
    this.#options.onStream(stream);
  }

  async #handleHeaders(streamId: number, fin: boolean, block: Buffer): Promise<void> {
    await this.#headersIn.read(block);
    const stream = this.#streams.get(streamId);
    if (fin) void stream?.receive(Buffer.alloc(0), true);
    stream?.emit("reply");
  }

  #setInitialWindow(value: number): void {
    this.#windows = true;
    const change = value - this.#initialWindow;
    this.#initialWindow = value;
    for (const stream of this.#streams.values()) stream.sendWindow += change;
    this.#wakeWriters();
  }

  #wakeWriters(): void {
    const waiters = [...this.#windowWaiters];
    this.#windowWaiters.clear();
    for (const wake of waiters) wake();
  }

  #consumed(stream: SpdyStream, bytes: number): void {
    stream.receivedSinceUpdate += bytes;
    this.#receivedSinceUpdate += bytes;
    if (stream.receivedSinceUpdate >= defaultWindow / 2) {
      this.#write(encodeWindowUpdate(stream.id, stream.receivedSinceUpdate));
      stream.receivedSinceUpdate = 0;
    }
    if (this.#receivedSinceUpdate >= defaultWindow / 2) {
      this.#write(encodeWindowUpdate(0, this.#receivedSinceUpdate));
      this.#receivedSinceUpdate = 0;
    }
  }

  #sendData(stream: SpdyStream, chunk: Buffer, fin: boolean, done: (error?: Error | null) => void): void {
    if (this.#over || this.#carrier.writableEnded) {
      done(new GantryError("cancelled", "The SPDY connection is closed."));
      return;
    }
    let limit = Math.min(chunk.length, maxDataFrame);
    if (this.#windows) limit = Math.min(limit, stream.sendWindow, this.#sessionWindow);
    if (chunk.length > 0 && limit <= 0) {
      this.#windowWaiters.add(() => this.#sendData(stream, chunk, fin, done));
      return;
    }
    const piece = chunk.subarray(0, limit);
    const last = piece.length === chunk.length;
    stream.sendWindow -= piece.length;
    this.#sessionWindow -= piece.length;
    this.#carrier.write(encodeDataHead(stream.id, fin && last, piece.length));
    const room = piece.length === 0 || this.#carrier.write(piece);
    const next = last ? done : (): void => this.#sendData(stream, chunk.subarray(piece.length), fin, done);
    if (room) next();
    else this.#afterDrain(next);
  }

  #afterDrain(next: () => void): void {
    const go = (): void => {
      this.#carrier.off("drain", go);
      this.#carrier.off("close", go);
      next();
    };
    this.#carrier.on("drain", go);
    this.#carrier.on("close", go);
  }

  #write(frame: Buffer): void {
    if (!this.#over && !this.#carrier.writableEnded && !this.#carrier.destroyed) this.#carrier.write(frame);
  }
}

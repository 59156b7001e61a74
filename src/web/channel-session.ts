import type { RawData, WebSocket } from "ws";

/** Room is waited for when this many bytes are on their way out. */
const highWater = 1024 * 1024;

/** What a client may send: a chunk of a channel, or (v5) that a channel ends. */
export interface ChannelHandlers {
  /** A promise holds the connection's input back until it resolves. */
  data(channel: number, chunk: Buffer): void | Promise<void>;
  close(channel: number): void;
  /** The connection is over, by whoever's will. Called once. */
  ended(): void;
}

/**
 * Numbered channels over one WebSocket, Kubernetes' way: each message's first byte is the channel
 * (`*.channel.k8s.io`), or its first character is, with the rest in base64 (`*base64.channel.k8s.io`).
 */
export class ChannelSession {
  readonly protocol: string;
  readonly #socket: WebSocket;
  readonly #base64: boolean;
  readonly #closes: boolean;

  constructor(socket: WebSocket, protocol: string, handlers: ChannelHandlers) {
    this.protocol = protocol;
    this.#socket = socket;
    this.#base64 = protocol.includes("base64");
    this.#closes = protocol.startsWith("v5.");
    socket.on("message", (raw: RawData) => {
      const message = toBuffer(raw);
      if (message.length === 0) return;
      const first = message[0] as number;
      if (this.#closes && first === 255) {
        if (message.length > 1) handlers.close(message[1] as number);
        return;
      }
      const channel = this.#base64 ? first - 0x30 : first;
      const chunk = this.#base64 ? Buffer.from(message.toString("latin1", 1), "base64") : message.subarray(1);
      const taken = handlers.data(channel, chunk);
      if (taken === undefined) return;
      socket.pause();
      taken.then(
        () => socket.resume(),
        () => socket.terminate(),
      );
    });
    socket.once("close", () => handlers.ended());
  }

  /** Sends a chunk; resolves when there is room for the next. Nothing happens after the end. */
  async send(channel: number, chunk: Uint8Array): Promise<void> {
    const socket = this.#socket;
    if (socket.readyState !== socket.OPEN) return;
    let message: Buffer | string;
    if (this.#base64)
      message = String(channel) + Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).toString("base64");
    else {
      message = Buffer.allocUnsafe(chunk.length + 1);
      message[0] = channel;
      message.set(chunk, 1);
    }
    if (socket.bufferedAmount < highWater) {
      socket.send(message);
      return;
    }
    await new Promise<void>((resolve) => socket.send(message, () => resolve()));
  }

  /** Ends in order: what was sent still arrives. Resolves when the connection is closed. */
  async close(code = 1000, deadlineMs = 2000): Promise<void> {
    const socket = this.#socket;
    if (socket.readyState === socket.CLOSED) return;
    socket.resume();
    const timer = setTimeout(() => socket.terminate(), deadlineMs);
    await new Promise<void>((resolve) => {
      socket.once("close", () => resolve());
      socket.close(code);
    });
    clearTimeout(timer);
  }
}

function toBuffer(raw: RawData): Buffer {
  if (Buffer.isBuffer(raw)) return raw;
  return Array.isArray(raw) ? Buffer.concat(raw) : Buffer.from(raw);
}

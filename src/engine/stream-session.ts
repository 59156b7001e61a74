import type { StreamsPort } from "#api/container-runtime.ts";
import type { StreamChunk, StreamSession } from "./engine.ts";
import { DetachScanner } from "./detach-keys.ts";

export interface SessionOptions {
  tty: boolean;
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  /** Undefined: no keys detach (no TTY, or no stdin). */
  detachKeys: Buffer | undefined;
  onDetach?: () => void;
  /** Given first, before what is live. */
  replay?: AsyncIterable<StreamChunk>;
}

/** As much as a pipe holds. */
const maxEarlyBytes = 64 * 1024;

/**
 * One client's connection to a process's streams. The process may come later: until `connect`, some of
 * what the client types is kept, and then the client waits.
 */
export class ProcessSession implements StreamSession {
  readonly tty: boolean;
  readonly output: AsyncIterable<StreamChunk>;
  readonly #options: SessionOptions;
  readonly #scanner: DetachScanner | undefined;
  #earlyBytes = 0;
  readonly #connected: Promise<StreamsPort | undefined>;
  #settle: (streams: StreamsPort | undefined) => void = () => {};
  #streams: StreamsPort | undefined;
  #isClosed = false;
  /** The client went, or typed the keys, while the process may live on. */
  isDetached = false;
  #detached: () => void = () => {};
  readonly #ended: Promise<void>;
  #onClose: () => void = () => {};

  constructor(options: SessionOptions) {
    this.#options = options;
    this.tty = options.tty;
    this.#scanner = options.detachKeys === undefined ? undefined : new DetachScanner(options.detachKeys);
    this.#connected = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#ended = new Promise((resolve) => {
      this.#detached = resolve;
    });
    this.output = this.#read();
  }

  /** The process is there: its streams are this session's from now on. */
  async connect(streams: StreamsPort): Promise<void> {
    if (this.#isClosed) {
      streams.close();
      return;
    }
    this.#streams = streams;
    this.#settle(streams);
  }

  /** There will be no process. */
  abandon(): void {
    this.#settle(undefined);
  }

  async *#read(): AsyncGenerator<StreamChunk> {
    const { stdout, stderr, replay } = this.#options;
    try {
      if (replay !== undefined) yield* replay;
      const streams = await Promise.race([this.#connected, this.#ended.then(() => undefined)]);
      if (streams === undefined) return;
      // Detaching must not wait for the next chunk.
      const reading = streams.output[Symbol.asyncIterator]();
      for (;;) {
        const next = await Promise.race([reading.next(), this.#ended.then(() => undefined)]);
        if (next === undefined || next.done === true) {
          this.isDetached = next === undefined;
          break;
        }
        const chunk = next.value;
        if (chunk.stream === "stdout" ? stdout : stderr) yield chunk;
      }
    } finally {
      this.close();
    }
  }

  /** Called once, when the client or the process has gone. */
  onClose(listener: () => void): void {
    this.#onClose = listener;
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (!this.#options.stdin || this.#isClosed) return;
    const scanned = this.#scanner?.push(chunk);
    const bytes = scanned?.pass ?? chunk;
    if (bytes.length > 0) {
      if (this.#streams === undefined && this.#earlyBytes + bytes.length <= maxEarlyBytes) {
        this.#earlyBytes += bytes.length;
        const kept = Uint8Array.from(bytes);
        void this.#connected.then((streams) => streams?.write(kept));
      } else {
        // Whoever starts the process must not wait for this: it would have to read before it runs.
        const streams = this.#streams ?? (await this.#connected);
        await streams?.write(bytes);
      }
    }
    if (scanned?.isDetach === true) {
      this.#options.onDetach?.();
      this.close();
    }
  }

  closeStdin(): void {
    // Behind what was written before the process was there.
    if (this.#options.stdin) void this.#connected.then((streams) => streams?.closeStdin());
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onClose();
    this.#detached();
    this.#settle(undefined);
    this.#streams?.close();
  }
}

/** A session without a live part: what was logged, then the end. */
export function replayOnly(tty: boolean, replay: AsyncIterable<StreamChunk>): StreamSession {
  return { tty, output: replay, write: async () => {}, closeStdin: () => {}, close: () => {} };
}

/**
 * SPDY/3.1 frames (SPDY Protocol, draft 3.1, section 2.2): eight bytes of head. A control frame's begin with
 * a set bit, the version and the type; a data frame's with the stream's number; both go on with flags and a
 * 24-bit length.
 */

const version = 3;
const maxControlLength = 256 * 1024;

export const controlType = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
  windowUpdate: 9,
} as const;

/** RST_STREAM's reasons (2.6.3). */
export const resetStatus = {
  protocolError: 1,
  invalidStream: 2,
  refusedStream: 3,
  cancel: 5,
  internalError: 6,
} as const;

export const flagFin = 1;

/** Settings id 7: the window that new streams start with. */
export const settingInitialWindow = 7;

export type Frame =
  | { kind: "syn-stream"; streamId: number; fin: boolean; block: Buffer }
  | { kind: "syn-reply"; streamId: number; fin: boolean; block: Buffer }
  | { kind: "headers"; streamId: number; fin: boolean; block: Buffer }
  | { kind: "rst-stream"; streamId: number; status: number }
  | { kind: "settings"; values: { id: number; value: number }[] }
  | { kind: "ping"; id: number }
  | { kind: "go-away"; lastStreamId: number; status: number }
  | { kind: "window-update"; streamId: number; delta: number }
  /** A piece of a data frame, as far as it has come; `fin` with the last piece only. */
  | { kind: "data"; streamId: number; fin: boolean; chunk: Buffer };

/** The bytes are no SPDY/3.1. The session must end. */
export class SpdyProtocolError extends Error {
  override name = "SpdyProtocolError";
}

interface OpenDataFrame {
  streamId: number;
  fin: boolean;
  missing: number;
}

/** Cuts a byte stream into frames. Unknown control types are skipped, as the protocol demands. */
export class FrameReader {
  #buffer: Buffer = Buffer.alloc(0);
  #data: OpenDataFrame | undefined;

  /** The frames that are whole after `chunk`. Throws SpdyProtocolError. */
  *push(chunk: Buffer): Generator<Frame, void, undefined> {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
    for (;;) {
      if (this.#data !== undefined) {
        const piece = this.#takeData(this.#data);
        if (piece === undefined) return;
        yield piece;
        continue;
      }
      if (this.#buffer.length < 8) return;
      const first = this.#buffer.readUInt32BE(0);
      const flags = this.#buffer[4] as number;
      const length = this.#buffer.readUIntBE(5, 3);
      if (first < 0x80000000) {
        if (first === 0) throw new SpdyProtocolError("a data frame for stream 0");
        this.#data = { streamId: first, fin: (flags & flagFin) !== 0, missing: length };
        this.#buffer = this.#buffer.subarray(8);
        if (length === 0) {
          this.#data = undefined;
          yield { kind: "data", streamId: first, fin: (flags & flagFin) !== 0, chunk: Buffer.alloc(0) };
        }
        continue;
      }
      const frameVersion = (first >>> 16) & 0x7fff;
      if (frameVersion !== version) throw new SpdyProtocolError(`SPDY version ${frameVersion}`);
      if (length > maxControlLength) throw new SpdyProtocolError(`a control frame of ${length} bytes`);
      if (this.#buffer.length < 8 + length) return;
      const body = this.#buffer.subarray(8, 8 + length);
      this.#buffer = this.#buffer.subarray(8 + length);
      const frame = parseControl(first & 0xffff, flags, body);
      if (frame !== undefined) yield frame;
    }
  }

  #takeData(open: OpenDataFrame): Frame | undefined {
    if (this.#buffer.length === 0) return undefined;
    const chunk = this.#buffer.subarray(0, open.missing);
    this.#buffer = this.#buffer.subarray(chunk.length);
    open.missing -= chunk.length;
    const last = open.missing === 0;
    if (last) this.#data = undefined;
    return { kind: "data", streamId: open.streamId, fin: last && open.fin, chunk };
  }
}

const minimumLength: Record<number, number> = {
  [controlType.synStream]: 10,
  [controlType.synReply]: 4,
  [controlType.rstStream]: 8,
  [controlType.settings]: 4,
  [controlType.ping]: 4,
  [controlType.goAway]: 8,
  [controlType.headers]: 4,
  [controlType.windowUpdate]: 8,
};

function parseControl(type: number, flags: number, body: Buffer): Frame | undefined {
  if (body.length < (minimumLength[type] ?? 0))
    throw new SpdyProtocolError(`a control frame of type ${type} cut short`);
  const word = (at: number): number => body.readUInt32BE(at) & 0x7fffffff;
  const fin = (flags & flagFin) !== 0;
  switch (type) {
    case controlType.synStream:
      return { kind: "syn-stream", streamId: word(0), fin, block: body.subarray(10) };
    case controlType.synReply:
      return { kind: "syn-reply", streamId: word(0), fin, block: body.subarray(4) };
    case controlType.headers:
      return { kind: "headers", streamId: word(0), fin, block: body.subarray(4) };
    case controlType.rstStream:
      return { kind: "rst-stream", streamId: word(0), status: body.readUInt32BE(4) };
    case controlType.settings:
      return { kind: "settings", values: parseSettings(body) };
    case controlType.ping:
      return { kind: "ping", id: body.readUInt32BE(0) };
    case controlType.goAway:
      return { kind: "go-away", lastStreamId: word(0), status: body.readUInt32BE(4) };
    case controlType.windowUpdate:
      return { kind: "window-update", streamId: word(0), delta: word(4) };
    default:
      return undefined;
  }
}

function parseSettings(body: Buffer): { id: number; value: number }[] {
  const count = body.readUInt32BE(0);
  if (body.length < 4 + count * 8) throw new SpdyProtocolError("a settings frame cut short");
  const values: { id: number; value: number }[] = [];
  for (let at = 4; at < 4 + count * 8; at += 8) {
    values.push({ id: body.readUIntBE(at + 1, 3), value: body.readUInt32BE(at + 4) });
  }
  return values;
}

function control(type: number, flags: number, words: readonly number[], rest?: Buffer): Buffer {
  const length = words.length * 4 + (rest?.length ?? 0);
  const frame = Buffer.allocUnsafe(8 + length);
  frame.writeUInt16BE(0x8000 | version, 0);
  frame.writeUInt16BE(type, 2);
  frame[4] = flags;
  frame.writeUIntBE(length, 5, 3);
  for (const [index, value] of words.entries()) frame.writeUInt32BE(value >>> 0, 8 + index * 4);
  rest?.copy(frame, 8 + words.length * 4);
  return frame;
}

export function encodeSynStream(streamId: number, fin: boolean, block: Buffer): Buffer {
  return control(controlType.synStream, fin ? flagFin : 0, [streamId, 0], Buffer.concat([Buffer.alloc(2), block]));
}

export function encodeSynReply(streamId: number, fin: boolean, block: Buffer): Buffer {
  return control(controlType.synReply, fin ? flagFin : 0, [streamId], block);
}

export function encodeReset(streamId: number, status: number): Buffer {
  return control(controlType.rstStream, 0, [streamId, status]);
}

export function encodePing(id: number): Buffer {
  return control(controlType.ping, 0, [id]);
}

export function encodeGoAway(lastStreamId: number, status: number): Buffer {
  return control(controlType.goAway, 0, [lastStreamId, status]);
}

export function encodeWindowUpdate(streamId: number, delta: number): Buffer {
  return control(controlType.windowUpdate, 0, [streamId, delta]);
}

/** The head of a data frame; the bytes follow it. */
export function encodeDataHead(streamId: number, fin: boolean, length: number): Buffer {
  const head = Buffer.allocUnsafe(8);
  head.writeUInt32BE(streamId, 0);
  head[4] = fin ? flagFin : 0;
  head.writeUIntBE(length, 5, 3);
  return head;
}

import { constants, createInflate, type Inflate } from "node:zlib";
import { headerDictionary } from "./dictionary.ts";
import { SpdyProtocolError } from "./frames.ts";

const maxHeaderBytes = 256 * 1024;
const maxStoredBlock = 65_535;

/** Names in lower case; several values of one name are joined by NUL on the wire and an array here. */
export type SpdyHeaders = Record<string, string>;

/**
 * Reads the header blocks of one direction of a connection: one zlib stream goes through all of them
 * (SPDY Protocol, draft 3.1, 2.6.10.1), so they must be read in their order.
 */
export class HeaderBlockReader {
  readonly #inflate: Inflate;
  #chunks: Buffer[] = [];
  #size = 0;
  #failed: ((error: Error) => void) | undefined;

  constructor() {
    this.#inflate = createInflate({ dictionary: headerDictionary, flush: constants.Z_SYNC_FLUSH });
    this.#inflate.on("data", (chunk: Buffer) => {
      this.#size += chunk.length;
      if (this.#size > maxHeaderBytes) this.#inflate.destroy(new SpdyProtocolError("headers too large"));
      else this.#chunks.push(chunk);
    });
    this.#inflate.on("error", (error) => this.#failed?.(error));
  }

  /** Throws SpdyProtocolError; the connection is then of no more use. */
  async read(block: Buffer): Promise<SpdyHeaders> {
    if (this.#inflate.destroyed) throw new SpdyProtocolError("headers after broken headers");
    this.#chunks = [];
    this.#size = 0;
    await new Promise<void>((resolve, reject) => {
      this.#failed = (error) =>
        reject(error instanceof SpdyProtocolError ? error : new SpdyProtocolError(`headers: ${error.message}`));
      this.#inflate.write(block, (error) => {
        // Destroying also calls back, without an error.
        if (this.#inflate.destroyed) reject(new SpdyProtocolError("headers too large"));
        else if (error === null || error === undefined) resolve();
      });
    });
    // What did not come through the listener yet.
    while (this.#inflate.read() !== null);
    return parseHeaders(Buffer.concat(this.#chunks, this.#size));
  }

  close(): void {
    this.#inflate.destroy();
  }
}

function parseHeaders(bytes: Buffer): SpdyHeaders {
  let at = 0;
  const number = (): number => {
    if (at + 4 > bytes.length) throw new SpdyProtocolError("headers cut short");
    at += 4;
    return bytes.readUInt32BE(at - 4);
  };
  const text = (): string => {
    const length = number();
    if (at + length > bytes.length) throw new SpdyProtocolError("headers cut short");
    at += length;
    return bytes.toString("utf8", at - length, at);
  };
  const headers: SpdyHeaders = {};
  for (let left = number(); left > 0; left--) {
    const name = text().toLowerCase();
    headers[name] = text();
  }
  return headers;
}

/**
 * Writes the header blocks of one direction. The zlib stream consists of stored blocks: nothing is
 * compressed, so that no state is kept and no time spent; a block is some ten bytes longer than its text.
 */
export class HeaderBlockWriter {
  #begun = false;

  write(headers: SpdyHeaders): Buffer {
    const names = Object.keys(headers);
    const parts: Buffer[] = [];
    const number = (value: number): void => {
      const word = Buffer.alloc(4);
      word.writeUInt32BE(value);
      parts.push(word);
    };
    number(names.length);
    for (const name of names) {
      for (const text of [name.toLowerCase(), headers[name] as string]) {
        const bytes = Buffer.from(text);
        number(bytes.length);
        parts.push(bytes);
      }
    }
    const plain = Buffer.concat(parts);
    const out: Buffer[] = this.#begun ? [] : [Buffer.from([0x78, 0x01])];
    this.#begun = true;
    for (let at = 0; at < plain.length; at += maxStoredBlock) {
      const piece = plain.subarray(at, at + maxStoredBlock);
      const head = Buffer.alloc(5);
      head.writeUInt16LE(piece.length, 1);
      head.writeUInt16LE(~piece.length & 0xffff, 3);
      out.push(head, piece);
    }
    // An empty block, as a sync flush leaves it: Go's reader gives nothing away before it sees one.
    out.push(Buffer.from([0, 0, 0, 0xff, 0xff]));
    return Buffer.concat(out);
  }
}

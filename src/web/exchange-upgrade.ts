import { type IncomingMessage, STATUS_CODES } from "node:http";
import { type Duplex, Readable } from "node:stream";
import type { ConnectionInfo } from "./connection-info.ts";
import { Exchange, isBodiless } from "./exchange.ts";
import type { ResponseHeaders } from "./http.ts";

/** The pieces that a protocol implementation (the `ws` package) wants to do the handshake itself. */
export interface UpgradeParts {
  request: IncomingMessage;
  socket: Duplex;
}

/** How long a client may keep its side open after the way out has ended and nobody reads from it any more. */
const lingerMs = 10_000;

/** A request with an Upgrade header. It may be answered in the ordinary way; the connection then ends. */
export class UpgradeExchange extends Exchange {
  readonly httpVersion = "1.1";
  override readonly upgrade: string;
  readonly body: Readable;
  readonly #request: IncomingMessage;
  readonly #socket: Duplex;

  constructor(request: IncomingMessage, socket: Duplex, head: Buffer, connection: ConnectionInfo, gzipFrom: number) {
    super(request.method ?? "GET", request.url ?? "/", request.headers, connection, gzipFrom);
    this.upgrade = (request.headers.upgrade ?? "").toLowerCase();
    this.#request = request;
    this.#socket = socket;
    this.body = upgradeBody(request, socket, head);
    socket.on("close", () => this.closed(false));
    socket.on("drain", () => this.roomAgain());
    socket.on("error", () => socket.destroy());
    socket.once("finish", () => this.#leave());
    request.on("error", () => {});
  }

  /**
   * The way out has ended. Unless somebody still reads, what the client sends is read away: its end would
   * otherwise never be seen behind unread bytes, and the connection stay for ever.
   */
  #leave(): void {
    const socket = this.#socket;
    if (socket.destroyed || socket.listenerCount("data") > 0 || socket.listenerCount("readable") > 0) return;
    socket.resume();
    const timer = setTimeout(() => socket.destroy(), lingerMs).unref();
    socket.once("close", () => clearTimeout(timer));
  }

  protected discardBody(): void {
    this.body.resume();
  }

  #head(status: number, reason: string | undefined, headers: ResponseHeaders): string {
    const lines = [`HTTP/1.1 ${status} ${reason ?? STATUS_CODES[status] ?? ""}`];
    for (const set of [headers, this.extraHeaders]) {
      for (const [name, value] of Object.entries(set ?? {})) {
        for (const one of Array.isArray(value) ? value : [value]) {
          if (one !== undefined) lines.push(`${name}: ${String(one).replaceAll(/[\r\n]/g, " ")}`);
        }
      }
    }
    return `${lines.join("\r\n")}\r\n\r\n`;
  }

  protected sendWhole(status: number, headers: ResponseHeaders, body: Buffer | undefined): void {
    const length = isBodiless(status) ? undefined : (body?.length ?? 0);
    const all = { Date: new Date().toUTCString(), "Content-Length": length, ...headers, Connection: "close" };
    this.#socket.write(this.#head(status, undefined, all));
    if (body !== undefined && length !== undefined) this.#socket.write(body);
    this.end();
  }

  protected sendHead(status: number, headers: ResponseHeaders): void {
    this.#socket.write(this.#head(status, undefined, { ...headers, Connection: "close" }));
  }

  protected takeOver(status: number, reason: string, headers: ResponseHeaders): Duplex {
    this.body.resume();
    this.#socket.write(this.#head(status, reason, headers));
    return this.#socket;
  }

  /** For a handshake that somebody else writes. The answer counts as begun. */
  giveAway(): UpgradeParts {
    this.started = true;
    this.streaming = true;
    this.status = 101;
    this.body.resume();
    return { request: this.#request, socket: this.#socket };
  }

  write(chunk: Uint8Array | string): Promise<void> | undefined {
    if (this.finished || this.#socket.writableEnded || this.#socket.write(chunk)) return undefined;
    return this.waitForRoom();
  }

  end(chunk?: Uint8Array | string): void {
    if (this.finished || this.#socket.writableEnded) return;
    this.body.resume();
    this.#socket.resume();
    this.#socket.end(chunk);
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/**
 * The body of an upgrade request. From Node 25 on it comes out of the request and the socket begins behind
 * it; before, everything comes out of `head` and the socket.
 */
function upgradeBody(request: IncomingMessage, socket: Duplex, head: Buffer): Readable {
  const inRequest = Number(process.versions.node.split(".")[0]) >= 25;
  const length = inRequest ? 0 : Number(request.headers["content-length"] ?? 0);
  const early = head.subarray(0, length);
  if (head.length > early.length) socket.unshift(head.subarray(early.length));
  if (inRequest) return request;
  if (early.length === length) return Readable.from(early.length === 0 ? [] : [early]);
  return lateBody(early, length, socket);
}

/** A body of which `early` is here, and the rest of its `length` bytes is still to come from the socket. */
function lateBody(early: Buffer, length: number, socket: Duplex): Readable {
  let missing = length - early.length;
  const body = new Readable({ read: () => {} });
  if (early.length > 0) body.push(early);
  const take = (): void => {
    while (missing > 0) {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      const mine = chunk.subarray(0, missing);
      missing -= mine.length;
      body.push(mine);
      if (chunk.length > mine.length) socket.unshift(chunk.subarray(mine.length));
    }
    socket.off("readable", take);
    body.push(null);
  };
  socket.on("readable", take);
  socket.once("close", () => {
    if (missing > 0) body.destroy();
  });
  return body;
}

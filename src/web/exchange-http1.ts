import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import { Duplex, type Readable } from "node:stream";
import type { ConnectionInfo } from "./connection-info.ts";
import { Exchange, isBodiless } from "./exchange.ts";
import type { ResponseHeaders } from "./http.ts";

/** How long a client may go on sending a body that was refused, before its connection is cut. */
const lingerMs = 2000;

/** A request over HTTP/1.x that is no upgrade. */
export class Http1Exchange extends Exchange {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  #discarding = false;

  constructor(request: IncomingMessage, response: ServerResponse, connection: ConnectionInfo, gzipFrom: number) {
    super(request.method ?? "GET", request.url ?? "/", request.headers, connection, gzipFrom);
    this.#request = request;
    this.#response = response;
    response.on("close", () => {
      const complete = response.writableFinished;
      this.closed(complete);
      if (this.#discarding && !request.complete) setTimeout(() => request.socket.destroy(), lingerMs).unref();
    });
    response.on("drain", () => this.roomAgain());
    response.on("error", () => {});
    request.on("error", () => {});
  }

  get httpVersion(): "1.0" | "1.1" {
    return this.#request.httpVersion === "1.0" ? "1.0" : "1.1";
  }

  get body(): Readable {
    return this.#request;
  }

  protected discardBody(): void {
    this.#discarding = true;
    this.#response.shouldKeepAlive = false;
    this.#request.resume();
  }

  #head(status: number, headers: ResponseHeaders, length: number | undefined): void {
    const all: Record<string, unknown> = { ...this.extraHeaders, ...headers };
    if (length !== undefined && !isBodiless(status)) all["Content-Length"] ??= length;
    this.#response.writeHead(status, all as OutgoingHttpHeaders);
  }

  protected sendWhole(status: number, headers: ResponseHeaders, body: Buffer | undefined): void {
    this.#head(status, headers, body?.length ?? 0);
    if (body === undefined || isBodiless(status)) this.#response.end();
    else this.#response.end(body);
  }

  protected sendHead(status: number, headers: ResponseHeaders): void {
    this.#head(status, headers, undefined);
    this.#response.flushHeaders();
  }

  /** The way out is raw and ends with the connection; the way in is the request's body. */
  protected takeOver(status: number, reason: string, headers: ResponseHeaders): Duplex {
    const response = this.#response;
    response.useChunkedEncodingByDefault = false;
    response.shouldKeepAlive = false;
    response.writeHead(status, reason, { ...this.extraHeaders, ...headers } as OutgoingHttpHeaders);
    response.flushHeaders();
    return rawPair(this.#request, response);
  }

  write(chunk: Uint8Array | string): Promise<void> | undefined {
    if (this.finished || this.#response.write(chunk)) return undefined;
    return this.waitForRoom();
  }

  end(chunk?: Uint8Array | string): void {
    if (this.finished) return;
    if (chunk === undefined) this.#response.end();
    else this.#response.end(chunk);
  }

  destroy(): void {
    this.#request.socket.destroy();
  }
}

function rawPair(source: IncomingMessage, sink: ServerResponse): Duplex {
  const pair = new Duplex({
    allowHalfOpen: true,
    read: () => source.resume(),
    write: (chunk: Buffer, _encoding, done) => {
      sink.write(chunk, (error) => done(error));
    },
    final: (done) => {
      sink.end(() => done());
    },
    destroy: (error, done) => {
      source.socket.destroy();
      done(error);
    },
  });
  source.on("data", (chunk) => {
    if (!pair.push(chunk)) source.pause();
  });
  source.on("end", () => pair.push(null));
  sink.on("close", () => pair.destroy());
  return pair;
}

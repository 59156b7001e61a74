import type { Duplex, Readable } from "node:stream";

/** Header names in lower case; a value is one string, or several for `set-cookie`-like headers. */
export type RequestHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** Header names in any case. */
export type ResponseHeaders = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** Who the TLS client says it is. */
export interface PeerCertificate {
  /** True when the chain leads to one of the server's client authorities and the certificate is in date. */
  readonly authorized: boolean;
  readonly commonName: string;
  /** Every O of the subject, in order. */
  readonly organizations: readonly string[];
  /** SHA-256 of the certificate, lower-case hexadecimal. */
  readonly fingerprint: string;
  readonly der: Buffer;
}

/** One HTTP request, of HTTP/1.1 or HTTP/2 alike. */
export interface HttpRequest {
  /** Upper case. */
  readonly method: string;
  /** As sent: path and query. */
  readonly target: string;
  /** The path as sent, before `?`, still percent-encoded. */
  readonly path: string;
  /** What stands after `?`, without it; "" when there is none. */
  readonly rawQuery: string;
  /** Parsed on first use. */
  readonly query: URLSearchParams;
  readonly headers: RequestHeaders;
  readonly httpVersion: "1.0" | "1.1" | "2.0";
  readonly tls: boolean;
  /** The peer's address without port; "" on a unix socket. */
  readonly remoteAddress: string;
  /** Undefined without TLS, and when the client sent no certificate. Cached for the connection. */
  readonly peerCertificate: PeerCertificate | undefined;
  /**
   * What the client asks to upgrade to, in lower case (`websocket`, `spdy/3.1`, `tcp`); undefined for an
   * ordinary request. Such a request may still be answered in the ordinary way.
   */
  readonly upgrade: string | undefined;
  /** Aborts when the client goes away before the answer is complete, and when the server stops. */
  readonly signal: AbortSignal;
  /** The body as a stream, for one reader. Ends at once when there is none. */
  readonly body: Readable;
  /**
   * The whole body. Throws `too-large` beyond `limit` bytes (default 3 MiB; the connection is then closed
   * after the answer) and `cancelled` when the client goes away.
   */
  readBody(limit?: number): Promise<Buffer>;
  /** One header as a string; "" when absent; the first of several. */
  header(name: string): string;
}

/** The answer to one request. Exactly one of `send`, `start` and `hijack` begins it. */
export interface HttpResponse {
  /** True once headers are on their way (or the connection was hijacked). */
  readonly started: boolean;
  /** True once the answer is complete or can no longer be: the client went away. */
  readonly finished: boolean;
  /** The status that was sent; 0 before. */
  readonly status: number;
  /** Adds a header to whatever answer follows. */
  setHeader(name: string, value: string | number | readonly string[]): void;
  /** The complete answer. Large JSON bodies are compressed when the client accepts gzip. */
  send(status: number, headers: ResponseHeaders, body?: Buffer | string): void;
  /** Complete answer with `application/json`. */
  sendJson(status: number, value: unknown): void;
  /** Sends the headers at once; `write` and `end` follow. */
  start(status: number, headers: ResponseHeaders): void;
  /**
   * Writes a chunk. Returns undefined when there is room for more, else a promise of room that also resolves
   * (not rejects) when the client goes away: look at `finished` or the request's signal.
   */
  write(chunk: Uint8Array | string): Promise<void> | undefined;
  end(chunk?: Uint8Array | string): void;
  /**
   * Takes the connection over: sends the status line and headers (101 for an upgrade; 200 for docker's old
   * way) and returns the raw connection, both directions, half-open allowed. Only on HTTP/1.1; throws
   * `unsupported` on HTTP/2. Without an Upgrade header only the outgoing direction is raw: the incoming one
   * is the request's body. Once the way out has ended with nobody reading, what still comes in is thrown
   * away and the connection is cut after a while: read before you end.
   */
  hijack(status: number, reason: string, headers: ResponseHeaders): Duplex;
  /** Ends the connection at once, without an orderly end of the answer. */
  destroy(): void;
}

/** May throw: the server then calls its error handler, when no answer was begun, else destroys the stream. */
export type HttpHandler = (request: HttpRequest, response: HttpResponse) => void | Promise<void>;

/** Writes the answer for what a handler threw. */
export type HttpErrorHandler = (error: unknown, request: HttpRequest, response: HttpResponse) => void;

import type { Duplex, Readable } from "node:stream";
import { constants, gzip } from "node:zlib";
import { GantryError } from "#base/errors.ts";
import type { ConnectionInfo } from "./connection-info.ts";
import type { HttpRequest, HttpResponse, PeerCertificate, RequestHeaders, ResponseHeaders } from "./http.ts";

export const defaultBodyLimit = 3 * 1024 * 1024;

/** Statuses whose answer has no body (RFC 9110, 6.4.1). */
export function isBodiless(status: number): boolean {
  return status === 204 || status === 304 || (status >= 100 && status < 200);
}

/**
 * One request and its answer, in one object: what HTTP/1.1, HTTP/2 and upgrades have in common. Subclasses
 * move the bytes.
 */
export abstract class Exchange implements HttpRequest, HttpResponse {
  readonly method: string;
  readonly target: string;
  readonly path: string;
  readonly rawQuery: string;
  readonly headers: RequestHeaders;
  readonly upgrade: string | undefined = undefined;
  abstract readonly httpVersion: "1.0" | "1.1" | "2.0";
  abstract readonly body: Readable;
  readonly #connection: ConnectionInfo;
  readonly #gzipFrom: number;
  #query: URLSearchParams | undefined;
  #abort: AbortController | undefined;
  #room: Promise<void> | undefined;
  #makeRoom: (() => void) | undefined;
  protected extraHeaders: Record<string, string | number | readonly string[] | undefined> | undefined;
  started = false;
  finished = false;
  status = 0;
  /** True once the answer is one of unknown length: such a one is cut when the server stops. */
  streaming = false;

  constructor(method: string, target: string, headers: RequestHeaders, connection: ConnectionInfo, gzipFrom: number) {
    this.method = method;
    this.target = target;
    const mark = target.indexOf("?");
    this.path = mark < 0 ? target : target.slice(0, mark);
    this.rawQuery = mark < 0 ? "" : target.slice(mark + 1);
    this.headers = headers;
    this.#connection = connection;
    this.#gzipFrom = gzipFrom;
  }

  get tls(): boolean {
    return this.#connection.tls;
  }

  get remoteAddress(): string {
    return this.#connection.remoteAddress;
  }

  get peerCertificate(): PeerCertificate | undefined {
    return this.#connection.peerCertificate;
  }

  get query(): URLSearchParams {
    return (this.#query ??= new URLSearchParams(this.rawQuery));
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#gone) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  #gone = false;

  header(name: string): string {
    const value = this.headers[name.toLowerCase()];
    return value === undefined ? "" : typeof value === "string" ? value : (value[0] ?? "");
  }

  /** The connection or stream has ended; `complete` when the answer was whole. */
  protected closed(complete: boolean): void {
    this.finished = true;
    this.#makeRoom?.();
    if (!complete) this.abort();
  }

  /** Tells the handler to give up. */
  abort(): void {
    this.#gone = true;
    this.#abort?.abort();
  }

  /** To be called by subclasses when a write did not fit; `roomAgain` resolves it. */
  protected waitForRoom(): Promise<void> {
    if (this.finished) return Promise.resolve();
    return (this.#room ??= new Promise((resolve) => {
      this.#makeRoom = () => {
        this.#room = undefined;
        this.#makeRoom = undefined;
        resolve();
      };
    }));
  }

  protected roomAgain(): void {
    this.#makeRoom?.();
  }

  async readBody(limit = defaultBodyLimit): Promise<Buffer> {
    const announced = Number(this.headers["content-length"] ?? 0);
    if (announced > limit) return this.#refuseBody(limit);
    const chunks: Buffer[] = [];
    let size = 0;
    const body = this.body;
    await new Promise<void>((resolve, reject) => {
      const gone = (): void => {
        if (body.readableEnded) resolve();
        else reject(new GantryError("cancelled", "The client went away before it had sent the whole body."));
      };
      body.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > limit) {
          body.removeAllListeners("data");
          reject(this.#tooLarge(limit));
        } else chunks.push(chunk);
      });
      body.once("end", resolve);
      body.once("error", gone);
      body.once("close", gone);
      if (body.readableEnded) resolve();
      else if (body.destroyed) gone();
    });
    return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, size);
  }

  #tooLarge(limit: number): GantryError {
    this.discardBody();
    return new GantryError("too-large", `The request's body is larger than ${limit} bytes.`, { data: { limit } });
  }

  async #refuseBody(limit: number): Promise<never> {
    throw this.#tooLarge(limit);
  }

  setHeader(name: string, value: string | number | readonly string[]): void {
    (this.extraHeaders ??= {})[name] = value;
  }

  sendJson(status: number, value: unknown): void {
    this.send(status, { "Content-Type": "application/json" }, Buffer.from(JSON.stringify(value)));
  }

  send(status: number, headers: ResponseHeaders, body?: Buffer | string): void {
    this.#begin(status);
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    if (bytes !== undefined && bytes.length >= this.#gzipFrom && this.#mayCompress(headers)) {
      gzip(bytes, { level: constants.Z_BEST_SPEED }, (error, packed) => {
        if (this.finished) return;
        if (error !== null) this.sendWhole(status, headers, bytes);
        else this.sendWhole(status, { ...headers, "Content-Encoding": "gzip", Vary: "Accept-Encoding" }, packed);
      });
      return;
    }
    this.sendWhole(status, headers, bytes);
  }

  #mayCompress(headers: ResponseHeaders): boolean {
    const accepts = this.headers["accept-encoding"];
    if (accepts === undefined || !String(accepts).includes("gzip")) return false;
    for (const name in headers) {
      const lower = name.toLowerCase();
      if (lower === "content-encoding") return false;
      if (lower === "content-type") return /json|text|yaml/.test(String(headers[name]));
    }
    return false;
  }

  start(status: number, headers: ResponseHeaders): void {
    this.#begin(status);
    this.streaming = true;
    this.sendHead(status, headers);
  }

  #begin(status: number): void {
    if (this.started) throw new Error(`a second answer (${status}) to ${this.method} ${this.path}`);
    this.started = true;
    this.status = status;
  }

  hijack(status: number, reason: string, headers: ResponseHeaders): Duplex {
    if (this.httpVersion === "2.0") {
      throw new GantryError("unsupported", "A connection can be taken over on HTTP/1.1 only.");
    }
    this.#begin(status);
    this.streaming = true;
    return this.takeOver(status, reason, headers);
  }

  protected abstract discardBody(): void;
  protected abstract sendWhole(status: number, headers: ResponseHeaders, body: Buffer | undefined): void;
  protected abstract sendHead(status: number, headers: ResponseHeaders): void;
  protected abstract takeOver(status: number, reason: string, headers: ResponseHeaders): Duplex;
  abstract write(chunk: Uint8Array | string): Promise<void> | undefined;
  abstract end(chunk?: Uint8Array | string): void;
  abstract destroy(): void;
}

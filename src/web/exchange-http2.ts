import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { Duplex, Readable } from "node:stream";
import type { ConnectionInfo } from "./connection-info.ts";
import { Exchange, isBodiless } from "./exchange.ts";
import type { ResponseHeaders } from "./http.ts";

/** A request over HTTP/2. */
export class Http2Exchange extends Exchange {
  readonly #stream: ServerHttp2Stream;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, connection: ConnectionInfo, gzipFrom: number) {
    super(
      headers[constants.HTTP2_HEADER_METHOD] as string,
      (headers[constants.HTTP2_HEADER_PATH] as string | undefined) ?? "/",
      headers,
      connection,
      gzipFrom,
    );
    this.#stream = stream;
    stream.on("close", () => this.closed(stream.writableFinished && stream.rstCode === constants.NGHTTP2_NO_ERROR));
    stream.on("drain", () => this.roomAgain());
    stream.on("error", () => {});
  }

  get httpVersion(): "2.0" {
    return "2.0";
  }

  get body(): Readable {
    return this.#stream;
  }

  protected discardBody(): void {
    this.#stream.resume();
  }

  #head(status: number, headers: ResponseHeaders): OutgoingHttpHeaders {
    const all: Record<string, unknown> = { [constants.HTTP2_HEADER_STATUS]: status };
    for (const set of [this.extraHeaders, headers]) {
      for (const name in set) {
        const value = set[name];
        // HTTP/2 has no connection headers (RFC 9113, 8.2.2).
        if (value !== undefined && !/^(connection|keep-alive|transfer-encoding|upgrade)$/i.test(name)) {
          all[name.toLowerCase()] = value;
        }
      }
    }
    return all as OutgoingHttpHeaders;
  }

  protected sendWhole(status: number, headers: ResponseHeaders, body: Buffer | undefined): void {
    const stream = this.#stream;
    if (stream.destroyed) return;
    const head = this.#head(status, headers);
    if (!isBodiless(status)) head["content-length"] ??= body?.length ?? 0;
    if (body === undefined || body.length === 0 || isBodiless(status) || this.method === "HEAD") {
      stream.respond(head, { endStream: true });
    } else {
      stream.respond(head);
      stream.end(body);
    }
  }

  protected sendHead(status: number, headers: ResponseHeaders): void {
    if (this.#stream.destroyed) return;
    this.#stream.respond(this.#head(status, headers), { endStream: this.method === "HEAD" });
  }

  protected takeOver(): Duplex {
    throw new Error("unreachable: hijack refuses HTTP/2");
  }

  write(chunk: Uint8Array | string): Promise<void> | undefined {
    if (this.finished || this.#stream.destroyed || this.#stream.writableEnded) return undefined;
    return this.#stream.write(chunk) ? undefined : this.waitForRoom();
  }

  end(chunk?: Uint8Array | string): void {
    if (this.finished || this.#stream.destroyed || this.#stream.writableEnded) return;
    if (chunk === undefined) this.#stream.end();
    else this.#stream.end(chunk);
  }

  destroy(): void {
    this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }
}

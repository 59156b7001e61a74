import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import {
  createSecureServer,
  type Http2SecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { connect, type Server, type Socket } from "node:net";
import { chmodSync, chownSync, lstatSync, unlinkSync } from "node:fs";
import type { Duplex } from "node:stream";
import { GantryError, errorChain, errorCode, errorMessage } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { ConnectionInfo } from "./connection-info.ts";
import type { Exchange } from "./exchange.ts";
import { Http1Exchange } from "./exchange-http1.ts";
import { Http2Exchange } from "./exchange-http2.ts";
import { UpgradeExchange } from "./exchange-upgrade.ts";
import type { HttpErrorHandler, HttpHandler } from "./http.ts";
import { httpStatus } from "./status.ts";

export interface HttpServerOptions {
  /** For log lines and the names of tasks. */
  name: string;
  log: Logger;
  handler: HttpHandler;
  /** Default: the GantryError's code as a status, and its message as plain text. */
  onError?: HttpErrorHandler;
  /** HTTP/2 and HTTP/1.1 over TLS; plain HTTP/1.1 without. */
  tls?: TlsOptions;
  /** Bodies of `send` from this many bytes on are compressed for clients that accept gzip. Default 128 KiB. */
  gzipFrom?: number;
}

export interface TlsOptions {
  /** PEM, the chain included. */
  cert: string;
  key: string;
  /** PEM of the authorities of client certificates. A certificate is asked for and may be absent. */
  clientCa?: string;
  /** Refuse clients without a certificate of `clientCa`. */
  requireClientCertificate?: boolean;
}

/** `port` 0 takes a free one. A unix socket gets `mode` (default 0660) and `gid`; a stale one is replaced. */
export type ListenAddress = { host: string; port: number } | { path: string; mode?: number; gid?: number };

const defaultGzipFrom = 128 * 1024;
/** Longer than clients keep idle connections, so that it is they who close: no request meets a closing one. */
const keepAliveTimeoutMs = 180_000;

/**
 * An HTTP server that owns its connections. One server may listen on several addresses.
 */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #gzipFrom: number;
  readonly #servers = new Set<Server>();
  readonly #paths = new Set<string>();
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #active = new Set<Exchange>();
  readonly #infos = new WeakMap<object, ConnectionInfo>();
  #tls: TlsOptions | undefined;
  #stopping = false;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#gzipFrom = options.gzipFrom ?? defaultGzipFrom;
    this.#tls = options.tls;
  }

  /** How many requests are being answered now. */
  get active(): number {
    return this.#active.size;
  }

  /** Returns the bound port (0 for a unix socket). Throws `already-exists` when the address is taken. */
  async listen(address: ListenAddress): Promise<number> {
    if (this.#stopping) throw new GantryError("cancelled", `${this.#options.name} is stopping.`);
    if ("path" in address) await removeStaleSocket(address.path);
    const server = this.#tls === undefined ? this.#plainServer() : this.#secureServer(this.#tls);
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      const refused = (error: NodeJS.ErrnoException): void => {
        const where = "path" in address ? address.path : `${address.host}:${address.port}`;
        const code = error.code === "EADDRINUSE" ? "already-exists" : "unavailable";
        reject(
          new GantryError(code, `${this.#options.name} cannot listen on ${where}: ${error.message}.`, { cause: error }),
        );
      };
      server.once("error", refused);
      server.listen("path" in address ? { path: address.path } : { host: address.host, port: address.port }, () => {
        server.off("error", refused);
        resolve();
      });
    });
    server.on("error", (error) => this.#options.log.error("The server failed.", { server: this.#options.name, error }));
    this.#servers.add(server);
    if ("path" in address) {
      if (address.gid !== undefined) chownSync(address.path, -1, address.gid);
      chmodSync(address.path, address.mode ?? 0o660);
      this.#paths.add(address.path);
      return 0;
    }
    const bound = server.address();
    return typeof bound === "object" && bound !== null ? bound.port : 0;
  }

  #plainServer(): Server {
    const server = createServer({ requestTimeout: 0, keepAliveTimeout: keepAliveTimeoutMs });
    this.#serveHttp1(server);
    return server;
  }

  #secureServer(tls: TlsOptions): Server {
    const server: Http2SecureServer = createSecureServer({
      ...secureContext(tls),
      allowHTTP1: true,
      requestCert: tls.clientCa !== undefined,
      rejectUnauthorized: tls.requireClientCertificate === true,
      settings: { maxConcurrentStreams: 1000, initialWindowSize: 256 * 1024 },
    });
    // These act on its HTTP/1.1 connections; the type does not know them.
    Object.assign(server, { requestTimeout: 0, keepAliveTimeout: keepAliveTimeoutMs });
    this.#serveHttp1(server);
    server.on("session", (session) => {
      this.#sessions.add(session);
      session.once("close", () => this.#sessions.delete(session));
      session.on("error", () => session.destroy());
    });
    server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      const session = stream.session as ServerHttp2Session;
      let info = this.#infos.get(session);
      if (info === undefined) this.#infos.set(session, (info = new ConnectionInfo(session.socket)));
      this.#serve(new Http2Exchange(stream, headers, info, this.#gzipFrom), stream);
    });
    server.on("tlsClientError", () => {});
    return server as unknown as Server;
  }

  #serveHttp1(server: Server | Http2SecureServer): void {
    const events = server as Server;
    events.on("request", (request: IncomingMessage, response: ServerResponse) => {
      // An HTTP/2 request was served by its stream already.
      if (request.httpVersionMajor >= 2) return;
      const info = this.#infoOf(request.socket);
      this.#serve(new Http1Exchange(request, response, info, this.#gzipFrom), response);
    });
    events.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const info = this.#infoOf(request.socket);
      this.#serve(new UpgradeExchange(request, socket, head, info, this.#gzipFrom), socket);
    });
    events.on("clientError", (_error: Error, socket: Socket) => {
      if (socket.writable)
        socket.end("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request");
      else socket.destroy();
    });
  }

  #infoOf(socket: Socket): ConnectionInfo {
    let info = this.#infos.get(socket);
    if (info === undefined) this.#infos.set(socket, (info = new ConnectionInfo(socket)));
    return info;
  }

  #serve(exchange: Exchange, carrier: { once(event: "close", listener: () => void): unknown }): void {
    this.#active.add(exchange);
    carrier.once("close", () => this.#active.delete(exchange));
    let outcome: void | Promise<void>;
    try {
      outcome = this.#options.handler(exchange, exchange);
    } catch (error) {
      this.#fail(error, exchange);
      return;
    }
    if (outcome === undefined) {
      if (!exchange.started) this.#fail(new Error("the handler gave no answer"), exchange);
      return;
    }
    outcome.then(
      () => {
        if (!exchange.started && !exchange.finished) this.#fail(new Error("the handler gave no answer"), exchange);
      },
      (error: unknown) => this.#fail(error, exchange),
    );
  }

  #fail(error: unknown, exchange: Exchange): void {
    const { log, name, onError } = this.#options;
    if (exchange.finished) return;
    if (exchange.started) {
      if (errorCode(error) !== "cancelled") {
        log.warn("An answer broke off.", { server: name, method: exchange.method, path: exchange.path, error });
      }
      exchange.destroy();
      return;
    }
    if (!(error instanceof GantryError)) {
      const stack = error instanceof Error ? error.stack : undefined;
      log.error("A request failed.", {
        server: name,
        method: exchange.method,
        path: exchange.path,
        error: errorChain(error),
        stack,
      });
    }
    try {
      if (onError !== undefined) onError(error, exchange, exchange);
      else
        exchange.send(
          httpStatus(errorCode(error)),
          { "Content-Type": "text/plain; charset=utf-8" },
          `${errorMessage(error)}\n`,
        );
    } catch (second) {
      log.error("The error handler failed.", { server: name, error: second });
      exchange.destroy();
    }
  }

  /** New connections get the new certificate. Only for a server that has one. */
  setTls(tls: TlsOptions): void {
    if (this.#tls === undefined) throw new Error(`${this.#options.name} does not speak TLS`);
    this.#tls = tls;
    for (const server of this.#servers)
      (server as unknown as Http2SecureServer & { setSecureContext(options: object): void }).setSecureContext(
        secureContext(tls),
      );
  }

  /**
   * Takes no new connections, ends streams (their requests' signals abort) and idle connections, waits for
   * answers under way at most `deadlineMs`, then cuts. Unix sockets are unlinked.
   */
  async stop(deadlineMs = 5000): Promise<void> {
    this.#stopping = true;
    const closed = Promise.all(
      [...this.#servers].map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    );
    for (const path of this.#paths) {
      try {
        unlinkSync(path);
      } catch {
        // Closing the server has unlinked it.
      }
    }
    for (const exchange of this.#active) if (exchange.streaming) exchange.abort();
    for (const session of this.#sessions) session.close();
    const idle = setInterval(() => this.#dropIdle(), 20);
    this.#dropIdle();
    let timer: NodeJS.Timeout | undefined;
    const expired = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deadlineMs);
    });
    await Promise.race([closed, expired]);
    clearInterval(idle);
    clearTimeout(timer);
    for (const exchange of this.#active) exchange.abort();
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
    this.#servers.clear();
  }

  #dropIdle(): void {
    for (const server of this.#servers) (server as Partial<{ closeIdleConnections(): void }>).closeIdleConnections?.();
    if (this.#active.size === 0) {
      for (const socket of this.#sockets) socket.destroySoon();
    }
  }
}

function secureContext(tls: TlsOptions): { cert: string; key: string; ca?: string; minVersion: "TLSv1.2" } {
  return {
    cert: tls.cert,
    key: tls.key,
    minVersion: "TLSv1.2",
    ...(tls.clientCa === undefined ? {} : { ca: tls.clientCa }),
  };
}

/** Removes a socket file that nobody listens on. Throws `already-exists` when somebody does. */
async function removeStaleSocket(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw new GantryError("already-exists", `${path} exists and is not a socket.`);
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect({ path });
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
  if (alive) throw new GantryError("already-exists", `Another program listens on ${path}.`);
  unlinkSync(path);
}

import type { Logger } from "#base/log.ts";
import type { HttpErrorHandler, HttpHandler } from "./http.ts";

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

/**
 * An HTTP server that owns its connections. One server may listen on several addresses.
 */
export declare class HttpServer {
  constructor(options: HttpServerOptions);
  /** Returns the bound port (0 for a unix socket). Throws `already-exists` when the address is taken. */
  listen(address: ListenAddress): Promise<number>;
  /** New connections get the new certificate. */
  setTls(tls: TlsOptions): void;
  /**
   * Takes no new connections, ends streams (their requests' signals abort) and idle connections, waits for
   * answers under way at most `deadlineMs`, then cuts. Unix sockets are unlinked.
   */
  stop(deadlineMs?: number): Promise<void>;
}

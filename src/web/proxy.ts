import type { HttpRequest, HttpResponse } from "./http.ts";

/** Where a proxied request goes. */
export interface ProxyTarget {
  host: string;
  port: number;
  /** Path and query at the target. */
  target: string;
  /** Absent: plain HTTP. */
  tls?: { ca?: string; cert?: string; key?: string; servername?: string; insecure?: boolean };
  /** Added to the request, in the place of the client's own of the same name. `undefined` takes one away. */
  headers?: Record<string, string | undefined>;
  /** How long connecting may take. Default 10 s. */
  connectTimeoutMs?: number;
}

/**
 * Passes an upgrade request (WebSocket, SPDY, tcp) on to another server and pipes bytes both ways until both
 * ends are closed. An answer other than 101 is passed back as it is. Throws `unavailable` when the target
 * cannot be reached.
 */
export declare function proxyUpgrade(request: HttpRequest, response: HttpResponse, target: ProxyTarget): Promise<void>;

/**
 * Passes an ordinary request on and streams the answer back, with back-pressure and without buffering.
 * Hop-by-hop headers are dropped. Throws `unavailable` when the target cannot be reached.
 */
export declare function proxyRequest(request: HttpRequest, response: HttpResponse, target: ProxyTarget): Promise<void>;

import type { Duplex } from "node:stream";
import type { Logger } from "#base/log.ts";
import type { HttpRequest, HttpResponse } from "./http.ts";

export interface PortForwardParts {
  log: Logger;
  /** Opens a connection to a port inside the pod. What it throws is shown to the client. */
  connect(port: number, signal: AbortSignal): Promise<Duplex>;
}

/**
 * Serves a port-forward request: SPDY/3.1 (`portforward.k8s.io`), SPDY inside a WebSocket
 * (`SPDY/3.1+portforward.k8s.io`) and the older WebSocket channels (`v4.channel.k8s.io` with `ports` in the
 * query). Resolves when the client's connection is over. Throws `invalid` before anything was sent when the
 * request is no upgrade that is known.
 */
export declare function servePortForward(
  request: HttpRequest,
  response: HttpResponse,
  parts: PortForwardParts,
): Promise<void>;

import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { GantryError, errorMessage } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { HttpRequest, HttpResponse } from "./http.ts";
import { servePortForwardChannels } from "./port-forward-channels.ts";
import { acceptSpdyUpgrade } from "./remote-command-spdy.ts";
import { SpdySession } from "./spdy/session.ts";
import type { SpdyStream } from "./spdy/stream.ts";
import { acceptWebSocket, offeredProtocols } from "./websocket.ts";

export interface PortForwardParts {
  log: Logger;
  /** Opens a connection to a port inside the pod. What it throws is shown to the client. */
  connect(port: number, signal: AbortSignal): Promise<Duplex>;
}

const spdyProtocol = "portforward.k8s.io";
const tunnelProtocol = `SPDY/3.1+${spdyProtocol}`;
/** A data stream whose error stream does not come (or the other way) is given up after this. */
const pairTimeoutMs = 30_000;

/**
 * Serves a port-forward request: SPDY/3.1 (`portforward.k8s.io`), SPDY inside a WebSocket
 * (`SPDY/3.1+portforward.k8s.io`) and the older WebSocket channels (`v4.channel.k8s.io` with `ports` in the
 * query). Resolves when the client's connection is over. Throws `invalid` before anything was sent when the
 * request is no upgrade that is known.
 */
export async function servePortForward(
  request: HttpRequest,
  response: HttpResponse,
  parts: PortForwardParts,
): Promise<void> {
  if (request.upgrade === "spdy/3.1") {
    const { raw } = acceptSpdyUpgrade(request, response, [spdyProtocol]);
    await serveSpdy(raw, request.signal, parts);
  } else if (request.upgrade === "websocket" && offeredProtocols(request).includes(tunnelProtocol)) {
    const { socket } = await acceptWebSocket(request, response, [tunnelProtocol]);
    const { createWebSocketStream } = await import("ws");
    await serveSpdy(createWebSocketStream(socket), request.signal, parts);
  } else if (request.upgrade === "websocket") await servePortForwardChannels(request, response, parts);
  else throw new GantryError("invalid", "Upgrade request required");
}

interface Pair {
  data?: SpdyStream;
  error?: SpdyStream;
  timer: NodeJS.Timeout;
}

async function serveSpdy(carrier: Duplex, signal: AbortSignal, parts: PortForwardParts): Promise<void> {
  const pairs = new Map<string, Pair>();
  const gone = new AbortController();
  const forget = (id: string, cut: boolean): void => {
    const pair = pairs.get(id);
    if (pair === undefined) return;
    pairs.delete(id);
    clearTimeout(pair.timer);
    if (cut) {
      pair.data?.destroy();
      pair.error?.destroy();
    }
  };
  const session = new SpdySession(carrier, {
    role: "server",
    onStream: (stream) => {
      const type = stream.headers["streamtype"];
      const port = Number(stream.headers["port"]);
      if ((type !== "data" && type !== "error") || !isPort(port)) {
        stream.destroy();
        return;
      }
      // Old clients name no request: their streams come in pairs, the error stream first.
      const id = stream.headers["requestid"] ?? String(type === "error" ? stream.id : stream.id - 2);
      let pair = pairs.get(id);
      if (pair === undefined) {
        pair = { timer: setTimeout(() => forget(id, true), pairTimeoutMs) };
        pairs.set(id, pair);
      }
      if (pair[type] !== undefined) {
        stream.destroy();
        return;
      }
      pair[type] = stream;
      stream.reply();
      const { data, error } = pair;
      if (data === undefined || error === undefined) return;
      forget(id, false);
      void forward(data, error, port, gone.signal, parts);
    },
  });
  const stop = (): void => session.destroy();
  signal.addEventListener("abort", stop, { once: true });
  await session.closed;
  signal.removeEventListener("abort", stop);
  gone.abort();
  for (const id of pairs.keys()) forget(id, true);
}

async function forward(
  data: SpdyStream,
  error: SpdyStream,
  port: number,
  signal: AbortSignal,
  parts: PortForwardParts,
): Promise<void> {
  error.resume();
  try {
    const connection = await parts.connect(port, signal);
    await splice(data, connection);
    error.end();
  } catch (failure) {
    parts.log.debug("A forwarded connection failed.", { port, error: failure });
    error.end(errorMessage(failure));
    data.destroy();
  }
}

/** Moves bytes both ways until both directions have ended; an error of either end cuts both. */
export async function splice(a: Duplex, b: Duplex): Promise<void> {
  // Two pipelines put more listeners on each than Node takes for healthy.
  a.setMaxListeners(0);
  b.setMaxListeners(0);
  try {
    await Promise.all([pipeline(a, b), pipeline(b, a)]);
  } catch (error) {
    a.destroy();
    b.destroy();
    // A peer that resets its connection at the end, as wget does, is no failure.
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== "ECONNRESET" && code !== "EPIPE" && code !== "ERR_STREAM_PREMATURE_CLOSE") throw error;
  }
}

export function isPort(port: number): boolean {
  return Number.isInteger(port) && port > 0 && port < 65_536;
}

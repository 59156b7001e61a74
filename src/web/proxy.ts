import { type ClientRequest, type IncomingMessage, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Duplex } from "node:stream";
import { GantryError } from "#base/errors.ts";
import type { HttpRequest, HttpResponse } from "./http.ts";
import { splice } from "./port-forward.ts";

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

const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]);

function forwardedHeaders(request: HttpRequest, target: ProxyTarget): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined && !name.startsWith(":") && !hopByHop.has(name)) headers[name] = value;
  }
  const authority = request.headers[":authority"];
  if (headers["host"] === undefined && typeof authority === "string") headers["host"] = authority;
  for (const [name, value] of Object.entries(target.headers ?? {})) {
    if (value === undefined) delete headers[name.toLowerCase()];
    else headers[name.toLowerCase()] = value;
  }
  return headers;
}

function openRequest(
  request: HttpRequest,
  target: ProxyTarget,
  headers: Record<string, string | string[]>,
): ClientRequest {
  const { tls } = target;
  const options = {
    host: target.host,
    port: target.port,
    path: target.target,
    method: request.method,
    headers,
    agent: false as const,
  };
  if (tls === undefined) return httpRequest(options);
  const { insecure, ...context } = tls;
  return httpsRequest({ ...options, ...context, rejectUnauthorized: insecure !== true });
}

/** Resolves with the target's answer, upgraded or not. Throws `unavailable` when there is none. */
function answerOf(
  outgoing: ClientRequest,
  target: ProxyTarget,
): Promise<{ message: IncomingMessage; socket?: Duplex; head?: Buffer }> {
  return new Promise((resolve, reject) => {
    const limit = target.connectTimeoutMs ?? 10_000;
    const timer = setTimeout(() => outgoing.destroy(new Error(`no connection within ${limit} ms`)), limit);
    outgoing.once("socket", (socket) => {
      socket.once(target.tls === undefined ? "connect" : "secureConnect", () => clearTimeout(timer));
    });
    outgoing.once("response", (message) => resolve({ message }));
    outgoing.once("upgrade", (message, socket, head) => resolve({ message, socket, head }));
    outgoing.once("error", (cause) => {
      clearTimeout(timer);
      const where = `${target.host}:${target.port}`;
      reject(new GantryError("unavailable", `error dialing backend ${where}: ${cause.message}`, { cause }));
    });
    outgoing.once("close", () => clearTimeout(timer));
  });
}

function answerHeaders(
  message: IncomingMessage,
  keep: ReadonlySet<string> = new Set(),
): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(message.headers)) {
    if (value !== undefined && (keep.has(name) || !hopByHop.has(name))) headers[name] = value;
  }
  return headers;
}

/**
 * Passes an upgrade request (WebSocket, SPDY, tcp) on to another server and pipes bytes both ways until both
 * ends are closed. An answer other than 101 is passed back as it is. Throws `unavailable` when the target
 * cannot be reached.
 */
export async function proxyUpgrade(request: HttpRequest, response: HttpResponse, target: ProxyTarget): Promise<void> {
  const headers = forwardedHeaders(request, target);
  headers["connection"] = "Upgrade";
  headers["upgrade"] = request.header("upgrade");
  const outgoing = openRequest(request, target, headers);
  const cancel = (): void => void outgoing.destroy();
  request.signal.addEventListener("abort", cancel, { once: true });
  outgoing.end(await request.readBody());
  const { message, socket, head } = await answerOf(outgoing, target);
  if (socket === undefined) {
    await passBack(message, response);
    return;
  }
  if (head !== undefined && head.length > 0) socket.unshift(head);
  socket.on("error", () => socket.destroy());
  const upgradeHeaders = answerHeaders(message, new Set(["connection", "upgrade"]));
  const raw = response.hijack(101, message.statusMessage ?? "Switching Protocols", upgradeHeaders);
  const cut = (): void => void socket.destroy();
  request.signal.addEventListener("abort", cut, { once: true });
  raw.once("close", cut);
  await splice(raw, socket);
}

async function passBack(message: IncomingMessage, response: HttpResponse): Promise<void> {
  message.on("error", () => response.destroy());
  response.start(message.statusCode ?? 502, answerHeaders(message));
  for await (const chunk of message as AsyncIterable<Buffer>) {
    if (response.finished) break;
    const room = response.write(chunk);
    if (room !== undefined) await room;
  }
  response.end();
}

/**
 * Passes an ordinary request on and streams the answer back, with back-pressure and without buffering.
 * Hop-by-hop headers are dropped. Throws `unavailable` when the target cannot be reached.
 */
export async function proxyRequest(request: HttpRequest, response: HttpResponse, target: ProxyTarget): Promise<void> {
  const outgoing = openRequest(request, target, forwardedHeaders(request, target));
  const cancel = (): void => void outgoing.destroy();
  request.signal.addEventListener("abort", cancel, { once: true });
  const answer = answerOf(outgoing, target);
  request.body.pipe(outgoing);
  const { message } = await answer;
  await passBack(message, response);
  request.signal.removeEventListener("abort", cancel);
}

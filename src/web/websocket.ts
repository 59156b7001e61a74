import type { WebSocket, WebSocketServer } from "ws";
import { GantryError } from "#base/errors.ts";
import { UpgradeExchange } from "./exchange-upgrade.ts";
import type { HttpRequest, HttpResponse } from "./http.ts";

/** A message is at most this long; kubectl's are 32 KiB. */
const maxMessage = 4 * 1024 * 1024;

let acceptor: WebSocketServer | undefined;

/** The subprotocols that the client offers, in its order. */
export function offeredProtocols(request: HttpRequest): string[] {
  const header = request.headers["sec-websocket-protocol"];
  return String(header ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}

/**
 * Accepts a WebSocket with the first offered subprotocol that stands in `protocols`. When the client offers
 * none at all, the connection has none. Throws `invalid` before anything was sent when the request is no
 * WebSocket upgrade or offers only unknown subprotocols.
 */
export async function acceptWebSocket(
  request: HttpRequest,
  _response: HttpResponse,
  protocols: readonly string[],
): Promise<{ socket: WebSocket; protocol: string }> {
  if (!(request instanceof UpgradeExchange) || request.upgrade !== "websocket") {
    throw new GantryError("invalid", "The request is not a WebSocket upgrade.");
  }
  const offered = offeredProtocols(request);
  const protocol = offered.find((name) => protocols.includes(name)) ?? "";
  if (protocol === "" && offered.length > 0) {
    throw new GantryError(
      "invalid",
      `unable to negotiate protocol: client supports [${offered.join(" ")}], server accepts [${protocols.join(" ")}]`,
      { data: { offered } },
    );
  }
  const ws = await import("ws");
  acceptor ??= new ws.WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: maxMessage,
    clientTracking: false,
  });
  const parts = request.giveAway();
  // ws refuses names with a slash (`SPDY/3.1+portforward.k8s.io`): it does not get to see the header.
  delete parts.request.headers["sec-websocket-protocol"];
  const addProtocol = (headers: string[], about: unknown): void => {
    if (about === parts.request) headers.push(`Sec-WebSocket-Protocol: ${protocol}`);
  };
  const server = acceptor;
  if (protocol !== "") server.on("headers", addProtocol);
  try {
    // The handshake is synchronous; a bad one is answered by ws itself, and the socket ends.
    const socket = await new Promise<WebSocket>((resolve, reject) => {
      parts.socket.once("close", () => reject(new GantryError("cancelled", "The WebSocket handshake failed.")));
      server.handleUpgrade(parts.request, parts.socket, Buffer.alloc(0), resolve);
    });
    socket.on("error", () => socket.terminate());
    return { socket, protocol };
  } finally {
    server.off("headers", addProtocol);
  }
}

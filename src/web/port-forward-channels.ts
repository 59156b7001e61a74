import type { Duplex } from "node:stream";
import { GantryError, errorMessage } from "#base/errors.ts";
import { ChannelSession } from "./channel-session.ts";
import type { HttpRequest, HttpResponse } from "./http.ts";
import type { PortForwardParts } from "./port-forward.ts";
import { acceptWebSocket } from "./websocket.ts";

const protocols = ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"];

/**
 * port-forward over plain WebSocket channels: for the n-th of the query's `ports`, channel 2n carries data and
 * 2n+1 errors; each begins with the port number in two bytes, low first (kubelet, portforward/websocket).
 */
export async function servePortForwardChannels(
  request: HttpRequest,
  response: HttpResponse,
  parts: PortForwardParts,
): Promise<void> {
  const ports = request.query
    .getAll("ports")
    .concat(request.query.getAll("port"))
    .flatMap((list) => list.split(","))
    .map(Number);
  if (ports.length === 0) throw new GantryError("invalid", 'query parameter "port" is required');
  for (const port of ports) {
    if (!Number.isInteger(port) || port < 1 || port > 65_535)
      throw new GantryError("invalid", `port ${port} must be > 0 and <= 65535`);
  }
  const { socket, protocol } = await acceptWebSocket(request, response, protocols);
  const gone = new AbortController();
  const over = Promise.withResolvers<void>();
  const connections: (Duplex | undefined)[] = [];
  const session = new ChannelSession(socket, protocol, {
    data: (channel, chunk) => {
      const connection = channel % 2 === 0 ? connections[channel / 2] : undefined;
      if (connection === undefined || connection.destroyed || connection.write(chunk)) return undefined;
      return new Promise<void>((room) => {
        connection.once("drain", room);
        connection.once("close", room);
      });
    },
    close: (channel) => connections[channel / 2]?.end(),
    ended: () => {
      gone.abort();
      over.resolve();
    },
  });
  request.signal.addEventListener("abort", () => socket.terminate(), { once: true });
  socket.pause();
  await Promise.all(
    ports.map(async (port, index) => {
      const word = Buffer.alloc(2);
      word.writeUInt16LE(port);
      await session.send(index * 2, word);
      await session.send(index * 2 + 1, word);
      try {
        const connection = await parts.connect(port, gone.signal);
        connections[index] = connection;
        connection.on("data", (chunk: Buffer) => {
          connection.pause();
          void session.send(index * 2, chunk).then(() => connection.resume());
        });
        connection.on("error", (error) => void session.send(index * 2 + 1, Buffer.from(error.message)));
      } catch (error) {
        await session.send(index * 2 + 1, Buffer.from(errorMessage(error)));
      }
    }),
  );
  socket.resume();
  await over.promise;
  for (const connection of connections) connection?.destroy();
}

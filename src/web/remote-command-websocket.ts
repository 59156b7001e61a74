import { PassThrough } from "node:stream";
import { ChannelSession } from "./channel-session.ts";
import type { HttpRequest, HttpResponse } from "./http.ts";
import { encodeOutcome, protocolVersion, ResizeDecoder } from "./remote-command-status.ts";
import type { RemoteCommandOptions, RemoteCommandSession } from "./remote-command.ts";
import { acceptWebSocket } from "./websocket.ts";

/** Channel numbers (k8s.io/apimachinery, remotecommand). */
const channel = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;

const protocols = [
  "v5.channel.k8s.io",
  "v4.channel.k8s.io",
  "v4.base64.channel.k8s.io",
  "channel.k8s.io",
  "base64.channel.k8s.io",
];

/** The WebSocket half of `acceptRemoteCommand`. */
export async function acceptWebSocketCommand(
  request: HttpRequest,
  response: HttpResponse,
  options: RemoteCommandOptions,
): Promise<RemoteCommandSession> {
  const { socket, protocol } = await acceptWebSocket(request, response, protocols);
  const stdin = options.stdin ? new PassThrough() : undefined;
  const resize = options.tty ? new ResizeDecoder() : undefined;
  const gone = new AbortController();
  const session = new ChannelSession(socket, protocol, {
    data: (number, chunk) => {
      if (number === channel.resize) resize?.push(chunk);
      else if (number === channel.stdin && stdin !== undefined && !stdin.writableEnded && !stdin.destroyed) {
        if (stdin.write(chunk)) return undefined;
        return new Promise<void>((room) => {
          stdin.once("drain", room);
          stdin.once("close", room);
        });
      }
      return undefined;
    },
    close: (number) => {
      if (number === channel.stdin) stdin?.end();
    },
    ended: () => {
      stdin?.end();
      resize?.end();
      gone.abort();
    },
  });
  const abort = (): void => socket.terminate();
  request.signal.addEventListener("abort", abort, { once: true });
  // Clients take the first message for the sign that the session stands.
  const first = options.stdout ? channel.stdout : options.stderr ? channel.stderr : channel.error;
  await session.send(first, Buffer.alloc(0));
  const version = protocolVersion(protocol);
  return {
    protocol: protocol === "" ? "channel.k8s.io" : protocol,
    ...(stdin === undefined ? {} : { stdin }),
    ...(options.stdout ? { stdout: (chunk: Uint8Array) => session.send(channel.stdout, chunk) } : {}),
    ...(options.stderr ? { stderr: (chunk: Uint8Array) => session.send(channel.stderr, chunk) } : {}),
    ...(resize === undefined ? {} : { resize: resize.sizes }),
    signal: gone.signal,
    finish: async (outcome) => {
      const report = encodeOutcome(outcome, version);
      if (report !== undefined) await session.send(channel.error, report);
      await session.close();
    },
  };
}

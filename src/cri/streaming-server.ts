import { randomBytes } from "node:crypto";
import type { PodRuntime } from "#api/pod-runtime.ts";
import type { Clock } from "#base/clock.ts";
import { errorMessage, GantryError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { HttpRequest, HttpResponse } from "#web/http.ts";
import { servePortForward } from "#web/port-forward.ts";
import { acceptRemoteCommand, type RemoteCommandOptions } from "#web/remote-command.ts";
import { HttpServer } from "#web/server.ts";

/** What a URL was given out for. */
export type StreamingRequest =
  | { kind: "exec"; containerId: string; command: string[]; streams: RemoteCommandOptions }
  | { kind: "attach"; containerId: string; streams: RemoteCommandOptions }
  | { kind: "portforward"; sandboxId: string };

export interface StreamingServerParts {
  runtime: PodRuntime;
  clock: Clock;
  log: Logger;
}

const tokenLifeMs = 60_000;
const tokenLimit = 1000;

/**
 * Where the URLs of Exec, Attach and PortForward lead: HTTP on the loopback. A URL holds a token that is good
 * for one use within a minute.
 */
export class StreamingServer {
  readonly #parts: StreamingServerParts;
  readonly #server: HttpServer;
  readonly #tokens = new Map<string, { request: StreamingRequest; until: number }>();
  #listening: Promise<number> | undefined;

  constructor(parts: StreamingServerParts) {
    this.#parts = parts;
    this.#server = new HttpServer({
      name: "cri-streaming",
      log: parts.log,
      handler: (request, response) => this.#serve(request, response),
    });
  }

  /** The URL to which the client connects with SPDY or WebSocket. */
  async url(request: StreamingRequest): Promise<string> {
    const now = this.#parts.clock.now();
    for (const [token, { until }] of this.#tokens) if (until < now) this.#tokens.delete(token);
    if (this.#tokens.size >= tokenLimit) {
      throw new GantryError("exhausted", "maximum number of in-flight requests exceeded");
    }
    const port = await (this.#listening ??= this.#server.listen({ host: "127.0.0.1", port: 0 }));
    const token = randomBytes(18).toString("base64url");
    this.#tokens.set(token, { request, until: now + tokenLifeMs });
    return `http://127.0.0.1:${port}/${request.kind}/${token}`;
  }

  async stop(): Promise<void> {
    if (this.#listening !== undefined) await this.#server.stop(500);
  }

  async #serve(http: HttpRequest, response: HttpResponse): Promise<void> {
    const [, kind = "", token = ""] = http.path.split("/");
    const entry = this.#tokens.get(token);
    this.#tokens.delete(token);
    if (entry === undefined || entry.request.kind !== kind || entry.until < this.#parts.clock.now()) {
      throw new GantryError("not-found", "404 page not found");
    }
    const { request } = entry;
    const { runtime, log } = this.#parts;
    if (request.kind === "portforward") {
      await servePortForward(http, response, {
        log,
        connect: (port, signal) => runtime.portForward(request.sandboxId, port, signal),
      });
      return;
    }
    const session = await acceptRemoteCommand(http, response, request.streams);
    const { containerId, streams } = request;
    try {
      if (request.kind === "exec") {
        await session.finish({ exitCode: await runtime.exec(containerId, request.command, streams.tty, session) });
      } else {
        await runtime.attach(containerId, streams.tty, session);
        await session.finish({ exitCode: 0 });
      }
    } catch (error) {
      await session.finish({ error: errorMessage(error) });
    }
  }
}

import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { Logger } from "#base/log.ts";
import type { HttpHandler } from "#web/http.ts";
import { HttpServer } from "#web/server.ts";
import type { DaemonSettings } from "./daemon-json.ts";
import { readTls } from "./daemon-json-hosts.ts";

/** The Docker API on the instance's socket, and wherever else `hosts` says. */
export interface DockerListeners {
  stop(deadlineMs: number): Promise<void>;
}

/**
 * Begins to serve. Throws when a certificate cannot be read or an address is taken, and listens nowhere then.
 */
export async function serveDockerApi(
  socketPath: string,
  settings: Pick<DaemonSettings, "listeners" | "tls" | "socketGroup">,
  parts: { handler: HttpHandler; log: Logger },
): Promise<DockerListeners> {
  const { listeners, tls, socketGroup } = settings;
  const { handler, log } = parts;
  const secure =
    tls === undefined ? undefined : new HttpServer({ name: "docker-tls", log, handler, tls: readTls(tls) });
  const plain = new HttpServer({ name: "docker", log, handler });
  const stop = async (deadlineMs: number): Promise<void> => {
    await Promise.all([plain.stop(deadlineMs), secure?.stop(deadlineMs)]);
  };
  const gid = socketGroup === undefined ? {} : { gid: socketGroup };
  try {
    await plain.listen({ path: socketPath, ...gid });
    for (const listener of listeners) {
      if (listener.kind === "tcp") {
        await secure?.listen({ host: listener.host, port: listener.port });
        continue;
      }
      if (listener.path === socketPath) continue;
      mkdirSync(dirname(listener.path), { recursive: true });
      await plain.listen({ path: listener.path, ...gid });
    }
  } catch (error) {
    await stop(0);
    throw error;
  }
  return { stop };
}

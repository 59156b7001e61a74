import type { Engine } from "#engine/engine.ts";
import type { HttpHandler } from "#web/http.ts";

const maxSeconds = 3600;

export interface NodeAdminParts {
  engine: Pick<Engine, "shutdownContainers">;
  agent: { stop(): Promise<void> };
  settings: () => { shutdownTimeout: number | undefined };
}

/** Orders of the command line to the node process, over a socket that only root can open. */
export function nodeAdminHandler(parts: NodeAdminParts): HttpHandler {
  const { engine, agent, settings } = parts;
  return async (request, response) => {
    if (request.method === "POST" && request.path === "/stop-containers") {
      const seconds = Number(request.query.get("timeout") ?? settings().shutdownTimeout ?? 10);
      if (!Number.isFinite(seconds) || seconds < -1 || seconds > maxSeconds) {
        response.send(400, {}, `timeout must be between 0 and ${maxSeconds} seconds, or -1 for no end\n`);
        return;
      }
      // First of all the node agent: it would start again what it sees ending.
      await agent.stop();
      await engine.shutdownContainers(seconds);
      response.send(200, {});
      return;
    }
    response.send(404, {}, "not found\n");
  };
}

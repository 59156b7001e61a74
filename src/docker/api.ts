import { dockerRelease } from "#api/docker/release.ts";
import { errorChain, errorCode, errorMessage, GantryError, hasCode } from "#base/errors.ts";
import type { HttpHandler, HttpRequest, HttpResponse } from "#web/http.ts";
import { Router } from "#web/router.ts";
import { httpStatus } from "#web/status.ts";
import { apiVersionText, negotiate, newestMinor } from "./api-version.ts";
import type { DockerApiOptions, DockerApiParts, Route } from "./call.ts";
import { routes } from "./routes.ts";

/**
 * The Docker Engine API as a handler for an `HttpServer` (on a unix socket, or TCP with client certificates).
 */
export function createDockerApi(options: DockerApiOptions, parts: DockerApiParts): HttpHandler {
  const router = new Router<Route>();
  for (const route of routes) router.add(route.method, route.pattern, route);
  const server = `Docker/${dockerRelease} (linux)`;

  const serve = async (request: HttpRequest, response: HttpResponse): Promise<void> => {
    response.setHeader("Api-Version", apiVersionText(newestMinor));
    response.setHeader("Docker-Experimental", "false");
    response.setHeader("Ostype", "linux");
    response.setHeader("Server", server);
    const prefix = /^\/v([0-9.]+)(?=\/)/.exec(request.path);
    const path = prefix === null ? request.path : request.path.slice(prefix[0].length);
    const found = router.find(request.method, path);
    if (found === undefined) throw pageNotFound();
    const version = prefix === null ? newestMinor : negotiate(prefix[1] as string);
    if (version < (found.value.since ?? 0)) throw pageNotFound();
    await found.value.handle({
      ...parts,
      options,
      request,
      response,
      query: request.query,
      params: found.params,
      version,
    });
  };

  return async (request, response) => {
    try {
      await serve(request, response);
    } catch (error) {
      if (response.finished) return;
      // Once begun, an answer can only be broken off: the server does it.
      if (response.started) throw error;
      sendError(error, request, response, parts);
    }
  };
}

function pageNotFound(): GantryError {
  return new GantryError("not-found", "page not found");
}

/** The one place where an error becomes docker's. */
function sendError(error: unknown, request: HttpRequest, response: HttpResponse, parts: DockerApiParts): void {
  if (hasCode(error, "not-modified")) {
    response.send(304, {});
    return;
  }
  if (!(error instanceof GantryError)) {
    const stack = error instanceof Error ? error.stack : undefined;
    const { method, path } = request;
    parts.log.error("A Docker API request failed.", { method, path, error: errorChain(error), stack });
  }
  const body = Buffer.from(`${JSON.stringify({ message: errorMessage(error) })}\n`);
  response.send(dockerStatus(error, request.path), { "Content-Type": "application/json" }, body);
}

function dockerStatus(error: unknown, path: string): number {
  const code = errorCode(error);
  // Elsewhere than at login, 401 would make the CLI ask for a name and a password.
  if (code === "unauthorized" && !path.endsWith("/auth")) return 500;
  // A registry that does not answer is not the daemon's being unavailable.
  if (code === "unavailable" && /^(\/v[0-9.]+)?\/(images|distribution|auth)\b/.test(path)) return 500;
  // docker knows neither: a full disk or address pool and an expired wait are its own failures.
  return code === "exhausted" || code === "timeout" || code === "cancelled" ? 500 : httpStatus(code);
}

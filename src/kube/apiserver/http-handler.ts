import { randomUUID } from "node:crypto";
import { errorCode, hasCode } from "#base/errors.ts";
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { HttpRequest, HttpResponse } from "#web/http.ts";
import { badRequest, forbidden, pathNotFound, statusOf, unauthorized } from "./api-error.ts";
import type { Authenticator } from "./authenticator.ts";
import type { NonResourcePaths } from "./non-resource-paths.ts";
import { parsePath } from "./request-info.ts";
import type { ResourceHandler } from "./resource-handler.ts";
import type { Metrics } from "./metrics.ts";
import type { UserInfo } from "./user.ts";
import type { RbacAuthorizer } from "./rbac-authorizer.ts";

export interface HttpHandlerParts {
  authenticator: Authenticator;
  authorizer: RbacAuthorizer;
  resources: ResourceHandler;
  paths: NonResourcePaths;
  metrics: Metrics;
  clock: Clock;
  log: Logger;
}

const maxTarget = 64 * 1024;

/** The way of an HTTP request: who, what, may they, then the verb's own handler. */
export class ApiHttpHandler {
  readonly #parts: HttpHandlerParts;

  constructor(parts: HttpHandlerParts) {
    this.#parts = parts;
  }

  handle = async (request: HttpRequest, response: HttpResponse): Promise<void> => {
    const { metrics, clock, log } = this.#parts;
    const began = clock.monotonic();
    response.setHeader("audit-id", randomUUID());
    response.setHeader("cache-control", "no-cache, private");
    try {
      await this.#serve(request, response);
    } catch (error) {
      if (errorCode(error) === "internal")
        log.error("A request failed.", {
          method: request.method,
          path: request.path,
          error,
          stack: (error as Error)?.stack,
        });
      sendError(error, request, response);
    } finally {
      metrics.observe(request.method, response.status, clock.monotonic() - began);
    }
  };

  async #serve(request: HttpRequest, response: HttpResponse): Promise<void> {
    if (request.target.length > maxTarget) throw badRequest("request URL is too long");
    const user = await this.#user(request);
    const path = parsePath(request.path);
    if (path === undefined) throw badRequest(`invalid URL escape in ${JSON.stringify(request.path)}`);
    if (path.kind === "other") {
      if (await this.#parts.paths.serve(path.path, user, request, response)) return;
      throw pathNotFound();
    }
    await this.#parts.resources.serve(path, user, request, response);
  }

  /** The user, or the one that is impersonated. */
  async #user(request: HttpRequest): Promise<UserInfo> {
    const { authenticator, authorizer } = this.#parts;
    const user = await authenticator.authenticate(request);
    if (user === undefined) throw unauthorized();
    const name = request.header("impersonate-user");
    const groups = many(request.headers["impersonate-group"]);
    if (name === "" && groups.length === 0) return user;
    if (name === "") throw badRequest(`requested [{Group   ${groups.join(" ")}  }] without impersonating a user`);
    await authorizer.ready();
    const may = (resource: string, of: string, group = "", namespace = ""): void => {
      const asked = { verb: "impersonate", group, resource, namespace, name: of };
      if (authorizer.authorize(user, asked).allowed) return;
      throw forbidden(
        { group, resource },
        of,
        `User ${JSON.stringify(user.username)} cannot impersonate resource ${JSON.stringify(resource)} in API group ${JSON.stringify(group)} ${namespace === "" ? "at the cluster scope" : `in the namespace ${JSON.stringify(namespace)}`}`,
      );
    };
    const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(name);
    if (account === null) may("users", name);
    else may("serviceaccounts", account[2] as string, "", account[1]);
    for (const group of groups) may("groups", group);
    const own = account === null ? [] : ["system:serviceaccounts", `system:serviceaccounts:${account[1]}`];
    const all = groups.length > 0 ? groups : own;
    return {
      username: name,
      groups: name === "system:anonymous" ? [...all, "system:unauthenticated"] : [...all, "system:authenticated"],
    };
  }
}

function many(value: string | string[] | undefined): string[] {
  if (value === undefined) return [];
  return (Array.isArray(value) ? value : value.split(",")).map((text) => text.trim()).filter((text) => text !== "");
}

/** Answers what was thrown as a `Status`. */
export function sendError(error: unknown, request: HttpRequest, response: HttpResponse): void {
  if (hasCode(error, "cancelled") && request.signal.aborted) {
    response.destroy();
    return;
  }
  if (response.started) {
    response.destroy();
    return;
  }
  const status = statusOf(error);
  const retry = status.details?.retryAfterSeconds;
  if (retry !== undefined) response.setHeader("retry-after", String(retry));
  response.send(status.code ?? 500, { "content-type": "application/json" }, `${JSON.stringify(status)}\n`);
}

import type { HttpRequest, HttpResponse } from "#web/http.ts";
import { forbiddenPath, methodUnknown } from "./api-error.ts";
import type { Discovery } from "./discovery.ts";
import type { HealthChecks } from "./health-checks.ts";
import type { Metrics } from "./metrics.ts";
import { parseAccept } from "./negotiation.ts";
import type { OpenApiDocuments } from "./openapi-documents.ts";
import { deniedMessage, type RbacAuthorizer } from "./rbac-authorizer.ts";
import type { ServiceAccountTokens } from "./service-account-tokens.ts";
import type { UserInfo } from "./user.ts";
import type { VersionInfo } from "./server-version.ts";

export interface NonResourcePathsParts {
  authorizer: RbacAuthorizer;
  discovery: Discovery;
  openapi: OpenApiDocuments;
  health: { livez: HealthChecks; readyz: HealthChecks; healthz: HealthChecks };
  metrics: Metrics;
  tokens: ServiceAccountTokens;
  version: VersionInfo;
  /** `host:port` for the documents that name the server. */
  address: () => string;
}

type Answer = (request: HttpRequest, response: HttpResponse) => void | Promise<void>;

/** Paths that are no resources: discovery, OpenAPI, health, version, metrics, token issuer. */
export class NonResourcePaths {
  readonly #parts: NonResourcePathsParts;
  readonly #fixed: ReadonlyMap<string, Answer>;

  constructor(parts: NonResourcePathsParts) {
    this.#parts = parts;
    this.#fixed = new Map<string, Answer>([
      ["/version", (_request, response) => sendPretty(response, parts.version)],
      ["/api", (request, response) => this.#root(true, request, response)],
      ["/apis", (request, response) => this.#root(false, request, response)],
      ["/openapi/v2", (request, response) => parts.openapi.v2(request, response)],
      ["/openapi/v3", (request, response) => parts.openapi.v3Index(request, response)],
      [
        "/metrics",
        (_request, response) =>
          response.send(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }, parts.metrics.text()),
      ],
      [
        "/openid/v1/jwks",
        async (_request, response) =>
          response.send(200, { "content-type": "application/jwk-set+json" }, JSON.stringify(await parts.tokens.jwks())),
      ],
      ["/.well-known/openid-configuration", (_request, response) => response.sendJson(200, this.#issuer())],
      ["/", (_request, response) => response.sendJson(200, { paths: this.#paths() })],
    ]);
  }

  /** False when nothing answers this path. */
  async serve(path: string, user: UserInfo, request: HttpRequest, response: HttpResponse): Promise<boolean> {
    const clean = path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
    this.#authorize(path, user, request);
    const answer = this.#fixed.get(clean) ?? this.#health(clean) ?? this.#deeper(clean);
    if (answer === undefined) return false;
    if (request.method !== "GET" && request.method !== "HEAD") throw methodUnknown();
    await answer(request, response);
    return true;
  }

  #authorize(path: string, user: UserInfo, request: HttpRequest): void {
    const verb =
      { POST: "post", PUT: "put", PATCH: "patch", DELETE: "delete", HEAD: "head", OPTIONS: "options" }[
        request.method
      ] ?? "get";
    const asked = { verb, path };
    if (this.#parts.authorizer.authorize(user, asked).allowed) return;
    throw forbiddenPath(`forbidden: ${deniedMessage(user, asked)}`);
  }

  #root(core: boolean, request: HttpRequest, response: HttpResponse): void {
    const { discovery } = this.#parts;
    response.setHeader("vary", "Accept");
    for (const { as, group, version } of parseAccept(request.header("accept"))) {
      if (
        as === "APIGroupDiscoveryList" &&
        group === "apidiscovery.k8s.io" &&
        (version === "v2" || version === "v2beta1")
      ) {
        const { json, etag } = discovery.aggregated(core, version);
        response.setHeader("etag", etag);
        const contentType = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;
        if (request.header("if-none-match") === etag) return response.send(304, {});
        return response.send(200, { "content-type": contentType }, json);
      }
      if (as === "") break;
    }
    response.sendJson(200, core ? discovery.legacy(this.#parts.address()) : discovery.groupList());
  }

  #deeper(path: string): Answer | undefined {
    const { discovery, openapi } = this.#parts;
    const parts = path.slice(1).split("/");
    const [root, first = "", second = ""] = parts;
    if (root === "openapi" && first === "v3")
      return (request, response) => openapi.v3(parts.slice(2).join("/"), request, response);
    const document =
      root === "api" && parts.length === 2
        ? discovery.resources("", first)
        : root === "apis" && parts.length === 2
          ? discovery.group(first)
          : root === "apis" && parts.length === 3
            ? discovery.resources(first, second)
            : undefined;
    return document === undefined ? undefined : (_request, response) => response.sendJson(200, document);
  }

  #health(path: string): Answer | undefined {
    const [, name = "", check, ...more] = path.split("/");
    const checks = this.#parts.health[name as "livez"] as HealthChecks | undefined;
    if (checks === undefined || more.length > 0) return undefined;
    return async (request, response) => {
      const verbose = request.query.has("verbose");
      const result =
        check === undefined ? await checks.all(request.query.getAll("exclude"), verbose) : await checks.one(check);
      if (result === undefined)
        return response.send(404, { "content-type": "text/plain; charset=utf-8" }, "404 page not found\n");
      response.send(
        result.ok ? 200 : 500,
        { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" },
        result.text,
      );
    };
  }

  #issuer(): unknown {
    const { issuer } = this.#parts.tokens;
    return {
      issuer,
      jwks_uri: `https://${this.#parts.address()}/openid/v1/jwks`,
      response_types_supported: ["id_token"],
      subject_types_supported: ["public"],
      id_token_signing_alg_values_supported: ["ES256", "RS256"],
    };
  }

  #paths(): string[] {
    const { discovery } = this.#parts;
    const groups = discovery.groups.flatMap((group) => [
      `/apis/${group}`,
      ...discovery.versions(group).map((version) => `/apis/${group}/${version}`),
    ]);
    return [
      "/.well-known/openid-configuration",
      "/api",
      "/api/v1",
      "/apis",
      ...groups.sort(),
      "/healthz",
      "/livez",
      "/metrics",
      "/openapi/v2",
      "/openapi/v3",
      "/openid/v1/jwks",
      "/readyz",
      "/version",
    ];
  }
}

function sendPretty(response: HttpResponse, value: unknown): void {
  response.send(200, { "content-type": "application/json" }, JSON.stringify(value, undefined, 2));
}

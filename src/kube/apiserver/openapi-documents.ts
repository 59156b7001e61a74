import { createHash } from "node:crypto";
import type { HttpRequest, HttpResponse } from "#web/http.ts";
import { pathNotFound } from "./api-error.ts";
import type { Discovery } from "./discovery.ts";
import { openApiV2, openApiV3 } from "./machinery.ts";

interface Kept {
  json: Buffer;
  hash: string;
}

/** `/openapi/v2` and `/openapi/v3`, made on first use and kept. */
export class OpenApiDocuments {
  readonly #discovery: Discovery;
  readonly #kept = new Map<string, Kept>();

  constructor(discovery: Discovery) {
    this.#discovery = discovery;
  }

  /** The list of group versions, each with the hash of its document. */
  async v3Index(_request: HttpRequest, response: HttpResponse): Promise<void> {
    const paths: Record<string, { serverRelativeURL: string }> = {};
    for (const path of this.#paths()) {
      const { hash } = await this.#document(path);
      paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` };
    }
    response.sendJson(200, { paths });
  }

  /** One group version's document. With its hash in the query it may be kept for ever. */
  async v3(path: string, request: HttpRequest, response: HttpResponse): Promise<void> {
    if (!this.#paths().includes(path)) throw pathNotFound();
    const { json, hash } = await this.#document(path);
    const asked = request.query.get("hash");
    if (asked !== null && asked !== hash) {
      response.send(301, { location: `/openapi/v3/${path}?hash=${hash}` });
      return;
    }
    const headers: Record<string, string> = { "content-type": "application/json", etag: `"${hash}"` };
    if (asked === hash) {
      headers["cache-control"] = "public, immutable";
      headers["expires"] = new Date(Date.now() + 365 * 24 * 3600_000).toUTCString();
    }
    if (request.header("if-none-match") === `"${hash}"`) return response.send(304, headers);
    response.send(200, headers, json);
  }

  async v2(request: HttpRequest, response: HttpResponse): Promise<void> {
    const accept = request.header("accept");
    const protobuf = accept.startsWith("application/com.github.proto-openapi.spec.v2");
    const groupVersions = this.#paths().map(groupVersionOf);
    const { json, hash } = await this.#keep(`v2 ${protobuf}`, () => openApiV2(groupVersions, protobuf));
    const type = protobuf ? "application/com.github.proto-openapi.spec.v2.v1.0+protobuf" : "application/json";
    const headers = { "content-type": type, etag: `"${hash}"`, vary: "Accept" };
    if (request.header("if-none-match") === `"${hash}"`) return response.send(304, headers);
    response.send(200, headers, json);
  }

  #paths(): string[] {
    const groups = this.#discovery.groups.flatMap((group) =>
      this.#discovery.versions(group).map((version) => `apis/${group}/${version}`),
    );
    return ["api/v1", ...groups];
  }

  #document(path: string): Promise<Kept> {
    const { group, version } = groupVersionOf(path);
    return this.#keep(path, async () => Buffer.from(JSON.stringify(await openApiV3(group, version))));
  }

  async #keep(key: string, make: () => Promise<Buffer>): Promise<Kept> {
    const known = this.#kept.get(key);
    if (known !== undefined) return known;
    const json = await make();
    const kept = { json, hash: createHash("sha512").update(json).digest("hex").toUpperCase() };
    this.#kept.set(key, kept);
    return kept;
  }
}

/** Of `api/v1` or `apis/apps/v1`. */
function groupVersionOf(path: string): { group: string; version: string } {
  const [root, first = "", second = ""] = path.split("/");
  return root === "api" ? { group: "", version: first } : { group: first, version: second };
}

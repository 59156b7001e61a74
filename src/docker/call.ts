import { GantryError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { Engine } from "#engine/engine.ts";
import type { HttpRequest, HttpResponse } from "#web/http.ts";

export interface DockerApiOptions {
  /** Gantry's own version. */
  version: string;
  /** Of the source, for `docker version`; "" when unknown. */
  gitCommit?: string;
  /** RFC 3339, for `docker version`; "" when unknown. */
  buildTime?: string;
}

export interface DockerApiParts {
  engine: Engine;
  log: Logger;
}

/** Everything that a route's handler may use. */
export interface Call extends DockerApiParts {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  readonly query: URLSearchParams;
  readonly params: Readonly<Record<string, string>>;
  /** The minor of the API version that the client speaks: 41 for 1.41. */
  readonly version: number;
  readonly options: DockerApiOptions;
}

export type CallHandler = (call: Call) => Promise<void> | void;

/** One line of the route table. */
export interface Route {
  method: string;
  /** Without the version's prefix. */
  pattern: string;
  handle: CallHandler;
  /** The API version (minor) that brought it; older clients get "page not found". */
  since?: number;
}

/** JSON with the newline that docker's encoder leaves at its end. */
export function sendJson(call: Call, status: number, value: unknown): void {
  call.response.send(status, { "Content-Type": "application/json" }, Buffer.from(`${JSON.stringify(value)}\n`));
}

/** An answer without a body. */
export function sendStatus(call: Call, status: number): void {
  call.response.send(status, {});
}

const maxJsonBody = 4 * 1024 * 1024;

/**
 * The request's JSON body: an object, or undefined when there is none. Throws `invalid` in docker's words for
 * another content type, broken JSON, what is no object, and what follows it.
 */
export async function readJson(call: Call): Promise<Record<string, unknown> | undefined> {
  const bytes = await call.request.readBody(maxJsonBody);
  if (bytes.length === 0) return undefined;
  const type = call.request.header("content-type");
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    throw new GantryError("invalid", `unsupported Content-Type header (${type}): must be 'application/json'`);
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    throw new GantryError("invalid", `invalid JSON: ${(cause as Error).message}`, { cause });
  }
  if (parsed === null) return undefined;
  if (typeof parsed !== "object" || Array.isArray(parsed)) {
    const kind = Array.isArray(parsed) ? "array" : typeof parsed === "boolean" ? "bool" : typeof parsed;
    throw new GantryError("invalid", `invalid JSON: json: cannot unmarshal ${kind} into Go value of type object`);
  }
  return parsed as Record<string, unknown>;
}

/** As `readJson`, for routes that need a body. */
export async function requireJson(call: Call): Promise<Record<string, unknown>> {
  const body = await readJson(call);
  if (body === undefined) throw new GantryError("invalid", "invalid JSON: got EOF while reading request body");
  return body;
}

/** Writes a chunk and waits for room. False when the client has gone. */
export async function writeChunk(response: HttpResponse, chunk: Uint8Array | string): Promise<boolean> {
  if (response.finished) return false;
  const room = response.write(chunk);
  if (room !== undefined) await room;
  return !response.finished;
}

/** Sends an endless or long body; stops when the client goes away. */
export async function sendStream(
  call: Call,
  headers: Record<string, string>,
  chunks: AsyncIterable<Uint8Array>,
): Promise<void> {
  call.response.start(200, headers);
  for await (const chunk of chunks) if (!(await writeChunk(call.response, chunk))) return;
  call.response.end();
}

import { STATUS_CODES } from "node:http";
import { type ErrorCode, GantryError, errorChain } from "#base/errors.ts";
import { type ImageReference, familiarRepository, familiarString } from "./reference.ts";

/** A registry's own words for what is wrong (OCI distribution spec, "Error Codes"). */
export interface RegistryFault {
  code: string;
  message: string;
}

/** Go's name of a status: `404 Not Found`. */
export const statusText = (status: number): string => `${status} ${STATUS_CODES[status] ?? ""}`.trim();

const codeOfStatus: Record<number, ErrorCode> = {
  400: "invalid",
  401: "unauthorized",
  403: "forbidden",
  404: "not-found",
  405: "unsupported",
  413: "too-large",
  416: "invalid",
  429: "exhausted",
  503: "unavailable",
  504: "timeout",
};

/** The faults that an error answer's body names; none when it is not JSON of the specified shape. */
export function parseFaults(body: string): RegistryFault[] {
  try {
    const { errors } = JSON.parse(body) as { errors?: unknown };
    if (!Array.isArray(errors)) return [];
    return errors.map((each: unknown) => {
      const { code, message } = (each ?? {}) as { code?: unknown; message?: unknown };
      return { code: String(code ?? "UNKNOWN"), message: String(message ?? "") };
    });
  } catch {
    return [];
  }
}

const words = ({ code, message }: RegistryFault): string => {
  const name = code.toLowerCase().replaceAll("_", " ");
  return message === "" ? name : `${name}: ${message}`;
};

/** The error of an answer with a status from 400 up, as docker words it. `data` has `status` and `fault`. */
export function answerError(status: number, body: string, url: string): GantryError {
  // What a failing server says is not shown, as it may be anything (distribution, registry/client/errors.go).
  const faults = status >= 500 ? [] : parseFaults(body);
  const code = codeOfStatus[status] ?? (status >= 500 ? "unavailable" : "internal");
  const data = { status, fault: faults[0]?.code, url };
  if (faults.length === 1) return new GantryError(code, words(faults[0] as RegistryFault), { data });
  if (faults.length > 1) return new GantryError(code, `errors:\n${faults.map(words).join("\n")}\n`, { data });
  if (status === 401) return new GantryError(code, "unauthorized: authentication required", { data });
  if (status >= 500) return new GantryError(code, `received unexpected HTTP status: ${statusText(status)}`, { data });
  return new GantryError(
    code,
    `error parsing HTTP ${status} response body: ${jsonComplaint(body)}: ${JSON.stringify(body.slice(0, 200))}`,
    { data },
  );
}

/** Go's complaint (encoding/json) of what begins as no JSON; anything else in JSON is not what was expected. */
function jsonComplaint(body: string): string {
  const first = body.trimStart().charAt(0);
  if (first === "") return "unexpected end of JSON input";
  if (/[[{"\d-]/.test(first)) return "no errors found in response";
  return `invalid character '${first}' looking for beginning of value`;
}

const reasons: Record<
  string,
  (host: string, error: NodeJS.ErrnoException & { address?: string; port?: number }) => string
> = {
  ENOTFOUND: (host) => `dial tcp: lookup ${host}: no such host`,
  EAI_AGAIN: (host) => `dial tcp: lookup ${host}: server misbehaving`,
  ECONNREFUSED: (_, error) => `dial tcp ${error.address}:${error.port}: connect: connection refused`,
  EHOSTUNREACH: (_, error) => `dial tcp ${error.address}:${error.port}: connect: no route to host`,
  ENETUNREACH: (_, error) => `dial tcp ${error.address}:${error.port}: connect: network is unreachable`,
  ECONNRESET: () => "read: connection reset by peer",
  EPIPE: () => "write: broken pipe",
  UND_ERR_SOCKET: () => "EOF",
  UND_ERR_CONNECT_TIMEOUT: () =>
    "net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
  UND_ERR_HEADERS_TIMEOUT: () => "net/http: timeout awaiting response headers",
  UND_ERR_BODY_TIMEOUT: () => "context deadline exceeded (Client.Timeout or context cancellation while reading body)",
  UND_ERR_RES_EXCEEDED_MAX_SIZE: () => "the answer is larger than 4 MiB",
  DEPTH_ZERO_SELF_SIGNED_CERT: () => "tls: failed to verify certificate: x509: certificate signed by unknown authority",
  SELF_SIGNED_CERT_IN_CHAIN: () => "tls: failed to verify certificate: x509: certificate signed by unknown authority",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: () =>
    "tls: failed to verify certificate: x509: certificate signed by unknown authority",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: () =>
    "tls: failed to verify certificate: x509: certificate signed by unknown authority",
  CERT_HAS_EXPIRED: () => "tls: failed to verify certificate: x509: certificate has expired or is not yet valid",
  ERR_TLS_CERT_ALTNAME_INVALID: (host) =>
    `tls: failed to verify certificate: x509: certificate is not valid for ${host}`,
  ERR_SSL_WRONG_VERSION_NUMBER: () => "http: server gave HTTP response to HTTPS client",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: () => "http: server gave HTTP response to HTTPS client",
  EPROTO: () => "http: server gave HTTP response to HTTPS client",
};

/** The error of a request that got no answer, in Go's words as docker shows them. `data.network` is true. */
export function networkError(method: string, url: string, cause: unknown): GantryError {
  if (cause instanceof GantryError) return cause;
  if ((cause as Error)?.name === "AbortError") return new GantryError("cancelled", "context canceled", { cause });
  // A name with several addresses fails with all of them: the first one tells.
  const inner = cause instanceof AggregateError ? (cause.errors[0] as unknown) : cause;
  const error = inner as NodeJS.ErrnoException & { address?: string; port?: number };
  const describe = reasons[error.code ?? ""];
  const reason = describe === undefined ? errorChain(error) : describe(new URL(url).hostname, error);
  const verb = method.charAt(0) + method.slice(1).toLowerCase();
  const code: ErrorCode = /TIMEOUT/.test(error.code ?? "") ? "timeout" : "unavailable";
  return new GantryError(code, `${verb} ${JSON.stringify(url)}: ${reason}`, {
    cause,
    data: { network: true, errno: error.code },
  });
}

/** What docker says in front of a registry's error when a pull fails (moby, distribution/errors.go). */
export function pullError(reference: ImageReference, thrown: unknown): unknown {
  if (!(thrown instanceof GantryError)) return thrown;
  const { fault } = thrown.data;
  const wrap = (code: ErrorCode, message: string): GantryError =>
    new GantryError(code, `${message}: ${thrown.message}`, { cause: thrown, data: thrown.data });
  if (fault === "DENIED")
    return wrap(
      "not-found",
      `pull access denied for ${familiarRepository(reference)}, repository does not exist or may require 'docker login'`,
    );
  if (fault === "MANIFEST_UNKNOWN") return wrap("not-found", `manifest for ${familiarString(reference)} not found`);
  if (fault === "NAME_UNKNOWN") return wrap("not-found", `repository ${familiarRepository(reference)} not found`);
  return thrown;
}

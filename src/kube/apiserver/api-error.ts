/**
 * Errors in the words and shapes of Kubernetes (apimachinery, api/errors): each is a GantryError that carries
 * the `Status` object to answer.
 */
import { GantryError, type ErrorCode, errorMessage } from "#base/errors.ts";

export interface StatusCause {
  reason?: string;
  message?: string;
  field?: string;
}

export interface Status {
  kind: "Status";
  apiVersion: "v1";
  metadata: Record<string, unknown>;
  status: "Success" | "Failure";
  message?: string;
  reason?: string;
  details?: {
    name?: string;
    group?: string;
    kind?: string;
    uid?: string;
    causes?: StatusCause[];
    retryAfterSeconds?: number;
  };
  code?: number;
}

/** One violated rule: what apimachinery calls field.Error, already in words. */
export interface FieldProblem {
  /** `FieldValueRequired`, `FieldValueInvalid`… */
  reason: string;
  field: string;
  /** `Invalid value: "x": must be …`, without the field. */
  message: string;
}

interface Qualified {
  group: string;
  resource: string;
}

function failure(
  code: ErrorCode,
  http: number,
  reason: string,
  message: string,
  details?: Status["details"],
  cause?: unknown,
): GantryError {
  const status: Status = {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    ...(reason === "" ? {} : { reason }),
    ...(details === undefined ? {} : { details }),
    code: http,
  };
  return new GantryError(code, message, { data: { status }, ...(cause === undefined ? {} : { cause }) });
}

const named = ({ group, resource }: Qualified): string => (group === "" ? resource : `${resource}.${group}`);

function detailsOf({ group, resource }: Qualified, name: string): Status["details"] {
  return { ...(name === "" ? {} : { name }), ...(group === "" ? {} : { group }), kind: resource };
}

export function notFound(what: Qualified, name: string): GantryError {
  return failure("not-found", 404, "NotFound", `${named(what)} "${name}" not found`, detailsOf(what, name));
}

export function alreadyExists(what: Qualified, name: string): GantryError {
  return failure(
    "already-exists",
    409,
    "AlreadyExists",
    `${named(what)} "${name}" already exists`,
    detailsOf(what, name),
  );
}

/** A generated name was taken: the client may try again. */
export function generatedNameTaken(what: Qualified, name: string): GantryError {
  return failure(
    "already-exists",
    409,
    "AlreadyExists",
    `${named(what)} "${name}" already exists, the server was not able to generate a unique name for the object`,
    detailsOf(what, name),
  );
}

export const modifiedMessage =
  "the object has been modified; please apply your changes to the latest version and try again";

export function conflict(what: Qualified, name: string, why = modifiedMessage, causes?: StatusCause[]): GantryError {
  return failure("conflict", 409, "Conflict", `Operation cannot be fulfilled on ${named(what)} "${name}": ${why}`, {
    ...detailsOf(what, name),
    ...(causes === undefined ? {} : { causes }),
  });
}

/** Server-side apply met fields that others own; `message` is the whole text. */
export function applyConflict(message: string, causes: StatusCause[]): GantryError {
  return failure("conflict", 409, "Conflict", message, { causes });
}

export function forbidden(what: Qualified, name: string, why: string, causes?: StatusCause[]): GantryError {
  const subject = name === "" ? named(what) : `${named(what)} "${name}"`;
  return failure("forbidden", 403, "Forbidden", `${subject} is forbidden: ${why}`, {
    ...detailsOf(what, name),
    ...(causes === undefined ? {} : { causes }),
  });
}

export function forbiddenPath(message: string): GantryError {
  return failure("forbidden", 403, "Forbidden", message, {});
}

export function unauthorized(): GantryError {
  return failure("unauthorized", 401, "Unauthorized", "Unauthorized");
}

export function badRequest(message: string): GantryError {
  return failure("invalid", 400, "BadRequest", message);
}

/** The answer to an object that breaks rules: 422 with a cause for each. */
export function invalid(
  kind: { group: string; kind: string },
  name: string,
  problems: readonly FieldProblem[],
): GantryError {
  const lines = [...new Set(problems.map(({ field, message }) => (field === "" ? message : `${field}: ${message}`)))];
  const text = lines.length === 1 ? lines[0] : `[${lines.join(", ")}]`;
  const qualified = kind.group === "" ? kind.kind : `${kind.kind}.${kind.group}`;
  return failure("invalid", 422, "Invalid", `${qualified} "${name}" is invalid: ${text}`, {
    ...(name === "" ? {} : { name }),
    ...(kind.group === "" ? {} : { group: kind.group }),
    kind: kind.kind,
    causes: problems.map(({ reason, message, field }) => ({ reason, message, field })),
  });
}

export function methodNotAllowed(what: Qualified, verb: string): GantryError {
  return failure(
    "unsupported",
    405,
    "MethodNotAllowed",
    `${verb} is not supported on resources of kind "${named(what)}"`,
    detailsOf(what, ""),
  );
}

/** 405 of a path that takes other methods. */
export function methodUnknown(): GantryError {
  return failure(
    "unsupported",
    405,
    "MethodNotAllowed",
    "the server does not allow this method on the requested resource",
    {},
  );
}

/** 404 of a path that nothing answers, as `Status`. */
export function pathNotFound(): GantryError {
  return failure("not-found", 404, "NotFound", "the server could not find the requested resource", {});
}

export function tooLarge(limit: number): GantryError {
  return failure("too-large", 413, "RequestEntityTooLarge", `Request entity too large: limit is ${limit}`);
}

export function unsupportedMediaType(accepted: readonly string[]): GantryError {
  return failure(
    "invalid",
    415,
    "UnsupportedMediaType",
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(", ")}`,
  );
}

export function notAcceptable(accepted: readonly string[]): GantryError {
  return failure(
    "invalid",
    406,
    "NotAcceptable",
    `only the following media types are accepted: ${accepted.join(", ")}`,
  );
}

export function internalError(message: string, cause?: unknown): GantryError {
  return failure(
    "internal",
    500,
    "InternalError",
    `Internal error occurred: ${message}`,
    { causes: [{ message }] },
    cause,
  );
}

export function tooManyRequests(message: string, retryAfterSeconds: number, causes?: StatusCause[]): GantryError {
  return failure("exhausted", 429, "TooManyRequests", message, {
    ...(causes === undefined ? {} : { causes }),
    ...(retryAfterSeconds > 0 ? { retryAfterSeconds } : {}),
  });
}

export function serviceUnavailable(message: string): GantryError {
  return failure("unavailable", 503, "ServiceUnavailable", message);
}

const defaults: Record<ErrorCode, [number, string]> = {
  invalid: [400, "BadRequest"],
  unauthorized: [401, "Unauthorized"],
  forbidden: [403, "Forbidden"],
  "not-found": [404, "NotFound"],
  "already-exists": [409, "AlreadyExists"],
  conflict: [409, "Conflict"],
  "not-modified": [304, ""],
  gone: [410, "Expired"],
  "too-large": [413, "RequestEntityTooLarge"],
  exhausted: [429, "TooManyRequests"],
  unsupported: [501, "NotImplemented"],
  unavailable: [503, "ServiceUnavailable"],
  timeout: [504, "Timeout"],
  cancelled: [500, "InternalError"],
  internal: [500, "InternalError"],
};

/** The `Status` of anything thrown. What is not a GantryError is an internal error without details. */
export function statusOf(thrown: unknown): Status {
  if (!(thrown instanceof GantryError)) {
    return internalError(errorMessage(thrown)).data["status"] as Status;
  }
  const known = thrown.data["status"] as Status | undefined;
  if (known !== undefined) return known;
  const [http, reason] = defaults[thrown.code];
  const { cause, retryAfterSeconds } = thrown.data as { cause?: string; retryAfterSeconds?: number };
  const timeout = thrown.code === "timeout" && cause !== undefined;
  return failure(
    thrown.code,
    http,
    reason,
    timeout ? `Timeout: ${thrown.message}` : thrown.message,
    cause === undefined && retryAfterSeconds === undefined
      ? undefined
      : {
          ...(cause === undefined
            ? {}
            : { causes: [{ reason: cause, message: thrown.message.split(",")[0] as string }] }),
          ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
        },
  ).data["status"] as Status;
}

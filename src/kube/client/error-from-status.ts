import { GantryError, type ErrorCode } from "#base/errors.ts";

interface StatusLike {
  message?: string;
  reason?: string;
  code?: number;
}

const byReason: Record<string, ErrorCode> = {
  NotFound: "not-found",
  AlreadyExists: "already-exists",
  Conflict: "conflict",
  Invalid: "invalid",
  BadRequest: "invalid",
  Forbidden: "forbidden",
  Unauthorized: "unauthorized",
  Expired: "gone",
  Gone: "gone",
  Timeout: "timeout",
  ServerTimeout: "timeout",
  TooManyRequests: "exhausted",
  RequestEntityTooLarge: "too-large",
  MethodNotAllowed: "unsupported",
  ServiceUnavailable: "unavailable",
  InternalError: "internal",
};

const byCode: Record<number, ErrorCode> = {
  400: "invalid",
  401: "unauthorized",
  403: "forbidden",
  404: "not-found",
  405: "unsupported",
  406: "invalid",
  409: "conflict",
  410: "gone",
  413: "too-large",
  415: "invalid",
  422: "invalid",
  429: "exhausted",
  500: "internal",
  501: "unsupported",
  502: "unavailable",
  503: "unavailable",
  504: "timeout",
};

/** The error that a server's `Status` (or, without one, its HTTP status) stands for. */
export function errorFromStatus(status: StatusLike, http = status.code ?? 500): GantryError {
  const code = byReason[status.reason ?? ""] ?? byCode[status.code ?? http] ?? "internal";
  return new GantryError(code, status.message ?? `The API server answered ${http}.`, { data: { status } });
}

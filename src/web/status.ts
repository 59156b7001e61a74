import type { ErrorCode } from "#base/errors.ts";

const statuses: Record<ErrorCode, number> = {
  invalid: 400,
  unauthorized: 401,
  forbidden: 403,
  "not-found": 404,
  "already-exists": 409,
  conflict: 409,
  "not-modified": 304,
  gone: 410,
  "too-large": 413,
  exhausted: 429,
  unsupported: 501,
  unavailable: 503,
  timeout: 504,
  cancelled: 499,
  internal: 500,
};

/** The HTTP status that an error's code stands for, where an edge has no rule of its own. */
export function httpStatus(code: ErrorCode): number {
  return statuses[code];
}

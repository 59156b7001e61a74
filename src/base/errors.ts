/**
 * What went wrong, as a stable word. Each edge (Docker, Kubernetes, OCI, the command line) translates it
 * once into its own status and words.
 */
export type ErrorCode =
  | "invalid" // the caller's input is wrong: 400 / 422
  | "unauthorized" // who are you: 401
  | "forbidden" // you may not: 403
  | "not-found" // 404
  | "already-exists" // 409, by name
  | "conflict" // 409, by state or by revision
  | "not-modified" // already so: 304
  | "gone" // expired revision: 410
  | "too-large" // 413
  | "exhausted" // quota, rate, no free address: 429 / 507
  | "unsupported" // not in force here: 501
  | "unavailable" // try again: 503
  | "timeout" // 504
  | "cancelled" // the caller went away, or we are stopping
  | "internal"; // 500

export interface ErrorOptions {
  /** Facts about this occurrence, for the edge that translates and for the log. Never a secret. */
  data?: Record<string, unknown>;
  cause?: unknown;
}

/**
 * The one error that Gantry throws for anything that a user or a peer can cause. The message is a full
 * sentence for a person: what happened, to what, and where it helps, what to do next. A plain `Error` is a
 * programmer's mistake.
 */
export class GantryError extends Error {
  readonly code: ErrorCode;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "GantryError";
    this.code = code;
    this.data = options.data ?? {};
  }
}

/** The code of any thrown value; `internal` for what is not ours, `cancelled` for an AbortError. */
export function errorCode(thrown: unknown): ErrorCode {
  if (thrown instanceof GantryError) return thrown.code;
  if (thrown instanceof Error && thrown.name === "AbortError") return "cancelled";
  return "internal";
}

/** True when `thrown` is a GantryError with one of `codes`. */
export function hasCode(thrown: unknown, ...codes: ErrorCode[]): thrown is GantryError {
  return thrown instanceof GantryError && codes.includes(thrown.code);
}

/** The message of any thrown value. */
export function errorMessage(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** The message of any thrown value followed by those of its causes, for the log and for `--debug`. */
export function errorChain(thrown: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = thrown; at !== undefined && at !== null && parts.length < 8;) {
    parts.push(errorMessage(at));
    at = at instanceof Error ? at.cause : undefined;
  }
  return parts.join(": ");
}

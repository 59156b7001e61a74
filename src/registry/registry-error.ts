/** The specified codes (OCI distribution spec 1.1, "Error Codes") and the status that goes with each here. */
const statuses = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 404,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  PAGINATION_NUMBER_INVALID: 400,
  RANGE_INVALID: 416,
  SIZE_INVALID: 400,
  TAG_INVALID: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  UNSUPPORTED: 405,
} as const;

export type RegistryErrorCode = keyof typeof statuses;

/** An answer that the spec has a code for. */
export class RegistryError extends Error {
  readonly code: RegistryErrorCode;
  readonly status: number;
  readonly detail: unknown;

  constructor(code: RegistryErrorCode, message: string, options: { detail?: unknown; status?: number } = {}) {
    super(message);
    this.name = "RegistryError";
    this.code = code;
    this.status = options.status ?? statuses[code];
    this.detail = options.detail;
  }

  body(): { errors: { code: string; message: string; detail?: unknown }[] } {
    const detail = this.detail === undefined ? {} : { detail: this.detail };
    return { errors: [{ code: this.code, message: this.message, ...detail }] };
  }
}

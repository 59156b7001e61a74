/** One violated rule (apimachinery, field.Error), in words. */
export interface FieldProblem {
  /** `FieldValueInvalid`, `FieldValueRequired`… */
  reason: string;
  /** `spec.containers[0].name`. */
  field: string;
  /** `Invalid value: "x": must be …`, without the field. */
  message: string;
}

/** A value as upstream prints it in a problem. */
function show(value: unknown): string {
  if (value === undefined || value === null) return "null";
  return JSON.stringify(value);
}

/** Gathers the problems of one object. */
export class Problems {
  readonly list: FieldProblem[] = [];

  #add(reason: string, field: string, body: string, detail: string): void {
    this.list.push({ reason, field, message: detail === "" ? body : `${body}: ${detail}` });
  }

  required(field: string, detail = ""): void {
    this.#add("FieldValueRequired", field, "Required value", detail);
  }

  invalid(field: string, value: unknown, detail: string): void {
    this.#add("FieldValueInvalid", field, `Invalid value: ${show(value)}`, detail);
  }

  /** One problem for each of `details`. */
  invalidEach(field: string, value: unknown, details: readonly string[]): void {
    for (const detail of details) this.invalid(field, value, detail);
  }

  notSupported(field: string, value: unknown, supported: readonly string[]): void {
    const values = supported.map((each) => JSON.stringify(each)).join(", ");
    this.#add("FieldValueNotSupported", field, `Unsupported value: ${show(value)}`, `supported values: ${values}`);
  }

  forbidden(field: string, detail: string): void {
    this.#add("FieldValueForbidden", field, "Forbidden", detail);
  }

  duplicate(field: string, value: unknown, detail = ""): void {
    this.#add("FieldValueDuplicate", field, `Duplicate value: ${show(value)}`, detail);
  }

  notFound(field: string, value: unknown): void {
    this.#add("FieldValueNotFound", field, `Not found: ${show(value)}`, "");
  }

  tooLong(field: string, limit: number): void {
    this.#add("FieldValueTooLong", field, "Too long", `may not be more than ${limit} bytes`);
  }

  /** A number that may not be below zero. */
  nonNegative(field: string, value: unknown): void {
    if (typeof value === "number" && value < 0) this.invalid(field, value, "must be greater than or equal to 0");
  }
}

import type { ObjectSchema, SchemaType } from "../schema.ts";

/** What decoding found besides the object. */
export interface StructuralReport {
  /** `unknown field "spec.foo"`. */
  unknown: string[];
  /** The first value of a wrong type, in Go's words; undefined when all fit. */
  mismatch: string | undefined;
}

const maxUnknown = 100;

function goName(value: unknown): string {
  if (Array.isArray(value)) return "array";
  if (typeof value === "boolean") return "bool";
  return typeof value;
}

class Walk {
  readonly report: StructuralReport = { unknown: [], mismatch: undefined };

  mismatch(value: unknown, go: string, owner: string, path: string): void {
    const what = typeof value === "number" ? `number${Number.isInteger(value) ? "" : ` ${value}`}` : goName(value);
    this.report.mismatch ??= `json: cannot unmarshal ${what} into Go struct field ${owner}.${path} of type ${go}`;
  }

  object(value: unknown, schema: ObjectSchema, go: string, owner: string, path: string, goPath: string): unknown {
    if (typeof value !== "object" || Array.isArray(value)) {
      this.mismatch(value, go, owner, goPath);
      return undefined;
    }
    const out: Record<string, unknown> = {};
    const given = value as Record<string, unknown>;
    for (const key in given) {
      const at = path === "" ? key : `${path}.${key}`;
      const field = schema.fields.get(key);
      if (field === undefined) {
        if ((key === "kind" || key === "apiVersion") && schema.isKind) out[key] = given[key];
        else if (this.report.unknown.length < maxUnknown)
          this.report.unknown.push(`unknown field ${JSON.stringify(at)}`);
        continue;
      }
      const item = given[key];
      if (item === null || item === undefined) continue;
      const read = this.value(item, field.type, schema.name, at, goPath === "" ? key : `${goPath}.${key}`);
      if (read !== undefined) out[key] = read;
    }
    return out;
  }

  /** `path` is where the value is; `goPath` leaves indexes and map keys out, as Go tells it. */
  value(value: unknown, type: SchemaType, owner: string, path: string, goPath: string): unknown {
    switch (type.kind) {
      case "object":
        return this.object(value, type.object, type.go, owner, path, goPath);
      case "list":
        if (!Array.isArray(value)) {
          this.mismatch(value, type.go, owner, goPath);
          return undefined;
        }
        return value.map((item, index) =>
          item === null ? this.zero(type.items) : this.value(item, type.items, owner, `${path}[${index}]`, goPath),
        );
      case "map": {
        if (typeof value !== "object" || Array.isArray(value)) {
          this.mismatch(value, type.go, owner, goPath);
          return undefined;
        }
        const out: Record<string, unknown> = {};
        for (const [key, item] of Object.entries(value as object))
          out[key] =
            item === null ? this.zero(type.values) : this.value(item, type.values, owner, `${path}.${key}`, goPath);
        return out;
      }
      case "string":
        if (typeof value === "string") return value;
        break;
      case "bool":
        if (typeof value === "boolean") return value;
        break;
      case "int32":
        if (typeof value === "number" && Number.isInteger(value) && Math.abs(value) <= 2 ** 31) return value;
        break;
      case "int64":
        if (typeof value === "number" && Number.isInteger(value)) return value;
        break;
      case "float64":
        if (typeof value === "number") return value;
        break;
      case "bytes":
        if (typeof value === "string") {
          const clean = value.replace(/[\r\n]/g, "");
          const bad = /[^A-Za-z0-9+/=]/.exec(clean);
          if (bad !== null || clean.length % 4 !== 0) {
            this.report.mismatch ??= `illegal base64 data at input byte ${bad?.index ?? clean.length - (clean.length % 4)}`;
            return undefined;
          }
          return clean;
        }
        break;
      case "quantity":
        if (typeof value === "number") return String(value);
        if (typeof value === "string") {
          if (/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+|Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E)?$/.test(value)) return value;
          this.report.mismatch ??=
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
          return undefined;
        }
        break;
      case "time":
      case "microTime":
        if (typeof value === "string") {
          if (!Number.isNaN(Date.parse(value)) && /^\d{4}-\d\d-\d\dT/.test(value)) return value;
          this.report.mismatch ??= `parsing time ${JSON.stringify(value)} as "2006-01-02T15:04:05Z07:00": cannot parse ${JSON.stringify(value)} as "2006"`;
          return undefined;
        }
        break;
      case "duration":
        if (typeof value === "string") return value;
        break;
      case "intOrString":
        if (typeof value === "string" || (typeof value === "number" && Number.isInteger(value))) return value;
        break;
      default:
        return value;
    }
    this.mismatch(value, type.go, owner, goPath);
    return undefined;
  }

  zero(type: SchemaType): unknown {
    switch (type.kind) {
      case "object":
      case "map":
        return {};
      case "list":
        return [];
      case "bool":
        return false;
      case "int32":
      case "int64":
      case "float64":
      case "intOrString":
        return 0;
      case "time":
      case "microTime":
        return null;
      default:
        return "";
    }
  }
}

/**
 * Fits a parsed JSON or YAML object to its schema: fields that the kind does not have are dropped and
 * reported, nulls are dropped, and the first value of a wrong type is reported in Go's words.
 */
export function fitToSchema(
  value: Record<string, unknown>,
  schema: ObjectSchema,
): { object: Record<string, unknown>; report: StructuralReport } {
  const walk = new Walk();
  const object = walk.object(value, schema, `v1.${schema.name}`, schema.name, "", "") as Record<string, unknown>;
  return { object, report: walk.report };
}

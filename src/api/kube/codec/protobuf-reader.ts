import { GantryError } from "#base/errors.ts";
import type { FieldSchema, ObjectSchema, SchemaType } from "../schema.ts";
import { scheme } from "../scheme.ts";

/** Before every Kubernetes object in protobuf (apimachinery, serializer/protobuf). */
const magic = Buffer.from([0x6b, 0x38, 0x73, 0x00]);

class Reader {
  readonly bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get done(): boolean {
    return this.at >= this.bytes.length;
  }

  /** A varint as a signed 64-bit number. */
  varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.bytes[this.at++];
      if (byte === undefined) throw broken("unexpected EOF");
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(64, value);
    }
    throw broken("integer overflow");
  }

  chunk(): Uint8Array {
    const length = Number(this.varint());
    if (length < 0 || this.at + length > this.bytes.length) throw broken("unexpected EOF");
    const chunk = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return chunk;
  }

  fixed(size: 4 | 8): DataView {
    if (this.at + size > this.bytes.length) throw broken("unexpected EOF");
    const view = new DataView(this.bytes.buffer, this.bytes.byteOffset + this.at, size);
    this.at += size;
    return view;
  }
}

type Wire = bigint | Uint8Array | DataView;

function broken(why: string): GantryError {
  return new GantryError("invalid", `the body of the request is not valid protobuf: ${why}`);
}

/** Calls `take` for each field on the wire. */
function eachField(bytes: Uint8Array, take: (number: number, value: Wire) => void): void {
  const reader = new Reader(bytes);
  while (!reader.done) {
    const tag = Number(reader.varint());
    const number = tag >>> 3;
    switch (tag & 7) {
      case 0:
        take(number, reader.varint());
        break;
      case 1:
        take(number, reader.fixed(8));
        break;
      case 2:
        take(number, reader.chunk());
        break;
      case 5:
        take(number, reader.fixed(4));
        break;
      default:
        throw broken(`wire type ${tag & 7}`);
    }
  }
}

const asText = (value: Wire): string => Buffer.from(chunkOf(value)).toString("utf8");

function chunkOf(value: Wire): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw broken("a length was expected");
}

function integer(value: Wire): number {
  if (typeof value !== "bigint") throw broken("a varint was expected");
  return Number(value);
}

/** Fields of a small message by number. */
function parts(value: Wire): Map<number, Wire> {
  const out = new Map<number, Wire>();
  eachField(chunkOf(value), (number, part) => out.set(number, part));
  return out;
}

function timeText(value: Wire, micro: boolean): string | undefined {
  const fields = parts(value);
  if (fields.size === 0) return undefined;
  const seconds = integer(fields.get(1) ?? 0n);
  const nanos = integer(fields.get(2) ?? 0n);
  // Go's zero time: year 1.
  if (seconds <= -62135596800 || (seconds === 0 && nanos === 0)) return undefined;
  const whole = new Date(seconds * 1000).toISOString().slice(0, 19);
  return micro ? `${whole}.${String(Math.floor(nanos / 1000)).padStart(6, "0")}Z` : `${whole}Z`;
}

/** Nanoseconds as Go writes a duration: `1h2m3s`. */
export function durationText(nanoseconds: number): string {
  if (nanoseconds === 0) return "0s";
  const sign = nanoseconds < 0 ? "-" : "";
  const total = Math.abs(nanoseconds);
  if (total < 1e9) {
    if (total < 1e3) return `${sign}${total}ns`;
    return total < 1e6 ? `${sign}${total / 1e3}µs` : `${sign}${total / 1e6}ms`;
  }
  const hours = Math.floor(total / 3600e9);
  const minutes = Math.floor((total % 3600e9) / 60e9);
  const seconds = (total % 60e9) / 1e9;
  return `${sign}${hours > 0 ? `${hours}h` : ""}${hours > 0 || minutes > 0 ? `${minutes}m` : ""}${seconds}s`;
}

function rawJson(value: Wire | undefined): unknown {
  if (value === undefined) return undefined;
  const text = asText(value);
  return text === "" ? undefined : (JSON.parse(text) as unknown);
}

function scalar(type: SchemaType, value: Wire): unknown {
  switch (type.kind) {
    case "string":
      return asText(value);
    case "bool":
      return integer(value) !== 0;
    case "int32":
    case "int64":
      return integer(value);
    case "float64":
      if (value instanceof DataView && value.byteLength === 8) return value.getFloat64(0, true);
      throw broken("a double was expected");
    case "bytes":
      return Buffer.from(chunkOf(value)).toString("base64");
    case "quantity": {
      const text = parts(value).get(1);
      return text === undefined ? "0" : asText(text);
    }
    case "time":
      return timeText(value, false);
    case "microTime":
      return timeText(value, true);
    case "duration":
      return durationText(integer(parts(value).get(1) ?? 0n));
    case "intOrString": {
      const fields = parts(value);
      return integer(fields.get(1) ?? 0n) === 1
        ? asText(fields.get(3) ?? new Uint8Array())
        : integer(fields.get(2) ?? 0n);
    }
    case "rawExtension":
    case "fieldsV1":
    case "json":
      return rawJson(parts(value).get(1));
    case "schemaOrBool": {
      const fields = parts(value);
      const schema = fields.get(2);
      return schema === undefined ? integer(fields.get(1) ?? 0n) !== 0 : schemaProps(schema);
    }
    case "schemaOrArray":
    case "schemaOrStringArray": {
      let one: unknown;
      const many: unknown[] = [];
      eachField(chunkOf(value), (number, part) => {
        if (number === 1) one = schemaProps(part);
        else many.push(type.kind === "schemaOrArray" ? schemaProps(part) : asText(part));
      });
      return one ?? many;
    }
    default:
      throw broken(`a ${type.kind} in the place of a scalar`);
  }
}

function schemaProps(value: Wire): unknown {
  const schema = scheme.object("apiextensions/v1", "JSONSchemaProps");
  return schema === undefined ? {} : readObject(schema, chunkOf(value));
}

function single(type: SchemaType, value: Wire): unknown {
  if (type.kind === "object") return readObject(type.object, chunkOf(value));
  if (type.kind === "list") {
    // A list with a name of its own: a message whose field 1 repeats.
    const out: unknown[] = [];
    eachField(chunkOf(value), (_number, item) => out.push(single(type.items, item)));
    return out;
  }
  return scalar(type, value);
}

/** What Go's `omitempty` leaves out. A pointer's zero was set on purpose. */
function isOmitted(field: FieldSchema, value: unknown): boolean {
  if (value === undefined) return true;
  if (field.pointer || !field.omitempty) return false;
  return value === "" || value === 0 || value === false;
}

function readInto(out: Record<string, unknown>, schema: ObjectSchema, bytes: Uint8Array): void {
  const byNumber = new Map<number, FieldSchema>();
  for (const field of schema.layout) if (field.number !== undefined) byNumber.set(field.number, field);
  eachField(bytes, (number, value) => {
    const field = byNumber.get(number);
    if (field === undefined) return;
    const { type, name } = field;
    if (field.inline) {
      if (type.kind === "object") readInto(out, type.object, chunkOf(value));
      return;
    }
    if (type.kind === "list" && type.message !== true) {
      const list = (out[name] ??= []) as unknown[];
      const packed = value instanceof Uint8Array && (type.items.kind === "int32" || type.items.kind === "int64");
      if (!packed) list.push(single(type.items, value));
      else for (const reader = new Reader(value); !reader.done;) list.push(Number(reader.varint()));
      return;
    }
    if (type.kind === "map") {
      const map = (out[name] ??= {}) as Record<string, unknown>;
      const entry = parts(value);
      const key = entry.get(1);
      const item = entry.get(2);
      const empty = type.values.kind === "string" || type.values.kind === "bytes" ? "" : {};
      map[key === undefined ? "" : asText(key)] = item === undefined ? empty : (single(type.values, item) ?? null);
      return;
    }
    const read = single(type, value);
    if (isOmitted(field, read)) delete out[name];
    else out[name] = read;
  });
}

function readObject(schema: ObjectSchema, bytes: Uint8Array): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  readInto(out, schema, bytes);
  return out;
}

/** True when the bytes begin as a Kubernetes object in protobuf does. */
export function isProtobuf(bytes: Uint8Array): boolean {
  return magic.every((byte, index) => bytes[index] === byte);
}

/**
 * Decodes an object of a built-in kind with its envelope. The envelope may leave the kind out: then it is
 * `expected`. Throws `invalid`.
 */
export function readProtobuf(
  bytes: Uint8Array,
  expected: { group: string; version: string; kind: string },
): Record<string, unknown> {
  if (!isProtobuf(bytes))
    throw broken("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
  let apiVersion = "";
  let kind = "";
  let raw: Uint8Array = new Uint8Array();
  eachField(bytes.subarray(4), (number, value) => {
    if (number === 1) {
      const meta = parts(value);
      apiVersion = asText(meta.get(1) ?? new Uint8Array());
      kind = asText(meta.get(2) ?? new Uint8Array());
    } else if (number === 2) raw = chunkOf(value);
  });
  if (kind === "") {
    kind = expected.kind;
    apiVersion = expected.group === "" ? expected.version : `${expected.group}/${expected.version}`;
  }
  const [first = "", second] = apiVersion.split("/") as [string, string | undefined];
  const schema = second === undefined ? scheme.kind("", first, kind) : scheme.kind(first, second, kind);
  if (schema === undefined) throw broken(`no kind "${kind}" is registered for version "${apiVersion}"`);
  return { kind, apiVersion, ...readObject(schema, raw) };
}

/**
 * Encodes objects of built-in kinds as Kubernetes' protobuf (apimachinery, serializer/protobuf), driven by
 * the tables. Written from the end to the beginning, so that every length is known when it is written.
 */
import type { FieldSchema, ObjectSchema, SchemaType } from "../schema.ts";
import { scheme } from "../scheme.ts";

type Json = Record<string, unknown>;

const magic = Buffer.from([0x6b, 0x38, 0x73, 0x00]);

class BackwardWriter {
  #buffer = Buffer.allocUnsafe(1024);
  #at = 1024;

  /** Bytes written so far. */
  get length(): number {
    return this.#buffer.length - this.#at;
  }

  #room(bytes: number): void {
    if (this.#at >= bytes) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.length + bytes));
    const at = grown.length - this.length;
    this.#buffer.copy(grown, at, this.#at);
    this.#buffer = grown;
    this.#at = at;
  }

  bytes(value: Uint8Array): void {
    this.#room(value.length);
    this.#at -= value.length;
    this.#buffer.set(value, this.#at);
  }

  text(value: string): void {
    const length = Buffer.byteLength(value);
    this.#room(length);
    this.#at -= length;
    this.#buffer.write(value, this.#at, "utf8");
  }

  double(value: number): void {
    this.#room(8);
    this.#at -= 8;
    this.#buffer.writeDoubleLE(value, this.#at);
  }

  varint(value: number): void {
    if (value >= 0 && value < 128) {
      this.#room(1);
      this.#buffer[--this.#at] = value;
      return;
    }
    const bytes: number[] = [];
    if (value >= 0 && value <= 0x7fffffff) {
      for (let rest = value; ; rest >>>= 7) {
        if (rest < 128) {
          bytes.push(rest);
          break;
        }
        bytes.push((rest & 0x7f) | 0x80);
      }
    } else {
      // Negative numbers take ten bytes, as 64-bit two's complement.
      for (let rest = BigInt.asUintN(64, BigInt(Math.trunc(value))); ; rest >>= 7n) {
        if (rest < 128n) {
          bytes.push(Number(rest));
          break;
        }
        bytes.push(Number(rest & 0x7fn) | 0x80);
      }
    }
    this.#room(bytes.length);
    for (let index = bytes.length - 1; index >= 0; index--) this.#buffer[--this.#at] = bytes[index] as number;
  }

  /** The length of what was written since `mark`, and the tag before it. */
  close(mark: number, number: number): void {
    this.varint(this.length - mark);
    this.varint((number << 3) | 2);
  }

  take(): Buffer {
    return this.#buffer.subarray(this.#at);
  }
}

const orders = new WeakMap<ObjectSchema, FieldSchema[]>();

/** A struct's fields from the last number to the first. */
function orderOf(schema: ObjectSchema): FieldSchema[] {
  let order = orders.get(schema);
  if (order === undefined) {
    order = schema.layout
      .filter((field) => field.number !== undefined)
      .toSorted((a, b) => (b.number ?? 0) - (a.number ?? 0));
    orders.set(schema, order);
  }
  return order;
}

function writeText(out: BackwardWriter, number: number, value: string): void {
  const mark = out.length;
  out.text(value);
  out.close(mark, number);
}

function writeNumber(out: BackwardWriter, number: number, value: number): void {
  out.varint(value);
  out.varint(number << 3);
}

function writeTime(out: BackwardWriter, value: unknown): void {
  const time = typeof value === "string" ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(time)) return;
  const fraction = /\.(\d{1,9})/.exec(value as string)?.[1] ?? "";
  writeNumber(out, 2, Number(fraction.padEnd(9, "0")));
  writeNumber(out, 1, Math.floor(time / 1000));
}

const durationUnits: Record<string, number> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

/** `1h2m3.5s` in nanoseconds. */
export function parseDuration(text: string): number {
  let total = 0;
  for (const [, amount = "0", unit = ""] of text.matchAll(/([\d.]+)(ns|us|µs|ms|s|m|h)/g))
    total += Number(amount) * (durationUnits[unit] ?? 0);
  return text.startsWith("-") ? -total : total;
}

function writeSchemaChoice(out: BackwardWriter, kind: SchemaType["kind"], value: unknown): void {
  const props = scheme.object("apiextensions/v1", "JSONSchemaProps") as ObjectSchema;
  const isOne = typeof value === "object" && value !== null && !Array.isArray(value);
  const writeProps = (number: number, item: unknown): void => {
    const mark = out.length;
    writeObject(out, props, item as Json);
    out.close(mark, number);
  };
  if (kind === "schemaOrBool") {
    if (isOne) writeProps(2, value);
    writeNumber(out, 1, isOne || value === true ? 1 : 0);
    return;
  }
  if (Array.isArray(value)) {
    for (const item of value.toReversed()) {
      if (kind === "schemaOrArray") writeProps(2, item);
      else writeText(out, 2, String(item));
    }
  } else if (isOne) writeProps(1, value);
}

/** The content of a value that is a message or bytes. */
function writeContent(out: BackwardWriter, type: SchemaType, value: unknown): void {
  switch (type.kind) {
    case "string":
      return out.text(String(value));
    case "bytes":
      return out.bytes(Buffer.from(String(value), "base64"));
    case "quantity":
      return writeText(out, 1, String(value));
    case "time":
    case "microTime":
      return writeTime(out, value);
    case "duration":
      return writeNumber(out, 1, parseDuration(String(value)));
    case "intOrString":
      writeText(out, 3, typeof value === "string" ? value : "");
      writeNumber(out, 2, typeof value === "number" ? value : 0);
      return writeNumber(out, 1, typeof value === "string" ? 1 : 0);
    case "rawExtension":
    case "fieldsV1":
    case "json": {
      return writeText(out, 1, JSON.stringify(value));
    }
    case "schemaOrBool":
    case "schemaOrArray":
    case "schemaOrStringArray":
      return writeSchemaChoice(out, type.kind, value);
    case "object":
      return writeObject(out, type.object, value as Json);
    case "list":
      for (const item of (value as unknown[]).toReversed()) writeValue(out, 1, type.items, item);
      return;
    default:
      throw new Error(`a ${type.kind} is no message`);
  }
}

function writeValue(out: BackwardWriter, number: number, type: SchemaType, value: unknown): void {
  switch (type.kind) {
    case "bool":
      return writeNumber(out, number, value === true ? 1 : 0);
    case "int32":
    case "int64":
      return writeNumber(out, number, Number(value));
    case "float64":
      out.double(Number(value));
      return out.varint((number << 3) | 1);
    default: {
      const mark = out.length;
      writeContent(out, type, value);
      out.close(mark, number);
    }
  }
}

/** What Go writes for an absent field that is no pointer; undefined: nothing. */
function zeroOf(field: FieldSchema): unknown {
  if (field.pointer) return undefined;
  switch (field.type.kind) {
    case "string":
      return "";
    case "bool":
      return false;
    case "int32":
    case "int64":
    case "float64":
    case "intOrString":
      return 0;
    case "quantity":
      return "0";
    case "time":
    case "microTime":
    case "rawExtension":
    case "json":
      return null;
    case "duration":
      return "0s";
    case "object":
      return {};
    default:
      return undefined;
  }
}

function writeField(out: BackwardWriter, field: FieldSchema, given: unknown): void {
  const { type } = field;
  const number = field.number as number;
  const value = given === undefined || given === null ? zeroOf(field) : given;
  if (value === undefined) return;
  if (value === null) {
    // A zero time, or nothing raw: an empty message.
    out.close(out.length, number);
  } else if (type.kind === "list" && type.message !== true) {
    const list = value as unknown[];
    for (let at = list.length - 1; at >= 0; at--) writeValue(out, number, type.items, list[at]);
  } else if (type.kind === "map") {
    const map = value as Json;
    for (const key of Object.keys(map).toSorted(byBytes).toReversed()) {
      const mark = out.length;
      writeValue(out, 2, type.values, map[key]);
      writeText(out, 1, key);
      out.close(mark, number);
    }
  } else writeValue(out, number, type, value);
}

/** Go sorts strings by their bytes. */
function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function writeObject(out: BackwardWriter, schema: ObjectSchema, object: Json): void {
  for (const field of orderOf(schema)) {
    if (!field.inline) writeField(out, field, object[field.name]);
    else if (field.type.kind === "object" && (!field.pointer || hasAny(field.type.object, object))) {
      const mark = out.length;
      writeObject(out, field.type.object, object);
      out.close(mark, field.number as number);
    }
  }
}

function hasAny(schema: ObjectSchema, object: Json): boolean {
  for (const name of schema.fields.keys()) if (object[name] !== undefined) return true;
  return false;
}

/** Kinds whose Go form has no protobuf. */
const jsonOnly = new Set(["Table"]);

/** An object or a list of a built-in kind with its envelope; undefined when the kind has no protobuf. */
export function writeProtobuf(object: object): Buffer | undefined {
  const { apiVersion = "", kind = "" } = object as { apiVersion?: string; kind?: string };
  const slash = apiVersion.indexOf("/");
  const schema = jsonOnly.has(kind)
    ? undefined
    : scheme.kind(slash === -1 ? "" : apiVersion.slice(0, slash), apiVersion.slice(slash + 1), kind);
  if (schema === undefined) return undefined;
  const out = new BackwardWriter();
  // runtime.Unknown: contentType, contentEncoding, raw, typeMeta.
  writeText(out, 4, "");
  writeText(out, 3, "");
  const raw = out.length;
  writeObject(out, schema, object as Json);
  out.close(raw, 2);
  const meta = out.length;
  writeText(out, 2, kind);
  writeText(out, 1, apiVersion);
  out.close(meta, 1);
  out.bytes(magic);
  return out.take();
}

/** One frame of a protobuf watch stream: its length in four bytes, then meta.k8s.io/v1 WatchEvent. */
export function writeProtobufWatchFrame(type: string, object: object): Buffer | undefined {
  const encoded = writeProtobuf(object);
  if (encoded === undefined) return undefined;
  const out = new BackwardWriter();
  const event = out.length;
  out.bytes(encoded);
  out.close(event, 1);
  out.close(event, 2);
  writeText(out, 1, type);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(out.length);
  out.bytes(length);
  return out.take();
}

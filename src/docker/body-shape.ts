import { GantryError } from "#base/errors.ts";

/**
 * The JSON type of a field, as Go's decoder would hold it: null fits everything, absence too. `"any"` is not
 * looked at.
 */
export type Shape =
  | "string"
  | "int"
  | "bool"
  | "any"
  | { list: Shape }
  | { map: Shape }
  | { fields: Readonly<Record<string, Shape>> };

/** Beyond 2^53 the value is near only, but still no mistake of the client. */
function isInt64(value: unknown): boolean {
  return Number.isInteger(value) && Math.abs(value as number) <= 2 ** 63;
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "array";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number" && !isInt64(value)) return `number ${value}`;
  return typeof value;
}

function goType(shape: Shape): string {
  if (shape === "int") return "int64";
  if (typeof shape === "string") return shape;
  if ("list" in shape) return `[]${goType(shape.list)}`;
  return "map" in shape ? `map[string]${goType(shape.map)}` : "object";
}

/**
 * Checks that the fields of a decoded body have the types that Go's decoder demands; unknown fields pass, as
 * there. Fields that are null are taken out. Throws `invalid` in the decoder's words.
 */
export function checkShape(value: unknown, shape: Shape, path: string): void {
  if (value === null || value === undefined || shape === "any") return;
  if (typeof shape === "string") {
    const fits = shape === "int" ? isInt64(value) : typeof value === (shape === "bool" ? "boolean" : shape);
    if (!fits) throw mismatch(value, shape, path);
  } else if ("list" in shape) {
    if (!Array.isArray(value)) throw mismatch(value, shape, path);
    for (const one of value) checkShape(one, shape.list, path);
  } else {
    if (typeof value !== "object" || Array.isArray(value)) throw mismatch(value, shape, path);
    const entries = value as Record<string, unknown>;
    if ("map" in shape) for (const key in entries) checkShape(entries[key], shape.map, path);
    else {
      useDeclaredNames(entries, shape.fields);
      for (const key in shape.fields) {
        // To Go, null is a field that was left out.
        if (entries[key] === null) delete entries[key];
        else checkShape(entries[key], shape.fields[key] as Shape, `${path}.${key}`);
      }
    }
  }
}

const namesByLowerCase = new WeakMap<object, Map<string, string>>();

/** Go's decoder takes a field whatever the case of its name; docker-py sends some in lower case. */
function useDeclaredNames(entries: Record<string, unknown>, fields: Readonly<Record<string, Shape>>): void {
  for (const key of Object.keys(entries)) {
    if (Object.hasOwn(fields, key)) continue;
    let names = namesByLowerCase.get(fields);
    if (names === undefined) {
      names = new Map(Object.keys(fields).map((name) => [name.toLowerCase(), name]));
      namesByLowerCase.set(fields, names);
    }
    const name = names.get(key.toLowerCase());
    if (name === undefined || Object.hasOwn(entries, name)) continue;
    entries[name] = entries[key];
    delete entries[key];
  }
}

function mismatch(value: unknown, shape: Shape, path: string): GantryError {
  const message = `invalid JSON: json: cannot unmarshal ${kindOf(value)} into Go struct field ${path} of type ${goType(shape)}`;
  return new GantryError("invalid", message);
}

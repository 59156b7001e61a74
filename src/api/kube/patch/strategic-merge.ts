import { GantryError } from "#base/errors.ts";
import type { FieldSchema, ObjectSchema, SchemaType } from "../schema.ts";

type Json = unknown;
type JsonObject = Record<string, Json>;

const directive = "$patch";
const retainKeys = "$retainKeys";
const orderPrefix = "$setElementOrder/";
const deletePrefix = "$deleteFromPrimitiveList/";

function isObject(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refuse(message: string): GantryError {
  return new GantryError("invalid", message);
}

/** The schema of what an object type, or the values of a map type, hold. */
function objectOf(type: SchemaType | undefined): ObjectSchema | undefined {
  return type?.kind === "object" ? type.object : undefined;
}

/** Takes the directives out of a value that is new as a whole. */
function clean(value: Json): Json {
  if (Array.isArray(value)) return value.filter((item) => !(isObject(item) && item[directive] === "delete")).map(clean);
  if (!isObject(value)) return value;
  const out: JsonObject = {};
  for (const key in value) {
    if (key === directive || key === retainKeys || key.startsWith(orderPrefix) || key.startsWith(deletePrefix))
      continue;
    if (value[key] !== null) out[key] = clean(value[key]);
  }
  return out;
}

/**
 * Applies a strategic merge patch (Kubernetes, "Update API Objects in Place Using kubectl patch") by the
 * schema's patch strategies and merge keys. Neither argument is changed. Throws `invalid`.
 */
export function strategicMerge(current: JsonObject, patch: JsonObject, schema: ObjectSchema | undefined): JsonObject {
  const how = patch[directive];
  if (how === "replace") return clean(patch) as JsonObject;
  if (how === "delete") return {};
  if (how !== undefined && how !== "merge") throw refuse(`Unknown patch type found: ${String(how)}`);
  const out: JsonObject = { ...current };
  const retained = patch[retainKeys];
  if (Array.isArray(retained)) for (const key in out) if (!retained.includes(key)) delete out[key];
  for (const key in patch) {
    if (!key.startsWith(deletePrefix)) continue;
    const name = key.slice(deletePrefix.length);
    const gone = patch[key];
    const have = out[name];
    if (Array.isArray(gone) && Array.isArray(have)) out[name] = have.filter((item) => !gone.includes(item));
  }
  for (const key in patch) {
    if (key === directive || key === retainKeys || key.startsWith(deletePrefix)) continue;
    if (key.startsWith(orderPrefix)) {
      const name = key.slice(orderPrefix.length);
      if (patch[name] === undefined && Array.isArray(out[name]))
        out[name] = inOrder(out[name], patch[key], schema?.fields.get(name), out[name]);
      continue;
    }
    const value = patch[key];
    if (value === null) {
      delete out[key];
      continue;
    }
    const field = schema?.fields.get(key);
    const order = patch[orderPrefix + key];
    out[key] = mergeField(out[key], value, field, order);
  }
  return out;
}

function mergeField(have: Json, value: Json, field: FieldSchema | undefined, order: Json): Json {
  const replaces = field?.patchStrategies.includes("replace") === true;
  if (Array.isArray(value)) {
    const merges = field?.patchStrategies.includes("merge") === true;
    if (!merges || !Array.isArray(have)) {
      const fresh = clean(value) as Json[];
      return merges ? inOrder(unique(fresh, field), order, field, []) : fresh;
    }
    if (Array.isArray(order)) checkOrder(value, order, field as FieldSchema);
    return inOrder(mergeList(have, value, field as FieldSchema), order, field, have);
  }
  if (!isObject(value)) return value;
  if (!isObject(have) || replaces) return clean(value);
  const schema = objectOf(field?.type);
  if (field !== undefined && schema === undefined && field.type.kind === "map")
    return mergeMap(have, value, field.type.values);
  return strategicMerge(have, value, schema);
}

/** Every item that a patch changes or adds must have its place in `$setElementOrder`. */
function checkOrder(patch: Json[], order: readonly Json[], field: FieldSchema): void {
  const key = field.patchMergeKey;
  const identity = (item: Json): Json => (key !== undefined && isObject(item) ? item[key] : item);
  const known = new Set(order.map(identity));
  const kept = patch.filter((item) => !(isObject(item) && item[directive] !== undefined));
  if (kept.every((item) => known.has(identity(item)))) return;
  throw refuse(`The order in patch list:\n${goList(patch)}\n doesn't match $setElementOrder list:\n${goList(order)}\n`);
}

const goList = (list: readonly Json[]): string =>
  `[${list.map((item) => (isObject(item) ? goMap(item) : String(item))).join(" ")}]`;

function mergeMap(have: JsonObject, patch: JsonObject, values: SchemaType): JsonObject {
  if (patch[directive] === "replace") return clean(patch) as JsonObject;
  if (patch[directive] === "delete") return {};
  const out: JsonObject = { ...have };
  for (const key in patch) {
    const value = patch[key];
    if (key === directive || key === retainKeys) continue;
    const before = out[key];
    if (value === null) delete out[key];
    else
      out[key] = isObject(value) && isObject(before) ? strategicMerge(before, value, objectOf(values)) : clean(value);
  }
  return out;
}

function keyOf(item: Json, key: string): Json {
  if (!isObject(item)) throw refuse(`list item is not an object with merge key ${key}`);
  const value = item[key];
  if (value === undefined) throw refuse(`map: ${goMap(item)} does not contain declared merge key: ${key}`);
  return value;
}

function goMap(item: JsonObject): string {
  return `map[${Object.keys(item)
    .sort()
    .map((key) => `${key}:${isObject(item[key]) ? goMap(item[key]) : String(item[key])}`)
    .join(" ")}]`;
}

function unique(list: Json[], field: FieldSchema | undefined): Json[] {
  const key = field?.patchMergeKey;
  if (key === undefined) return [...new Set(list)];
  return list;
}

function mergeList(have: Json[], patch: Json[], field: FieldSchema): Json[] {
  const key = field.patchMergeKey;
  if (key === undefined) return [...new Set([...have, ...patch])];
  if (patch.some((item) => isObject(item) && item[directive] === "replace"))
    return clean(
      patch.filter((item) => !(isObject(item) && item[directive] === "replace" && Object.keys(item).length === 1)),
    ) as Json[];
  const schema = field.type.kind === "list" ? objectOf(field.type.items) : undefined;
  const out = [...have];
  for (const item of patch) {
    const value = keyOf(item, key);
    const part = item as JsonObject;
    if (part[directive] === "delete") {
      for (let at = out.length - 1; at >= 0; at--)
        if (isObject(out[at]) && (out[at] as JsonObject)[key] === value) out.splice(at, 1);
      continue;
    }
    const at = out.findIndex((known) => isObject(known) && known[key] === value);
    if (at >= 0) out[at] = strategicMerge(out[at] as JsonObject, part, schema);
    else out.push(clean(part));
  }
  return out;
}

/**
 * Puts the items that `$setElementOrder` names into that order. The others keep their order, each before the
 * first named item that it stood before in `server`, the list as it was.
 */
function inOrder(list: Json[], order: Json, field: FieldSchema | undefined, server: readonly Json[]): Json[] {
  if (!Array.isArray(order)) return list;
  const key = field?.patchMergeKey;
  const identity = (item: Json): Json => (key !== undefined && isObject(item) ? item[key] : item);
  const rank = new Map(order.map((item, index) => [identity(item), index]));
  const place = new Map(server.map((item, index) => [identity(item), index]));
  const named = list
    .filter((item) => rank.has(identity(item)))
    .sort((a, b) => (rank.get(identity(a)) ?? 0) - (rank.get(identity(b)) ?? 0));
  const own = list.filter((item) => !rank.has(identity(item)));
  const out: Json[] = [];
  let next = 0;
  for (const item of named) {
    const at = place.get(identity(item));
    while (next < own.length && at !== undefined && (place.get(identity(own[next])) ?? Infinity) < at)
      out.push(own[next++]);
    out.push(item);
  }
  return [...out, ...own.slice(next)];
}

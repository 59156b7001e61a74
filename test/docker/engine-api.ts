import { readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * What a value looks like: a type (`?` when it may be null), `any`, `#Name` of a definition, a list of one shape, or
 * an object's fields. A field's name ends in `!` when it is always there; `*` stands for all other names.
 */
export type Shape =
  | "any"
  | `${"string" | "integer" | "number" | "boolean"}${"" | "?"}`
  | `#${string}`
  | [Shape]
  | { [field: string]: Shape };

/** The Docker Engine API as the Moby project describes it, made by tools/generate/engine-api.ts. */
export interface EngineApi {
  version: string;
  /** By method and path: `GET /containers/json`. */
  operations: Record<string, { query: string[]; answers: Record<string, Shape> }>;
  definitions: Record<string, Shape>;
}

export function readEngineApi(): EngineApi {
  return JSON.parse(readFileSync(join(import.meta.dirname, "fixtures/engine-api-1.51.json"), "utf8")) as EngineApi;
}

/** Where a value is not what its shape says: `path: reason`. Go writes empty lists, maps and pointers as null. */
export function departures(api: EngineApi, value: unknown, shape: Shape, path: string): string[] {
  if (shape === "any") return [];
  if (typeof shape === "string" && shape.startsWith("#")) {
    const target = api.definitions[shape.slice(1)];
    return target === undefined ? [`${path}: no definition ${shape}`] : departures(api, value, target, path);
  }
  if (typeof shape === "string") {
    const type = shape.replace("?", "");
    if (value === null) return shape.endsWith("?") ? [] : [`${path}: null where a ${type} belongs`];
    const fits = type === "integer" ? Number.isInteger(value) : typeof value === type;
    return fits ? [] : [`${path}: ${typeof value} where a ${type} belongs`];
  }
  if (value === null || value === undefined) return [];
  if (Array.isArray(shape)) {
    if (!Array.isArray(value)) return [`${path}: ${typeof value} where a list belongs`];
    return value.flatMap((one: unknown, index) => departures(api, one, shape[0], `${path}[${index}]`));
  }
  if (typeof value !== "object" || Array.isArray(value)) return [`${path}: no object`];
  return objectDepartures(api, value as Record<string, unknown>, shape, path);
}

function objectDepartures(
  api: EngineApi,
  value: Record<string, unknown>,
  shape: Record<string, Shape>,
  path: string,
): string[] {
  const found: string[] = [];
  for (const [name, one] of Object.entries(value)) {
    const field = shape[name] ?? shape[`${name}!`] ?? shape["*"];
    if (field === undefined) found.push(`${path}.${name}: not in the description`);
    else found.push(...departures(api, one, field, `${path}.${name}`));
  }
  for (const name of Object.keys(shape)) {
    if (name.endsWith("!") && !(name.slice(0, -1) in value)) found.push(`${path}.${name.slice(0, -1)}: missing`);
  }
  return found;
}

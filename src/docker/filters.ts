import { GantryError } from "#base/errors.ts";
import type { Filters } from "#engine/engine.ts";

/**
 * The `filters` parameter: JSON of key to a list of values, or, as older clients write it, of key to an
 * object whose keys are the values. Throws `invalid` for anything else.
 */
export function parseFilters(text: string | null): Filters {
  if (text === null || text === "") return {};
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw invalidFilter(text);
  }
  if (parsed === null) return {};
  if (typeof parsed !== "object" || Array.isArray(parsed)) throw invalidFilter(text);
  const filters: Record<string, string[]> = {};
  for (const [key, value] of Object.entries(parsed)) filters[key] = filterValues(value, text);
  return filters;
}

function filterValues(value: unknown, text: string): string[] {
  if (value === null) return [];
  if (Array.isArray(value)) {
    if (!value.every((one) => typeof one === "string")) throw invalidFilter(text);
    return value;
  }
  if (typeof value !== "object") throw invalidFilter(text);
  for (const flag of Object.values(value)) if (typeof flag !== "boolean") throw invalidFilter(text);
  return Object.entries(value)
    .filter(([, flag]) => flag === true)
    .map(([name]) => name);
}

function invalidFilter(text: string): GantryError {
  return new GantryError("invalid", "invalid filter", { data: { filters: text } });
}

import { GantryError } from "#base/errors.ts";

const idLength = 64;

/**
 * The id that `given` is the beginning of; `given` itself when there is none, so that what is gone stays "not
 * found" further on. Throws `invalid` when it is empty or fits several.
 */
export async function fullId(given: string, what: string, known: () => Promise<string[]>): Promise<string> {
  if (given === "") throw new GantryError("invalid", `${what} id must not be empty`);
  if (given.length >= idLength) return given;
  const fitting = (await known()).filter((id) => id.startsWith(given));
  if (fitting.length > 1) throw new GantryError("invalid", `${what} id "${given}" is ambiguous`);
  return fitting[0] ?? given;
}

/** Whether `labels` hold all that a selector names. */
export function hasLabels(labels: Record<string, string>, selector: Record<string, string> | undefined): boolean {
  return Object.entries(selector ?? {}).every(([key, value]) => labels[key] === value);
}

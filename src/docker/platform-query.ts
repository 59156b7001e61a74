import { GantryError } from "#base/errors.ts";
import type { Platform } from "#engine/engine.ts";
import type { Call } from "./call.ts";

/**
 * The `platform` parameter that calls on one image have since a version of the API: an OCI platform in JSON. Throws
 * `invalid` for anything else.
 */
export function platformOf(call: Call, since: number): { platform?: Platform } {
  const text = call.query.get("platform") ?? "";
  if (text === "" || call.version < since) return {};
  const invalid = (why: string): GantryError => new GantryError("invalid", `failed to parse platform: ${why}`);
  let given: Record<string, unknown>;
  try {
    given = JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw invalid((error as Error).message);
  }
  if (typeof given !== "object" || given === null) throw invalid(`${text} is no platform`);
  const word = (key: string): string => {
    const value = given[key] ?? "";
    if (typeof value !== "string") throw invalid(`${key} must be a string`);
    return value;
  };
  const [os, architecture, variant] = [word("os"), word("architecture"), word("variant")];
  if (os === "" || architecture === "") throw new GantryError("invalid", "both OS and Architecture must be provided");
  return { platform: { os, architecture, ...(variant === "" ? {} : { variant }) } };
}

import { GantryError } from "#base/errors.ts";
import type { RegistryAuth } from "#engine/engine.ts";

const fields = ["username", "password", "auth", "identitytoken", "registrytoken", "serveraddress"] as const;

/**
 * What `X-Registry-Auth` carries: JSON in base64, of either alphabet. Undefined for an empty one. Throws
 * `invalid` for what does not decode.
 */
export function decodeRegistryAuth(header: string): RegistryAuth | undefined {
  if (header === "") return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(header, "base64url").toString("utf8"));
  } catch (cause) {
    throw new GantryError("invalid", "invalid X-Registry-Auth header: it is not JSON in base64", { cause });
  }
  if (typeof parsed !== "object" || parsed === null) return undefined;
  return pickAuth(parsed as Record<string, unknown>);
}

/** The known fields of an auth configuration, where they are non-empty strings; undefined when none is. */
export function pickAuth(from: Record<string, unknown>): RegistryAuth | undefined {
  const auth: RegistryAuth = {};
  for (const field of fields) {
    const value = from[field];
    if (typeof value === "string" && value !== "") auth[field] = value;
  }
  return Object.keys(auth).length === 0 ? undefined : auth;
}

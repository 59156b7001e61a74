import { GantryError } from "#base/errors.ts";

/** The Engine API's versions, oldest and newest, that are spoken here. All of major 1: the minor says it. */
export const oldestMinor = 24;
export const newestMinor = 51;

/** `1.41` as a minor number is 41. */
export function apiVersionText(minor: number): string {
  return `1.${minor}`;
}

/**
 * The minor version that a path's prefix (`1.41` of `/v1.41/info`) asks for. Throws `invalid`, in docker's
 * words, for one that is not spoken.
 */
export function negotiate(version: string): number {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > 1 || (major === 1 && minor > newestMinor)) {
    throw new GantryError(
      "invalid",
      `client version ${version} is too new. Maximum supported API version is ${apiVersionText(newestMinor)}`,
    );
  }
  if (major < 1 || minor < oldestMinor) {
    throw new GantryError(
      "invalid",
      `client version ${version} is too old. Minimum supported API version is ${apiVersionText(oldestMinor)}, please upgrade your client to a newer version`,
    );
  }
  return minor;
}

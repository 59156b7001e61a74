import { errnoOf } from "./libc.ts";

export { errnoOf } from "./libc.ts";

/** True when an error of `host` or of Node's fs has one of these errno names. */
export function hasErrno(thrown: unknown, ...names: string[]): boolean {
  const name = errnoOf(thrown);
  return name !== undefined && names.includes(name);
}

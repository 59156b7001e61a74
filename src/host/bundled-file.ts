import { basename, dirname, join } from "node:path";

declare const GANTRY_BUNDLED: boolean | undefined;

/** True in a release: the program is a handful of bundled files. */
export const isBundled = typeof GANTRY_BUNDLED === "boolean";

/** A file beside the bundle's entry points. Code that is shared between them runs from a folder below. */
export function bundledFile(name: string): string {
  const here = import.meta.dirname;
  return join(basename(here) === "chunks" ? dirname(here) : here, name);
}

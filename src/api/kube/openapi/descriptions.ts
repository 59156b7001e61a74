import { readFile } from "node:fs/promises";
import type { Describe } from "./openapi-v3.ts";

const fileName = "kube-descriptions.json";
/** Beside the bundle, above its chunks, and where the build puts it when the sources run as they are. */
const places = [`./${fileName}`, `../${fileName}`, `../../../../dist/${fileName}`];

/**
 * The texts of types and fields for OpenAPI (`tools/generate/descriptions.ts` writes them when building). About
 * 1 MB: read when a document is made, and not kept. Without the file there are no texts.
 */
export async function loadDescriptions(): Promise<Describe> {
  for (const place of places) {
    try {
      const texts = JSON.parse(await readFile(new URL(place, import.meta.url), "utf8")) as Record<
        string,
        Record<string, string>
      >;
      return (type, field) => texts[type]?.[field];
    } catch {
      // Not in this place.
    }
  }
  return () => undefined;
}

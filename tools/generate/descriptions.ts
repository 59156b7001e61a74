/**
 * Writes the texts that `kubectl explain` shows, taken from the npm package `@kubernetes/client-node` when
 * building; they are not committed. `node tools/generate/descriptions.ts dist/kube-descriptions.json`.
 */
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { scheme } from "../../src/api/kube/scheme.ts";
import { readModel } from "./model-source.ts";

/** OpenAPI name → field → text; "" is the type itself. */
export type Descriptions = Record<string, Record<string, string>>;

export function readDescriptions(): Descriptions {
  const out: Descriptions = {};
  for (const object of scheme.everyObject()) {
    const model = readModel(object);
    if (model === undefined) continue;
    const texts: Record<string, string> = {};
    if (model.text) texts[""] = model.text;
    for (const [name, text] of model.fields) if (text) texts[name] = text;
    out[object.openapi] = texts;
  }
  return out;
}

/** Writes the file that `src/api/kube/openapi/descriptions.ts` reads. */
export function writeDescriptions(path: string): void {
  writeFileSync(path, JSON.stringify(readDescriptions()));
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const path = process.argv[2];
  if (path === undefined) throw new Error("usage: node tools/generate/descriptions.ts OUTPUT");
  writeDescriptions(path);
}

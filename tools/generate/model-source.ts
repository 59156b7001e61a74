/** Finds, for a type of the tables, its model in `@kubernetes/client-node` (release 1.36). */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ObjectSchema } from "../../src/api/kube/schema.ts";

const models = join(import.meta.dirname, "../../node_modules/@kubernetes/client-node/dist/gen/models");
const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

export interface Model {
  /** The type's own text. */
  text: string | undefined;
  /** Its JSON fields, each with its text. */
  fields: Map<string, string | undefined>;
}

/** The model's name: with its group where two groups have a type of that name. */
function fileOf(object: ObjectSchema): string | undefined {
  // An older type of its own that nothing serves; the package has meta/v1's of that name.
  if (object.table === "core/v1" && object.name === "Preconditions") return undefined;
  const [group = "", version = ""] = object.table.split("/");
  const names = [`${capital(group)}${capital(version)}${object.name}`, `${capital(version)}${object.name}`];
  return names.map((name) => join(models, name)).find((path) => existsSync(`${path}.d.ts`));
}

const tidy = (comment: string | undefined): string | undefined =>
  comment
    ?.split("\n")
    .map((line) => line.replace(/^\s*\* ?/, ""))
    .join("\n")
    .trim();

/** The model of `object`; undefined when the package has none (types that only the server speaks). */
export function readModel(object: ObjectSchema): Model | undefined {
  const path = fileOf(object);
  if (path === undefined) return undefined;
  const declaration = readFileSync(`${path}.d.ts`, "utf8");
  const script = readFileSync(`${path}.js`, "utf8");
  const baseNames = new Map(
    [...script.matchAll(/"name": "([^"]+)",\s*"baseName": "([^"]+)"/g)].map(([, name = "", base = ""]) => [name, base]),
  );
  const fields = new Map<string, string | undefined>([...baseNames.values()].map((name) => [name, undefined]));
  for (const [, comment, name = ""] of declaration.matchAll(/(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*)?'(\w+)'\??:/g))
    fields.set(baseNames.get(name) ?? name, tidy(comment));
  const text = tidy(/\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*export declare class/.exec(declaration)?.[1]);
  return { text, fields };
}

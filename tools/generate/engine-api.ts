// Writes test/docker/fixtures/engine-api-1.51.json, the shape of the Docker Engine API, from the description that
// the Moby project publishes:
//
//     node tools/generate/engine-api.ts …/github.com/docker/docker@v28.5.2+incompatible/api/swagger.yaml
//
// Only facts are taken: methods, paths, names of parameters, answers, and names and types of fields.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";
import type { EngineApi, Shape } from "../../test/docker/engine-api.ts";

interface Schema {
  $ref?: string;
  type?: string;
  items?: Schema;
  allOf?: Schema[];
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  required?: string[];
  "x-nullable"?: boolean;
}

interface Operation {
  parameters?: { name: string; in: string }[];
  responses: Record<string, { schema?: Schema }>;
}

interface Description {
  info: { version: string };
  paths: Record<string, Record<string, Operation>>;
  definitions: Record<string, Schema>;
}

const simple: Record<string, Shape> = { string: "string", integer: "integer", number: "number", boolean: "boolean" };

/** Fields of an object, those of its parents first. */
function fieldsOf(schema: Schema, definitions: Record<string, Schema>): Record<string, Shape> {
  const fields: Record<string, Shape> = {};
  for (const parent of schema.allOf ?? []) {
    const target = parent.$ref === undefined ? parent : definitions[nameOf(parent.$ref)];
    if (target !== undefined) Object.assign(fields, fieldsOf(target, definitions));
  }
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const required = schema.required?.includes(name) === true && property["x-nullable"] !== true;
    fields[required ? `${name}!` : name] = shapeOf(property, definitions);
  }
  if (schema.additionalProperties !== undefined && schema.additionalProperties !== false) {
    const values = schema.additionalProperties;
    fields["*"] = values === true ? "any" : shapeOf(values, definitions);
  }
  return fields;
}

function nameOf(reference: string): string {
  return reference.slice(reference.lastIndexOf("/") + 1);
}

function shapeOf(schema: Schema, definitions: Record<string, Schema>): Shape {
  if (schema.$ref !== undefined) return `#${nameOf(schema.$ref)}`;
  if (schema.type === "array") return [schema.items === undefined ? "any" : shapeOf(schema.items, definitions)];
  const fields = fieldsOf(schema, definitions);
  if (Object.keys(fields).length > 0) return fields;
  // An alias of another definition, with a description of its own.
  if (schema.allOf?.[0]?.$ref !== undefined) return `#${nameOf(schema.allOf[0].$ref)}`;
  const type = simple[schema.type ?? ""];
  return type === undefined ? "any" : schema["x-nullable"] === true ? (`${type as string}?` as Shape) : type;
}

const source = process.argv[2];
if (source === undefined) throw new Error("usage: node tools/generate/engine-api.ts SWAGGER.YAML");
// The parser wants what closes a flow collection to be indented more than its key, as YAML 1.2 does; the file is laxer.
const text = readFileSync(source, "utf8").replaceAll(/^( *)([}\]]+,?)$/gm, "$1  $2");
const description = load(text) as Description;
const { definitions } = description;
const api: EngineApi = { version: description.info.version, operations: {}, definitions: {} };
for (const [path, operations] of Object.entries(description.paths)) {
  for (const [method, operation] of Object.entries(operations)) {
    if (method === "parameters") continue;
    const query = (operation.parameters ?? []).filter((one) => one.in === "query").map((one) => one.name);
    const answers: Record<string, Shape> = {};
    for (const [status, { schema }] of Object.entries(operation.responses)) {
      answers[status] = schema === undefined ? "any" : shapeOf(schema, definitions);
    }
    api.operations[`${method.toUpperCase()} ${path}`] = { query, answers };
  }
}
for (const [name, schema] of Object.entries(definitions)) api.definitions[name] = shapeOf(schema, definitions);
const target = join(import.meta.dirname, `../../test/docker/fixtures/engine-api-${api.version}.json`);
// A line for each operation and definition, so that a newer description can be reviewed.
const section = (entries: Record<string, unknown>): string =>
  Object.entries(entries)
    .map(([key, value]) => `    ${JSON.stringify(key)}: ${JSON.stringify(value)}`)
    .join(",\n");
writeFileSync(
  target,
  `{\n  "version": ${JSON.stringify(api.version)},\n  "operations": {\n${section(api.operations as object as Record<string, unknown>)}\n  },\n` +
    `  "definitions": {\n${section(api.definitions as object as Record<string, unknown>)}\n  }\n}\n`,
);

import { GantryError, errorMessage } from "#base/errors.ts";
import type { GroupVersionKind } from "../schema.ts";
import { scheme } from "../scheme.ts";
import { duplicateFields } from "./duplicate-fields.ts";
import { readProtobuf } from "./protobuf-reader.ts";
import { fitToSchema } from "./structural.ts";

export type FieldValidation = "Strict" | "Warn" | "Ignore";

export interface Decoded {
  object: Record<string, unknown>;
  /** For `Warning` headers: unknown and repeated fields, unless they were refused. */
  warnings: string[];
}

const gv = (group: string, version: string): string => (group === "" ? version : `${group}/${version}`);

function bad(message: string): GantryError {
  return new GantryError("invalid", message);
}

/** A document may not stand for much more than it says, by aliases of aliases. */
const maxAliasedNodes = 400_000;

function countNodes(value: unknown, left: number): number {
  if (left <= 0) throw bad("error converting YAML to JSON: yaml: document contains excessive aliasing");
  if (typeof value !== "object" || value === null) return left - 1;
  let rest = left - 1;
  for (const item of Object.values(value)) rest = countNodes(item, rest);
  return rest;
}

/**
 * Parses YAML as Kubernetes reads it (sigs.k8s.io/yaml; one document): `yes`, `no`, `on` and `off` are
 * booleans, dates are strings. Throws `invalid`.
 */
export async function parseYaml(text: string): Promise<unknown> {
  const { boolYaml11Tag, CORE_SCHEMA, load, mergeTag } = await import("js-yaml");
  let value: unknown;
  try {
    value = load(text, { schema: CORE_SCHEMA.withTags(boolYaml11Tag, mergeTag) });
  } catch (error) {
    const { mark, reason } = error as { mark?: { line: number }; reason?: string };
    throw bad(
      mark === undefined
        ? `error converting YAML to JSON: yaml: ${errorMessage(error)}`
        : `error converting YAML to JSON: yaml: line ${mark.line + 1}: ${reason ?? "syntax error"}`,
    );
  }
  if (text.includes("*")) countNodes(value, maxAliasedNodes);
  return value;
}

async function parseBody(body: Buffer, mediaType: string, expected: GroupVersionKind): Promise<unknown> {
  if (mediaType === "application/vnd.kubernetes.protobuf") return readProtobuf(body, expected);
  const text = body.toString("utf8");
  if (mediaType === "application/yaml") return parseYaml(text);
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    // kubectl sends YAML as JSON's content type in some versions; a JSON text is told by its first letter.
    if (/^\s*[[{"]/.test(text) || text.trim() === "") {
      const what = text.trim() === "" ? "unexpected end of JSON input" : goJsonError(text, errorMessage(error));
      throw bad(`${what}`);
    }
    return parseYaml(text);
  }
}

function goJsonError(text: string, message: string): string {
  const position = /position (\d+)/.exec(message)?.[1];
  if (/Unexpected end/.test(message) || position === undefined || Number(position) >= text.length)
    return "unexpected end of JSON input";
  return `invalid character ${JSON.stringify(text[Number(position)]).replaceAll('"', "'")} looking for beginning of value`;
}

/**
 * Decodes the body of a write. What it should be is `expected`; a body that leaves kind and apiVersion out is
 * taken for it. Unknown fields are dropped, and refused (Strict) or warned of (Warn). Throws `invalid`.
 */
export async function decodeObject(
  body: Buffer,
  mediaType: string,
  expected: GroupVersionKind,
  validation: FieldValidation,
): Promise<Decoded> {
  const value = await parseBody(body, mediaType, expected);
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw bad(
      `couldn't get version/kind; json parse error: json: cannot unmarshal ${Array.isArray(value) ? "array" : typeof value} into Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }`,
    );
  const given = value as Record<string, unknown>;
  const want = gv(expected.group, expected.version);
  const kind = typeof given["kind"] === "string" && given["kind"] !== "" ? given["kind"] : expected.kind;
  const apiVersion = typeof given["apiVersion"] === "string" && given["apiVersion"] !== "" ? given["apiVersion"] : want;
  const isOptions = kind === "DeleteOptions" && expected.kind === "DeleteOptions";
  if (kind !== expected.kind) {
    const [first = "", second] = apiVersion.split("/");
    const known = second === undefined ? scheme.kind("", first, kind) : scheme.kind(first, second, kind);
    if (known === undefined)
      throw bad(
        `no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(apiVersion)} in scheme "gantry"`,
      );
    if (apiVersion === want)
      throw bad(
        `${kind} in version ${JSON.stringify(expected.version)} cannot be handled as a ${expected.kind}: converting (${kind}) to (${expected.kind}): unknown conversion`,
      );
  }
  if (apiVersion !== want && !isOptions)
    throw bad(`the API version in the data (${apiVersion}) does not match the expected API version (${want})`);
  const schema = scheme.kind(expected.group, expected.version, expected.kind);
  const { object, report } =
    schema === undefined ? { object: given, report: { unknown: [], mismatch: undefined } } : fitToSchema(given, schema);
  if (report.mismatch !== undefined)
    throw bad(
      `${kind} in version ${JSON.stringify(expected.version)} cannot be handled as a ${expected.kind}: ${report.mismatch}`,
    );
  const isJson =
    mediaType !== "application/yaml" &&
    mediaType !== "application/vnd.kubernetes.protobuf" &&
    /^\s*\{/.test(body.toString("latin1", 0, 64));
  const repeated = isJson && validation !== "Ignore" ? duplicateFields(body.toString("utf8")) : [];
  const loose = [...report.unknown, ...repeated.map((path) => `duplicate field ${JSON.stringify(path)}`)];
  if (loose.length > 0 && validation === "Strict")
    throw bad(
      `${kind} in version ${JSON.stringify(expected.version)} cannot be handled as a ${expected.kind}: strict decoding error: ${loose.join(", ")}`,
    );
  return { object: { ...object, kind, apiVersion: want }, warnings: validation === "Warn" ? loose : [] };
}

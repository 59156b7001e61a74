/**
 * What this layer takes of `api/kube`: decoding, defaults, validation, patches, tables, encodings. One place,
 * so that the rest does not depend on how those are split up.
 */
import { GantryError, errorMessage } from "#base/errors.ts";
import type { KubeObject } from "#api/kube/object.ts";
import { badRequest, type FieldProblem } from "./api-error.ts";
import { cloneJson } from "./json-clone.ts";
import type { FieldValidation, RequestContext } from "./request-context.ts";
import { type KindRef, type Mutable, type ResourceType } from "./resource-type.ts";

/** Fills the defaults of a built-in kind in place. */
export function applyDefaults(_type: ResourceType, _object: Mutable): void {}

/** What is wrong with a new (`old` undefined) or changed object. */
export function validateObject(_type: ResourceType, _object: KubeObject, _old: KubeObject | undefined): FieldProblem[] {
  return [];
}

export const acceptedMediaTypes = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/** Decodes a body. `kind` is what it should be; undefined takes any. Throws 400 in upstream's words. */
export function decodeBody(
  body: Buffer,
  _contentType: string,
  _kind: KindRef,
  _validation: FieldValidation,
  _warnings: string[],
): Mutable {
  try {
    return JSON.parse(body.toString("utf8")) as Mutable;
  } catch (error) {
    throw badRequest(errorMessage(error));
  }
}

/** Applies a patch to a copy of the present object. */
export async function applyPatch(
  contentType: string,
  _kind: KindRef,
  current: Mutable | undefined,
  patch: unknown,
  _context: RequestContext,
): Promise<Mutable> {
  if (contentType.startsWith("application/json-patch")) return applyJsonPatch(current as Mutable, patch);
  return merge(current, patch) as Mutable;
}

/** RFC 6902, all operations or none. */
async function applyJsonPatch(current: Mutable, patch: unknown): Promise<Mutable> {
  if (!Array.isArray(patch)) throw badRequest("json: cannot unmarshal object into Go value of type jsonpatch.Patch");
  const { applyPatch: apply } = await import("rfc6902");
  const copy = cloneJson(current);
  const problems = apply(copy, patch as Parameters<typeof apply>[1]);
  const problem = problems.find((each) => each !== null);
  if (problem !== undefined && problem !== null)
    throw new GantryError("invalid", `the server rejected our request due to an error in our request`, {
      data: { status: { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message: "the server rejected our request due to an error in our request", reason: "Invalid", details: {}, code: 422 } },
      cause: problem,
    });
  return copy;
}

function merge(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const out: Record<string, unknown> = typeof target === "object" && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete out[key];
    else out[key] = merge(out[key], value);
  }
  return out;
}

export interface Table extends KubeObject {
  columnDefinitions: { name: string; type: string; format: string; description: string; priority: number }[];
  rows: { cells: unknown[]; object?: unknown }[];
}

/** The columns of a kind, and the cells of each object. */
export function printTable(_kind: KindRef, objects: readonly KubeObject[], _now: number): Pick<Table, "columnDefinitions" | "rows"> {
  return {
    columnDefinitions: [{ name: "Name", type: "string", format: "name", description: "", priority: 0 }],
    rows: objects.map((object) => ({ cells: [object.metadata?.name ?? ""] })),
  };
}

/** Protobuf of one object (with its envelope); undefined when the kind has none. */
export function toProtobuf(_object: KubeObject): Buffer | undefined {
  return undefined;
}

/** One length-prefixed frame of a protobuf watch stream. */
export function watchFrame(_type: string, _object: KubeObject): Buffer {
  throw new GantryError("unsupported", "protobuf watch");
}

/** YAML of one object. */
export function toYaml(object: KubeObject): string {
  return `${JSON.stringify(object)}\n`;
}

/** Decodes the body of a PATCH. */
export function decodePatch(_contentType: string, body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch (error) {
    throw badRequest(errorMessage(error));
  }
}

/** The OpenAPI v3 document of one group version. */
export async function openApiV3(_group: string, _version: string): Promise<unknown> {
  return { openapi: "3.0.0", info: { title: "Kubernetes", version: "unversioned" }, paths: {}, components: { schemas: {} } };
}

/** The OpenAPI v2 document of everything. */
export async function openApiV2(): Promise<unknown> {
  return { swagger: "2.0", info: { title: "Kubernetes", version: "unversioned" }, paths: {}, definitions: {} };
}

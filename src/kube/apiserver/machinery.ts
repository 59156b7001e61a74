/**
 * What this layer takes of `api/kube`: decoding, defaults, validation, patches, tables, encodings. One place,
 * so that the rest does not depend on how those are split up.
 */
import { GantryError, errorMessage, hasCode } from "#base/errors.ts";
import { decodeObject, parseYaml } from "#api/kube/codec/decode-object.ts";
import { writeProtobuf, writeProtobufWatchFrame } from "#api/kube/codec/protobuf-writer.ts";
import { fitToSchema } from "#api/kube/codec/structural.ts";
import { withDefaults } from "#api/kube/defaults/apply-defaults.ts";
import type { KubeObject } from "#api/kube/object.ts";
import { mergePatch } from "#api/kube/patch/merge-patch.ts";
import { strategicMerge } from "#api/kube/patch/strategic-merge.ts";
import { printTable as printKind } from "#api/kube/printing/print-table.ts";
import type { ObjectSchema } from "#api/kube/schema.ts";
import { scheme } from "#api/kube/scheme.ts";
import { validateKind } from "#api/kube/validation/validate-kind.ts";
import { applyConflict, badRequest, type FieldProblem, invalid, unsupportedMediaType } from "./api-error.ts";
import { cloneJson } from "./json-clone.ts";
import type { FieldValidation, RequestContext } from "./request-context.ts";
import { apiVersionOf, type KindRef, type Mutable, type ResourceType } from "./resource-type.ts";

/** Fills the defaults of a built-in kind in place. */
export function applyDefaults(_type: ResourceType, object: Mutable): void {
  const filled = withDefaults(object);
  if (filled === object) return;
  const { metadata } = object;
  for (const key in object) if (!(key in filled)) delete object[key];
  Object.assign(object, filled);
  // Callers hold the metadata that they gave.
  if (metadata !== undefined) object.metadata = Object.assign(metadata, { labels: filled.metadata?.labels });
  if (metadata?.labels === undefined) delete metadata?.labels;
}

/** What is wrong with a new (`old` undefined) or changed object. `subresource` is what the change came through. */
export function validateObject(
  _type: ResourceType,
  object: KubeObject,
  old: KubeObject | undefined,
  subresource = "",
): FieldProblem[] {
  return validateKind(object, old, subresource);
}

export const acceptedMediaTypes = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/** Decodes a body that should be of `kind`. Throws 400 or 415 in upstream's words. */
export async function decodeBody(
  body: Buffer,
  contentType: string,
  kind: KindRef,
  validation: FieldValidation,
  warnings: string[],
): Promise<Mutable> {
  const mediaType = contentType === "" ? "application/json" : contentType;
  if (!acceptedMediaTypes.includes(mediaType)) throw unsupportedMediaType(acceptedMediaTypes);
  try {
    const decoded = await decodeObject(body, mediaType, kind, validation);
    warnings.push(...decoded.warnings);
    return decoded.object as Mutable;
  } catch (error) {
    if (hasCode(error, "invalid")) throw badRequest(error.message);
    throw error;
  }
}

/**
 * Applies a patch to the present object, which is not changed. What the kind's schema does not have is
 * dropped, refused or warned of, as the request asks.
 */
export async function applyPatch(
  contentType: string,
  kind: KindRef,
  current: Mutable | undefined,
  patch: unknown,
  context: RequestContext,
  subresource = "",
): Promise<Mutable> {
  const schema = scheme.kind(kind.group, kind.version, kind.kind);
  const patched = await patchedBy(contentType, schema, kind, current, patch, context, subresource);
  if (schema === undefined) return patched;
  const { object, report } = fitToSchema(patched, schema);
  const refuse = (why: string): GantryError =>
    invalid({ group: "", kind: "" }, "", [
      {
        reason: "FieldValueInvalid",
        field: "patch",
        message: `Invalid value: ${JSON.stringify(JSON.stringify(patch))}: ${why}`,
      },
    ]);
  if (report.mismatch !== undefined) throw refuse(report.mismatch);
  if (report.unknown.length > 0 && context.fieldValidation === "Strict")
    throw refuse(`strict decoding error: ${report.unknown.join(", ")}`);
  if (context.fieldValidation === "Warn")
    for (const text of report.unknown) if (!context.warnings.includes(text)) context.warnings.push(text);
  return object as Mutable;
}

async function patchedBy(
  contentType: string,
  schema: ObjectSchema | undefined,
  kind: KindRef,
  current: Mutable | undefined,
  patch: unknown,
  context: RequestContext,
  subresource: string,
): Promise<Mutable> {
  if (contentType === "application/json-patch+json") return applyJsonPatch(current as Mutable, patch);
  if (typeof patch !== "object" || patch === null || Array.isArray(patch))
    throw badRequest(
      `json: cannot unmarshal ${Array.isArray(patch) ? "array" : typeof patch} into Go value of type map[string]interface {}`,
    );
  if (contentType === "application/merge-patch+json") return mergePatch(current, patch) as Mutable;
  if (contentType === "application/strategic-merge-patch+json") {
    if (schema === undefined)
      throw unsupportedMediaType(["application/json-patch+json", "application/merge-patch+json"]);
    try {
      return strategicMerge(current as Mutable, patch as Record<string, unknown>, schema) as Mutable;
    } catch (error) {
      if (hasCode(error, "invalid")) throw badRequest(error.message);
      throw error;
    }
  }
  return applyConfiguration(schema, kind, current, patch as Record<string, unknown>, context, subresource);
}

/** Server-side apply of `given` by the request's field manager. */
async function applyConfiguration(
  schema: ObjectSchema | undefined,
  kind: KindRef,
  current: Mutable | undefined,
  given: Record<string, unknown>,
  context: RequestContext,
  subresource: string,
): Promise<Mutable> {
  const { conflictMessage, serverSideApply } = await import("#api/kube/apply/server-side-apply.ts");
  const { object, report } = schema === undefined ? { object: given, report: undefined } : fitToSchema(given, schema);
  if (report !== undefined && (report.unknown.length > 0 || report.mismatch !== undefined)) {
    if (report.mismatch === undefined && context.fieldValidation === "Strict")
      throw badRequest(
        `${kind.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}: strict decoding error: ${report.unknown.join(", ")}`,
      );
    const field = /"(.*)"/.exec(report.unknown[0] ?? "")?.[1];
    const { namespace, name = "" } = (given["metadata"] ?? {}) as { namespace?: string; name?: string };
    throw badRequest(
      `failed to create typed patch object (${namespace ?? ""}/${name}; ${apiVersionOf(kind.group, kind.version)}, Kind=${kind.kind}): ${report.mismatch ?? `.${field}: field not declared in schema`}`,
    );
  }
  const config = { ...object, apiVersion: apiVersionOf(kind.group, kind.version), kind: kind.kind } as Mutable;
  if ((config.metadata?.managedFields?.length ?? 0) > 0) throw badRequest("metadata.managedFields must be nil");
  const now = `${new Date().toISOString().slice(0, 19)}Z`;
  const result = serverSideApply(current, config, schema, {
    manager: context.fieldManager,
    force: context.force,
    subresource,
    now,
  });
  if (result.object !== undefined) return result.object as Mutable;
  const causes = result.conflicts.map(({ manager, field }) => ({
    reason: "FieldManagerConflict",
    message: `conflict with ${manager}`,
    field,
  }));
  throw applyConflict(conflictMessage(result.conflicts), causes);
}

/**
 * Who owns which fields after a write. Objects that were never applied have no owners. An apply has settled
 * its ownership itself.
 */
export async function trackOwnership(
  object: Mutable,
  old: KubeObject,
  context: RequestContext,
  subresource: string,
): Promise<void> {
  if (context.applying === true || object.metadata === undefined) return;
  if ((old.metadata?.managedFields?.length ?? 0) === 0) {
    delete object.metadata.managedFields;
    return;
  }
  const { trackUpdate } = await import("#api/kube/apply/server-side-apply.ts");
  const { apiVersion = "", kind = "" } = object;
  const [first = "", second] = apiVersion.split("/");
  const schema = second === undefined ? scheme.kind("", first, kind) : scheme.kind(first, second, kind);
  const now = `${new Date().toISOString().slice(0, 19)}Z`;
  const managedFields = trackUpdate(old, object, schema, { manager: context.fieldManager, subresource, now });
  if (managedFields === undefined) delete object.metadata.managedFields;
  else object.metadata.managedFields = managedFields;
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
      data: {
        status: {
          kind: "Status",
          apiVersion: "v1",
          metadata: {},
          status: "Failure",
          message: "the server rejected our request due to an error in our request",
          reason: "Invalid",
          details: {},
          code: 422,
        },
      },
      cause: problem,
    });
  return copy;
}

export interface Table extends KubeObject {
  columnDefinitions: { name: string; type: string; format: string; description: string; priority: number }[];
  rows: { cells: unknown[]; object?: unknown }[];
}

/** The columns of a kind, and the cells of each object. */
export function printTable(
  kind: KindRef,
  objects: readonly KubeObject[],
  now: number,
): Pick<Table, "columnDefinitions" | "rows"> {
  return printKind(kind.group, kind.kind, objects, now);
}

/** Protobuf of one object (with its envelope); undefined when the kind has none. */
export function toProtobuf(object: KubeObject): Buffer | undefined {
  return writeProtobuf(object);
}

/** One length-prefixed frame of a protobuf watch stream. */
export function watchFrame(type: string, object: KubeObject): Buffer {
  const frame = writeProtobufWatchFrame(type, object);
  if (frame === undefined) throw new GantryError("unsupported", `${object.kind ?? "this kind"} has no protobuf form`);
  return frame;
}

/** YAML of one object. */
export async function toYaml(object: KubeObject): Promise<string> {
  const { dump } = await import("js-yaml");
  return dump(object, { noRefs: true });
}

/** Decodes the body of a PATCH. Throws 400. */
export async function decodePatch(contentType: string, body: Buffer): Promise<unknown> {
  const text = body.toString("utf8");
  try {
    return contentType === "application/apply-patch+yaml" ? await parseYaml(text) : (JSON.parse(text) as unknown);
  } catch (error) {
    throw badRequest(errorMessage(error));
  }
}

/** The OpenAPI v3 document of one group version. */
export async function openApiV3(group: string, version: string): Promise<unknown> {
  const { openApiV3Document } = await import("#api/kube/openapi/openapi-v3.ts");
  const { loadDescriptions } = await import("#api/kube/openapi/descriptions.ts");
  return openApiV3Document(group, version, await loadDescriptions());
}

/** The OpenAPI v2 document of these group versions, as JSON or in gnostic's protobuf. */
export async function openApiV2(
  groupVersions: readonly { group: string; version: string }[],
  protobuf: boolean,
): Promise<Buffer> {
  const [{ openApiV3Document }, { openApiV2Document, openApiV2Protobuf }] = await Promise.all([
    import("#api/kube/openapi/openapi-v3.ts"),
    import("#api/kube/openapi/openapi-v2.ts"),
  ]);
  const document = openApiV2Document(groupVersions.map(({ group, version }) => openApiV3Document(group, version)));
  return protobuf ? openApiV2Protobuf(document) : Buffer.from(JSON.stringify(document));
}

/**
 * Server-side apply (Kubernetes, "Server-Side Apply"; structured-merge-diff): fields are owned by those who
 * set them, an applier's configuration is laid over the object, what it no longer names goes away, and a
 * field that another owns is a conflict.
 *
 * Ownership is tracked from an object's first apply on: until then it has no `managedFields`, and what it has
 * at that moment belongs to `before-first-apply`.
 */
import type { KubeObject, ObjectMeta } from "../object.ts";
import type { ObjectSchema } from "../schema.ts";
import { FieldSet } from "./field-set.ts";
import { type Manager, readManagers, showManager, writeManagers } from "./managed-fields.ts";
import { mergeObjects, removeFields } from "./merge-objects.ts";
import { compareFields, fieldsIn } from "./object-fields.ts";
import { free, shapeOfObject, type Json, type Shape } from "./shape.ts";

export interface ApplyOptions {
  manager: string;
  /** Take over what others own. */
  force: boolean;
  subresource: string;
  /** RFC 3339. */
  now: string;
}

/** Another manager owns a field and has another value. */
export interface ApplyConflict {
  manager: string;
  field: string;
}

export type ApplyResult = { object: KubeObject; conflicts: [] } | { object: undefined; conflicts: ApplyConflict[] };

/** Fields that nobody owns: they name the object, or the system sets them. */
const unowned = [
  "name",
  "namespace",
  "generateName",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "selfLink",
  "uid",
  "generation",
  "managedFields",
  "resourceVersion",
];

function shapeOf(schema: ObjectSchema | undefined): Shape {
  return schema === undefined ? free : shapeOfObject(schema);
}

/** The part of an object that can be owned through a subresource. */
function ownable(object: KubeObject, subresource: string): Json {
  const { apiVersion: _apiVersion, kind: _kind, metadata, ...rest } = object as KubeObject & Json;
  const meta: Json = { ...metadata };
  for (const name of unowned) delete meta[name];
  const out: Json = Object.keys(meta).length === 0 ? {} : { metadata: meta };
  for (const key in rest) if (subresource !== "status" ? key !== "status" : key === "status") out[key] = rest[key];
  return out;
}

function owned(object: KubeObject, shape: Shape, subresource: string): FieldSet {
  return fieldsIn(ownable(object, subresource), shape);
}

const isSame = (a: Manager, name: string, operation: Manager["operation"], subresource: string): boolean =>
  a.name === name && a.operation === operation && a.subresource === subresource;

/**
 * Applies `config` to `live` (undefined: the object is new). `config` has been fitted to the schema; its
 * metadata.managedFields must be absent. The result has its managedFields set; `live` is not changed.
 */
export function serverSideApply(
  live: KubeObject | undefined,
  config: KubeObject,
  schema: ObjectSchema | undefined,
  options: ApplyOptions,
): ApplyResult {
  const shape = shapeOf(schema);
  const apiVersion = config.apiVersion ?? "";
  const { manager: name, subresource, now } = options;
  const fields = owned(config, shape, subresource);
  if (live === undefined) {
    const only: Manager = { name, operation: "Apply", apiVersion, subresource, time: now, fields };
    return { object: withManagers(config, [only]), conflicts: [] };
  }
  const managers = readManagers(live.metadata?.managedFields);
  if (managers.length === 0)
    managers.push({
      name: "before-first-apply",
      operation: "Update",
      apiVersion,
      subresource: "",
      time: now,
      fields: owned(live, shape, ""),
    });
  const own = managers.find((each) => isSame(each, name, "Apply", subresource));
  const others = managers.filter((each) => each !== own);

  const before = ownable(live, subresource);
  let merged = mergeObjects(before, ownable(config, subresource), shape) as Json;
  if (own !== undefined) {
    const dropped = own.fields.difference(fields);
    const kept = others.reduce((set, each) => set.add(each.fields), fields.clone());
    merged = (removeFields(merged, dropped, kept, shape) ?? {}) as Json;
  }
  const { added, modified, removed } = compareFields(before, merged, shape);
  const changed = added.clone().add(modified);
  const conflicts: ApplyConflict[] = [];
  for (const other of others) {
    const taken = other.fields.intersection(changed);
    if (taken.isEmpty) continue;
    if (options.force) other.fields = other.fields.difference(taken);
    else for (const field of taken.paths()) conflicts.push({ manager: showManager(other), field });
  }
  if (conflicts.length > 0) return { object: undefined, conflicts };
  for (const other of others) other.fields = other.fields.difference(removed);
  const isUnchanged =
    own !== undefined &&
    own.apiVersion === apiVersion &&
    sameSet(own.fields, fields) &&
    added.isEmpty &&
    modified.isEmpty &&
    removed.isEmpty;
  const time = isUnchanged ? own.time : now;
  const applier: Manager = { name, operation: "Apply", apiVersion, subresource, time, fields };
  return { object: withManagers(rejoin(live, merged, subresource, config), [...others, applier]), conflicts: [] };
}

function sameSet(a: FieldSet, b: FieldSet): boolean {
  return a.difference(b).isEmpty && b.difference(a).isEmpty;
}

/** The merged part put back into the live object. */
function rejoin(live: KubeObject, merged: Json, subresource: string, config: KubeObject): KubeObject {
  const meta: Json = {};
  for (const name of unowned) {
    const value = (live.metadata as Json | undefined)?.[name];
    if (value !== undefined) meta[name] = value;
  }
  for (const name of ["uid", "resourceVersion"] as const)
    if (config.metadata?.[name] !== undefined) meta[name] = config.metadata[name];
  const { metadata, ...rest } = merged;
  const out: Json = {
    apiVersion: config.apiVersion,
    kind: config.kind,
    metadata: { ...meta, ...(metadata as Json | undefined) },
  };
  for (const key in live as object)
    if (!["apiVersion", "kind", "metadata"].includes(key) && (key === "status") !== (subresource === "status"))
      out[key] = (live as Json)[key];
  return Object.assign(out, rest);
}

function withManagers(object: KubeObject, managers: readonly Manager[]): KubeObject {
  const metadata: ObjectMeta = { ...object.metadata };
  const entries = writeManagers(managers);
  if (entries.length > 0) metadata.managedFields = entries;
  else delete metadata.managedFields;
  return { ...object, metadata };
}

/**
 * The managedFields after a write other than apply: what it changed is its manager's now, what it removed is
 * nobody's. `old` has managedFields; nothing is tracked before an object's first apply. A write that empties
 * the list resets it.
 */
export function trackUpdate(
  old: KubeObject,
  object: KubeObject,
  schema: ObjectSchema | undefined,
  options: Omit<ApplyOptions, "force">,
): Record<string, unknown>[] | undefined {
  const given = object.metadata?.managedFields;
  if (given !== undefined && (given.length === 0 || (given.length === 1 && Object.keys(given[0] ?? {}).length === 0)))
    return undefined;
  const managers = readManagers(old.metadata?.managedFields);
  const { manager: name, subresource, now } = options;
  const shape = shapeOf(schema);
  const part = subresource === "status" ? "status" : "";
  const { added, modified, removed } = compareFields(ownable(old, part), ownable(object, part), shape);
  if (added.isEmpty && modified.isEmpty && removed.isEmpty) return old.metadata?.managedFields;
  const changed = added.clone().add(modified);
  let own = managers.find(
    (each) => isSame(each, name, "Update", subresource) && each.apiVersion === (object.apiVersion ?? ""),
  );
  for (const manager of managers)
    if (manager !== own) manager.fields = manager.fields.difference(changed).difference(removed);
  if (own === undefined) {
    own = {
      name,
      operation: "Update",
      apiVersion: object.apiVersion ?? "",
      subresource,
      time: now,
      fields: new FieldSet(),
    };
    managers.push(own);
  }
  own.fields = own.fields.difference(removed).add(changed);
  own.time = now;
  return writeManagers(managers);
}

/** The message of a conflict answer. */
export function conflictMessage(conflicts: readonly ApplyConflict[]): string {
  const [first] = conflicts;
  if (conflicts.length === 1 && first !== undefined)
    return `Apply failed with 1 conflict: conflict with ${first.manager}: ${first.field}`;
  const byManager = Map.groupBy(conflicts, ({ manager }) => manager);
  const lines = [...byManager.keys()]
    .toSorted()
    .flatMap((manager) => [
      `conflicts with ${manager}:`,
      ...(byManager.get(manager) ?? []).map(({ field }) => `- ${field}`),
    ]);
  return `Apply failed with ${conflicts.length} conflicts: ${lines.join("\n")}`;
}

/** How server-side apply sees a value: what it is made of, and by what its items are told apart. */
import type { FieldSchema, ObjectSchema, SchemaType } from "../schema.ts";

export type Json = Record<string, unknown>;

export type Shape =
  /** Scalars, and what is owned and replaced as a whole. */
  | { kind: "leaf" }
  | { kind: "struct"; object: ObjectSchema }
  | { kind: "map"; values: Shape }
  | { kind: "keyed"; keys: readonly string[]; items: Shape; defaults: Json }
  | { kind: "set" }
  /** No schema (custom resources): objects are maps, lists are leaves. */
  | { kind: "free" };

const leaf: Shape = { kind: "leaf" };
export const free: Shape = { kind: "free" };

export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function shapeOfObject(object: ObjectSchema): Shape {
  return object.atomic ? leaf : { kind: "struct", object };
}

function shapeOfType(type: SchemaType): Shape {
  if (type.kind === "object") return shapeOfObject(type.object);
  return type.kind === "map" ? { kind: "map", values: shapeOfType(type.values) } : leaf;
}

const shapes = new WeakMap<FieldSchema, Shape>();

export function shapeOfField(field: FieldSchema | undefined): Shape {
  if (field === undefined) return leaf;
  let shape = shapes.get(field);
  if (shape === undefined) {
    shape = makeShape(field);
    shapes.set(field, shape);
  }
  return shape;
}

function makeShape(field: FieldSchema): Shape {
  const { type } = field;
  if (field.atomic) return leaf;
  if (type.kind !== "list") return shapeOfType(type);
  if (field.listType === "set") return { kind: "set" };
  if (field.listType !== "map" || type.items.kind !== "object") return leaf;
  const defaults: Json = {};
  for (const key of field.listKeys) {
    const preset = type.items.object.fields.get(key)?.default;
    if (preset !== undefined) defaults[key] = preset;
  }
  return { kind: "keyed", keys: field.listKeys, items: shapeOfType(type.items), defaults };
}

/** The shape below `key` of an object of this shape. */
export function below(shape: Shape, key: string): Shape {
  if (shape.kind === "struct") return shapeOfField(shape.object.fields.get(key));
  if (shape.kind === "map") return shape.values;
  return free;
}

/** The shape with which a value is really walked: a list that is none, or an object that is none, is a leaf. */
export function effective(shape: Shape, value: unknown): Shape {
  if (shape.kind === "free") return isObject(value) ? free : leaf;
  if (shape.kind === "struct" || shape.kind === "map") return isObject(value) ? shape : leaf;
  if (shape.kind === "keyed") return Array.isArray(value) && value.every(isObject) ? shape : leaf;
  if (shape.kind === "set") return Array.isArray(value) ? shape : leaf;
  return leaf;
}

/** The edge of an item of a keyed list or a set. */
export function edgeOfItem(shape: Shape, item: unknown): string {
  if (shape.kind !== "keyed") return `v:${JSON.stringify(item)}`;
  const keys: Json = {};
  for (const key of shape.keys.toSorted()) {
    const value = (item as Json)[key] ?? shape.defaults[key];
    if (value !== undefined) keys[key] = value;
  }
  return `k:${JSON.stringify(keys)}`;
}

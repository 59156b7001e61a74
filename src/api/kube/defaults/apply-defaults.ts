import { canonicalQuantity, tryParseQuantity } from "#base/quantity.ts";
import type { FieldSchema, ObjectSchema, SchemaType } from "../schema.ts";
import { scheme } from "../scheme.ts";
import { coreDefaults } from "./core-defaults.ts";
import { otherDefaults } from "./other-defaults.ts";
import { podDefaults } from "./pod-defaults.ts";
import type { DefaultRule, Fields } from "./rule.ts";
import { workloadDefaults } from "./workload-defaults.ts";

const rules: Record<string, DefaultRule> = { ...coreDefaults, ...podDefaults, ...workloadDefaults, ...otherDefaults };

interface PlannedField {
  name: string;
  field: FieldSchema;
  /** A struct that Go always writes. */
  struct: ObjectSchema | undefined;
  /** What Go writes when there is no value; undefined: nothing. */
  zero: unknown;
  /** A zero value is left out. */
  dropsZero: boolean;
  /** Holds something that may need work. */
  deep: boolean;
}

interface Plan {
  fields: PlannedField[];
  rule: DefaultRule | undefined;
}

const plans = new WeakMap<ObjectSchema, Plan>();

function isDeep(type: SchemaType): boolean {
  switch (type.kind) {
    case "object":
    case "quantity":
      return true;
    case "list":
      return isDeep(type.items);
    case "map":
      return isDeep(type.values);
    default:
      return false;
  }
}

function zeroOf(field: FieldSchema): unknown {
  if (field.pointer) return undefined;
  const { kind } = field.type;
  // Structs in Go: omitempty has no effect on them.
  if (kind === "quantity") return "0";
  if (kind === "intOrString") return 0;
  if (field.omitempty) return undefined;
  if (kind === "string") return "";
  if (kind === "bool") return false;
  return kind === "int32" || kind === "int64" || kind === "float64" ? 0 : undefined;
}

function planOf(schema: ObjectSchema): Plan {
  let plan = plans.get(schema);
  if (plan === undefined) {
    const fields = [...schema.fields].map(([name, field]): PlannedField => {
      const { type } = field;
      return {
        name,
        field,
        struct: type.kind === "object" && !field.pointer && !field.omitzero ? type.object : undefined,
        zero: schema.isKind && (name === "kind" || name === "apiVersion") ? undefined : zeroOf(field),
        dropsZero:
          field.omitempty &&
          !field.pointer &&
          type.kind !== "object" &&
          type.kind !== "quantity" &&
          type.kind !== "intOrString",
        deep: isDeep(type),
      };
    });
    plan = { fields, rule: rules[`${schema.table}.${schema.name}`] };
    plans.set(schema, plan);
  }
  return plan;
}

function isZero(value: unknown): boolean {
  if (value === "" || value === 0 || value === false) return true;
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return value.length === 0;
  for (const _ in value) return false;
  return true;
}

function fill(object: Fields, schema: ObjectSchema): void {
  const { fields, rule } = planOf(schema);
  for (const { name, field, struct } of fields) {
    const value = object[name];
    if (struct !== undefined && (value === undefined || value === null)) object[name] = {};
    else if (field.default !== undefined && (value === undefined || (!field.pointer && isZero(value))))
      object[name] = field.default;
  }
  rule?.(object);
  for (const { name, field, zero, dropsZero, deep } of fields) {
    const value = object[name];
    if (value === undefined) {
      if (zero !== undefined) object[name] = zero;
      continue;
    }
    if (deep && value !== null) object[name] = fillValue(value, field.type);
    if (dropsZero && isZero(value)) delete object[name];
  }
}

function fillValue(value: unknown, type: SchemaType): unknown {
  switch (type.kind) {
    case "object":
      if (typeof value === "object" && value !== null) fill(value as Fields, type.object);
      return value;
    case "list":
      if (Array.isArray(value)) for (let at = 0; at < value.length; at++) value[at] = fillValue(value[at], type.items);
      return value;
    case "map":
      if (typeof value === "object" && value !== null)
        for (const key in value) (value as Fields)[key] = fillValue((value as Fields)[key], type.values);
      return value;
    case "quantity":
      return typeof value === "string" && tryParseQuantity(value) !== undefined ? canonicalQuantity(value) : value;
    default:
      return value;
  }
}

function clone(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(clone);
  const out: Fields = {};
  for (const key in value) out[key] = clone((value as Fields)[key]);
  return out;
}

/**
 * A copy of `object` as upstream would store it: defaults filled, quantities canonical, structs and zero
 * values present or absent as Go's encoding has them (nil lists and times, which Go writes as null, are
 * left out). A kind without a schema comes back as it is.
 */
export function withDefaults<T extends object>(object: T): T {
  const { apiVersion = "", kind = "" } = object as { apiVersion?: string; kind?: string };
  const slash = apiVersion.indexOf("/");
  const schema = scheme.kind(slash === -1 ? "" : apiVersion.slice(0, slash), apiVersion.slice(slash + 1), kind);
  return schema === undefined ? object : (fillCopy(object as Fields, schema) as T);
}

/** The same for a part: `withPartDefaults(template, scheme.object("core/v1", "PodTemplateSpec"))`. */
export function fillCopy(object: Fields, schema: ObjectSchema): Fields {
  const copy = clone(object) as Fields;
  fill(copy, schema);
  return copy;
}

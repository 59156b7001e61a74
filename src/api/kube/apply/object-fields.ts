import { FieldSet } from "./field-set.ts";
import { below, edgeOfItem, effective, isObject, type Json, type Shape } from "./shape.ts";
import { sameJson } from "../validation/same-json.ts";

/** All fields that `value` has. */
export function fieldsIn(value: unknown, shape: Shape, into = new FieldSet()): FieldSet {
  const real = effective(shape, value);
  switch (real.kind) {
    case "leaf":
      into.member = true;
      break;
    case "set":
      for (const item of value as unknown[]) into.child(edgeOfItem(real, item)).member = true;
      break;
    case "keyed":
      for (const item of value as unknown[]) {
        const child = into.child(edgeOfItem(real, item));
        child.member = true;
        fieldsIn(item, real.items, child);
        child.member = true;
      }
      break;
    default:
      for (const key in value as Json) {
        const item = (value as Json)[key];
        if (item === undefined) continue;
        const child = into.child(`f:${key}`);
        fieldsIn(item, below(real, key), child);
        if (item === null || (isObject(item) && Object.keys(item).length === 0) || real.kind === "map")
          child.member = true;
      }
  }
  return into;
}

export interface Comparison {
  added: FieldSet;
  modified: FieldSet;
  removed: FieldSet;
}

/** What changed from `old` to `now`. */
export function compareFields(old: unknown, now: unknown, shape: Shape): Comparison {
  const result = { added: new FieldSet(), modified: new FieldSet(), removed: new FieldSet() };
  compare(old, now, shape, result);
  result.added.prune();
  result.modified.prune();
  result.removed.prune();
  return result;
}

function compare(old: unknown, now: unknown, shape: Shape, at: Comparison): void {
  if (old === now) return;
  const before = effective(shape, old);
  const after = effective(shape, now);
  if (before.kind === "leaf" || after.kind === "leaf") {
    if (!sameJson(old, now)) at.modified.member = true;
    return;
  }
  const left = entries(before, old);
  const right = entries(after, now);
  for (const [edge, item] of left) {
    const down = (): Comparison => ({
      added: at.added.child(edge),
      modified: at.modified.child(edge),
      removed: at.removed.child(edge),
    });
    const other = right.get(edge);
    if (other === undefined) {
      const gone = at.removed.child(edge);
      fieldsIn(item.value, item.shape, gone);
      if (!edge.startsWith("f:") || before.kind === "map" || isBlank(item.value)) gone.member = true;
    } else compare(item.value, other.value, item.shape, down());
  }
  for (const [edge, item] of right) {
    if (left.has(edge)) continue;
    const fresh = at.added.child(edge);
    fieldsIn(item.value, item.shape, fresh);
    if (!edge.startsWith("f:") || after.kind === "map" || isBlank(item.value)) fresh.member = true;
  }
}

function isBlank(value: unknown): boolean {
  return value === null || (isObject(value) && Object.keys(value).length === 0);
}

/** The parts of a value by their edges. */
export function entries(shape: Shape, value: unknown): Map<string, { value: unknown; shape: Shape }> {
  const out = new Map<string, { value: unknown; shape: Shape }>();
  if (shape.kind === "keyed" || shape.kind === "set") {
    const items: Shape = shape.kind === "keyed" ? shape.items : { kind: "leaf" };
    for (const item of value as unknown[]) out.set(edgeOfItem(shape, item), { value: item, shape: items });
  } else
    for (const key in value as Json)
      if ((value as Json)[key] !== undefined)
        out.set(`f:${key}`, { value: (value as Json)[key], shape: below(shape, key) });
  return out;
}

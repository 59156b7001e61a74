import type { FieldSet } from "./field-set.ts";
import { below, edgeOfItem, effective, isObject, type Json, type Shape } from "./shape.ts";

/** `config` laid over `live`. Neither is changed. */
export function mergeObjects(live: unknown, config: unknown, shape: Shape): unknown {
  if (config === undefined) return live;
  const theirs = effective(shape, config);
  const ours = effective(shape, live);
  if (theirs.kind === "leaf" || ours.kind === "leaf") return config;
  if (theirs.kind === "keyed" || theirs.kind === "set")
    return mergeLists(live as unknown[], config as unknown[], theirs);
  const out: Json = { ...(live as Json) };
  for (const key in config as Json) {
    const value = (config as Json)[key];
    if (value === null) out[key] = null;
    else out[key] = mergeObjects(out[key], value, below(theirs, key));
  }
  return out;
}

/** Items in the order of the configuration; what only the live list has stays where it stood between them. */
function mergeLists(live: unknown[], config: unknown[], shape: Shape): unknown[] {
  const items: Shape = shape.kind === "keyed" ? shape.items : { kind: "leaf" };
  const present = new Map(live.map((item) => [edgeOfItem(shape, item), item]));
  const wanted = new Set(config.map((item) => edgeOfItem(shape, item)));
  const out: unknown[] = [];
  let next = 0;
  const keepOwn = (): void => {
    while (next < live.length && !wanted.has(edgeOfItem(shape, live[next]))) out.push(live[next++]);
  };
  for (const item of config) {
    const edge = edgeOfItem(shape, item);
    keepOwn();
    if (next < live.length && edgeOfItem(shape, live[next]) === edge) next++;
    out.push(mergeObjects(present.get(edge), item, items));
  }
  for (; next < live.length; next++) if (!wanted.has(edgeOfItem(shape, live[next]))) out.push(live[next]);
  return out;
}

/** `value` without the fields in `gone`, except those in `kept`. Containers that become empty go too. */
export function removeFields(value: unknown, gone: FieldSet, kept: FieldSet | undefined, shape: Shape): unknown {
  const real = effective(shape, value);
  if (real.kind === "leaf") return value;
  if (real.kind === "keyed" || real.kind === "set") {
    const items: Shape = real.kind === "keyed" ? real.items : { kind: "leaf" };
    const out: unknown[] = [];
    for (const item of value as unknown[]) {
      const edge = edgeOfItem(real, item);
      const under = gone.children.get(edge);
      const owned = kept?.children.get(edge);
      if (under === undefined) out.push(item);
      else if (under.member && (owned === undefined || owned.isEmpty)) continue;
      else out.push(removeFields(item, under, owned, items));
    }
    return out.length === 0 ? undefined : out;
  }
  const out: Json = {};
  let touched = false;
  for (const key in value as Json) {
    const item = (value as Json)[key];
    const under = gone.children.get(`f:${key}`);
    const owned = kept?.children.get(`f:${key}`);
    if (under === undefined) {
      out[key] = item;
      continue;
    }
    if (under.member && (owned === undefined || owned.isEmpty)) {
      touched = true;
      continue;
    }
    const rest = removeFields(item, under, owned, below(real, key));
    if (rest === undefined && owned?.member === true && isObject(item)) out[key] = {};
    else if (rest === undefined) touched = true;
    else out[key] = rest;
  }
  const isNowEmpty = touched && isObject(out) && Object.keys(out).length === 0;
  return isNowEmpty ? undefined : out;
}

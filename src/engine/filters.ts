import { GantryError } from "#base/errors.ts";
import type { Filters } from "./engine.ts";
import { parseUserTime } from "./timestamps.ts";

/** Throws docker's sentence for a filter that the object kind does not have. */
export function checkFilters(filters: Filters, known: readonly string[]): void {
  for (const key of Object.keys(filters)) {
    if (!known.includes(key)) throw new GantryError("invalid", `invalid filter '${key}'`);
  }
}

/** True when all of `key` or `key=value` hold. */
export function matchesLabels(
  labels: Readonly<Record<string, string>> | null | undefined,
  wanted: readonly string[],
): boolean {
  return wanted.every((text) => {
    const equals = text.indexOf("=");
    if (equals < 0) return labels?.[text] !== undefined;
    return labels?.[text.slice(0, equals)] === text.slice(equals + 1);
  });
}

/** Go's strconv.ParseBool; undefined for what it refuses. */
export function goBoolean(text: string): boolean | undefined {
  if (/^(1|t|T|true|TRUE|True)$/.test(text)) return true;
  return /^(0|f|F|false|FALSE|False)$/.test(text) ? false : undefined;
}

/** docker's reading of a boolean filter. Throws when there is another value, or both. */
export function booleanFilter(filters: Filters, key: string): boolean | undefined {
  const values = filters[key];
  if (values === undefined || values.length === 0) return undefined;
  const isTrue = values.some((value) => /^(1|true)$/i.test(value));
  const isFalse = values.some((value) => /^(0|false)$/i.test(value));
  if (isTrue === isFalse) throw new GantryError("invalid", `invalid filter '${key}=[${values.join(" ")}]'`);
  return isTrue;
}

/** The time of `until`, in milliseconds since the epoch. Throws when it is none, or there are two. */
export function untilFilter(filters: Filters, now: number): number | undefined {
  const values = filters["until"] ?? [];
  if (values.length > 1) throw new GantryError("invalid", "more than one until filter specified");
  return values[0] === undefined ? undefined : parseUserTime(values[0], now);
}

/** `label` and `label!` of prune calls. */
export function matchesPruneLabels(
  labels: Readonly<Record<string, string>> | null | undefined,
  filters: Filters,
): boolean {
  if (!matchesLabels(labels, filters["label"] ?? [])) return false;
  return !(filters["label!"] ?? []).some((text) => matchesLabels(labels, [text]));
}

/** docker matches names as regular expressions, on the text as it is when it is none. */
export function matchesName(name: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => {
    if (name === pattern) return true;
    try {
      return new RegExp(pattern).test(name);
    } catch {
      return name.includes(pattern);
    }
  });
}

/** A pod's container is docker's business only for those who ask for pods' labels. */
export function asksForPods(filters: Filters): boolean {
  return (filters["label"] ?? []).some((text) => text.startsWith("io.kubernetes."));
}

import { GantryError } from "./errors.ts";

/** One condition of a label selector (apimachinery, labels.Requirement). */
export type LabelRequirement =
  | { key: string; operator: "in" | "notin"; values: readonly string[] }
  | { key: string; operator: "exists" | "!" }
  | { key: string; operator: "gt" | "lt"; value: number };

/** All requirements must hold. The empty selector matches everything. */
export type LabelSelector = readonly LabelRequirement[];

export type Labels = Readonly<Record<string, string>>;

/** The `LabelSelector` of the API (`matchLabels`, `matchExpressions`). */
export interface LabelSelectorObject {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

const namePattern = /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)$/;
const prefixPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** True for `name` or `prefix/name` as labels and annotations use (content.IsQualifiedName). */
export function isQualifiedName(key: string): boolean {
  const parts = key.split("/");
  if (parts.length > 2) return false;
  const name = parts[parts.length - 1] as string;
  const prefix = parts.length === 2 ? (parts[0] as string) : undefined;
  if (prefix !== undefined && (prefix.length === 0 || prefix.length > 253 || !prefixPattern.test(prefix))) return false;
  return name.length > 0 && name.length <= 63 && namePattern.test(name);
}

/** True for a label's value: empty, or up to 63 characters that begin and end alphanumerically. */
export function isLabelValue(value: string): boolean {
  return value === "" || (value.length <= 63 && namePattern.test(value));
}

function bad(text: string, why: string): GantryError {
  return new GantryError("invalid", `unable to parse requirement: ${why}`, { data: { selector: text } });
}

function checkKey(text: string, key: string): string {
  if (isQualifiedName(key)) return key;
  throw bad(
    text,
    `<nil>: Invalid value: ${JSON.stringify(key)}: name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
  );
}

function checkValue(text: string, key: string, value: string): string {
  if (isLabelValue(value)) return value;
  throw bad(
    text,
    `values[0][${key}]: Invalid value: ${JSON.stringify(value)}: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`,
  );
}

/** Splits at commas that are not inside parentheses. */
function splitRequirements(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === "(") depth++;
    else if (char === ")") depth--;
    else if (char === "," && depth === 0) {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}

function parseRequirement(text: string, part: string): LabelRequirement {
  const set = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/.exec(part);
  if (set !== null) {
    const key = checkKey(text, set[1] as string);
    const values = (set[3] as string).split(",").map((value) => checkValue(text, key, value.trim()));
    return { key, operator: set[2] as "in" | "notin", values };
  }
  const comparison = /^([^=!<>\s]+)\s*(==|=|!=|>|<)\s*(\S*)$/.exec(part);
  if (comparison !== null) {
    const key = checkKey(text, comparison[1] as string);
    const operator = comparison[2] as string;
    const value = comparison[3] as string;
    if (operator === ">" || operator === "<") {
      if (!/^-?\d+$/.test(value))
        throw bad(
          text,
          `values[0][${key}]: Invalid value: ${JSON.stringify(value)}: for 'Gt', 'Lt' operators, the value must be an integer`,
        );
      return { key, operator: operator === ">" ? "gt" : "lt", value: Number(value) };
    }
    return { key, operator: operator === "!=" ? "notin" : "in", values: [checkValue(text, key, value)] };
  }
  if (part.startsWith("!")) return { key: checkKey(text, part.slice(1).trim()), operator: "!" };
  if (/[\s()]/.test(part))
    throw bad(text, `found '${part.split(/\s+/)[1] ?? part}', expected: in, notin, =, ==, !=, gt, lt`);
  return { key: checkKey(text, part), operator: "exists" };
}

/** Parses the query form (`a=b,c in (d,e),!f`). Throws `invalid` in apimachinery's words. */
export function parseLabelSelector(text: string): LabelSelector {
  if (text.trim() === "") return [];
  return splitRequirements(text).map((part) => parseRequirement(text, part.trim()));
}

const operators: Record<string, "in" | "notin" | "exists" | "!"> = {
  In: "in",
  NotIn: "notin",
  Exists: "exists",
  DoesNotExist: "!",
};

/**
 * The selector of an API object. Undefined matches nothing, `{}` matches everything
 * (apimachinery, meta/v1.LabelSelectorAsSelector).
 */
export function labelSelectorOf(object: LabelSelectorObject | undefined): LabelSelector | undefined {
  if (object === undefined) return undefined;
  const out: LabelRequirement[] = Object.entries(object.matchLabels ?? {}).map(([key, value]) => ({
    key,
    operator: "in",
    values: [value],
  }));
  for (const { key, operator, values = [] } of object.matchExpressions ?? []) {
    const known = operators[operator];
    if (known === undefined) throw new GantryError("invalid", `"${operator}" is not a valid label selector operator`);
    out.push(known === "in" || known === "notin" ? { key, operator: known, values } : { key, operator: known });
  }
  return out;
}

/** A selector that wants exactly these labels, for `spec.selector` of Services. */
export function equalitySelector(labels: Labels): LabelSelector {
  return Object.entries(labels).map(([key, value]) => ({ key, operator: "in", values: [value] }));
}

function holds(requirement: LabelRequirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, requirement.key) ? labels[requirement.key] : undefined;
  switch (requirement.operator) {
    case "in":
      return value !== undefined && requirement.values.includes(value);
    case "notin":
      return value === undefined || !requirement.values.includes(value);
    case "exists":
      return value !== undefined;
    case "!":
      return value === undefined;
    case "gt":
      return value !== undefined && /^-?\d+$/.test(value) && Number(value) > requirement.value;
    case "lt":
      return value !== undefined && /^-?\d+$/.test(value) && Number(value) < requirement.value;
  }
}

/** True when all requirements hold; false for an undefined selector. */
export function matchesLabels(selector: LabelSelector | undefined, labels: Labels | undefined): boolean {
  if (selector === undefined) return false;
  const have = labels ?? {};
  return selector.every((requirement) => holds(requirement, have));
}

/** The query form of a selector, for sending. */
export function formatLabelSelector(selector: LabelSelector): string {
  return selector
    .map((requirement) => {
      switch (requirement.operator) {
        case "in":
          return requirement.values.length === 1
            ? `${requirement.key}=${requirement.values[0]}`
            : `${requirement.key} in (${requirement.values.join(",")})`;
        case "notin":
          return requirement.values.length === 1
            ? `${requirement.key}!=${requirement.values[0]}`
            : `${requirement.key} notin (${requirement.values.join(",")})`;
        case "exists":
          return requirement.key;
        case "!":
          return `!${requirement.key}`;
        case "gt":
          return `${requirement.key}>${requirement.value}`;
        case "lt":
          return `${requirement.key}<${requirement.value}`;
      }
    })
    .join(",");
}

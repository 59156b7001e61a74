import { GantryError } from "./errors.ts";

/** One term of a field selector (apimachinery, fields.Selector): only equality and inequality exist. */
export interface FieldRequirement {
  field: string;
  equal: boolean;
  value: string;
}

export type FieldSelector = readonly FieldRequirement[];

/** Splits at commas that are not escaped by a backslash. */
function splitTerms(text: string): string[] {
  const terms: string[] = [];
  let term = "";
  for (let at = 0; at < text.length; at++) {
    const char = text[at] as string;
    if (char === "\\" && at + 1 < text.length) term += char + (text[++at] as string);
    else if (char === ",") {
      terms.push(term);
      term = "";
    } else term += char;
  }
  terms.push(term);
  return terms;
}

function unescape(text: string, value: string): string {
  let out = "";
  for (let at = 0; at < value.length; at++) {
    const char = value[at] as string;
    if (char === "=" || char === ",")
      throw new GantryError("invalid", `invalid field selector: unescaped character in value: ${char}`, {
        data: { selector: text },
      });
    if (char !== "\\") {
      out += char;
      continue;
    }
    const next = value[++at];
    if (next !== "\\" && next !== "," && next !== "=")
      throw new GantryError("invalid", `invalid field selector: invalid escape sequence: \\${next ?? ""}`, {
        data: { selector: text },
      });
    out += next;
  }
  return out;
}

/** Parses `a=b,c!=d`. Values may escape `\`, `,` and `=` with a backslash. Throws `invalid`. */
export function parseFieldSelector(text: string): FieldSelector {
  if (text === "") return [];
  return splitTerms(text)
    .filter((term) => term !== "")
    .map((term) => {
      const match = /^(.*?)(==|!=|=)(.*)$/s.exec(term);
      if (match === null) throw new GantryError("invalid", `invalid selector: '${text}'; can't understand '${term}'`);
      return { field: match[1] as string, equal: match[2] !== "!=", value: unescape(text, match[3] as string) };
    });
}

/** True when all terms hold. `read` gives a field's value as text, "" when it is not set. */
export function matchesFields(selector: FieldSelector, read: (field: string) => string): boolean {
  return selector.every(({ field, equal, value }) => (read(field) === value) === equal);
}

import { GantryError } from "#base/errors.ts";

/** Everything is true that does not say no (docker, httputils.BoolValue). */
export function boolValue(query: URLSearchParams, key: string): boolean {
  const text = (query.get(key) ?? "").trim().toLowerCase();
  return !["", "0", "no", "false", "none"].includes(text);
}

/** `fallback` when the key is not there at all. */
export function boolOr(query: URLSearchParams, key: string, fallback: boolean): boolean {
  return query.has(key) ? boolValue(query, key) : fallback;
}

/** Undefined when absent or empty. Throws, as docker does, `internal` for what Go's strconv.Atoi refuses, in its words. */
export function intValue(query: URLSearchParams, key: string): number | undefined {
  const text = query.get(key) ?? "";
  if (text === "") return undefined;
  if (!/^[+-]?\d+$/.test(text)) {
    throw new GantryError("internal", `strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  const value = Number(text);
  if (!Number.isSafeInteger(value)) {
    throw new GantryError("internal", `strconv.Atoi: parsing ${JSON.stringify(text)}: value out of range`);
  }
  return value;
}

/**
 * A point in time as the API's clients send it: seconds since the epoch, with a fraction or not. Milliseconds
 * since the epoch come back; undefined when absent, empty or 0.
 */
export function timeValue(query: URLSearchParams, key: string): number | undefined {
  const text = query.get(key) ?? "";
  if (text === "" || text === "0") return undefined;
  const parts = /^(-?\d+)(?:\.(\d{1,9}))?$/.exec(text);
  if (parts === null) {
    const bad = text.split(".")[0] ?? text;
    throw new GantryError("internal", `strconv.ParseInt: parsing ${JSON.stringify(bad)}: invalid syntax`);
  }
  return Number(parts[1]) * 1000 + Number((parts[2] ?? "").padEnd(9, "0")) / 1e6;
}

/** A terminal's new size, in characters. Throws `invalid` in docker's words for what is no uint32, absence too. */
export function terminalSize(query: URLSearchParams): { height: number; width: number } {
  const side = (key: string, word: string): number => {
    const text = query.get(key) ?? "";
    const refuse = (why: string): GantryError =>
      new GantryError("invalid", `invalid resize ${word} ${JSON.stringify(text)}: ${why}`);
    if (!/^-?\d+$/.test(text)) throw refuse("invalid syntax");
    if (text.startsWith("-") || Number(text) > 0xffff_ffff) throw refuse("value out of range");
    return Number(text);
  };
  return { height: side("h", "height"), width: side("w", "width") };
}

import { GantryError } from "#base/errors.ts";

/** Upstream goes ten times as deep; no kind needs more than a few dozen, and the stack has an end. */
const maxDepth = 1000;

/**
 * Finds the keys that a JSON text has twice in one object, which JSON.parse hides: `spec.replicas`,
 * `spec.containers[0].image`. The text is valid JSON. Throws `invalid` when
 * it is nested too deep.
 */
export function duplicateFields(text: string): string[] {
  const scanner = new Scanner(text);
  scanner.value("");
  return scanner.found;
}

const quote = 0x22;
const backslash = 0x5c;

class Scanner {
  readonly found: string[] = [];
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  #space(): void {
    while (this.#text.charCodeAt(this.#at) <= 0x20) this.#at++;
  }

  /** The string at the cursor, as it was written between the quotes. */
  #string(): string {
    const from = ++this.#at;
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code === quote || Number.isNaN(code)) break;
      this.#at += code === backslash ? 2 : 1;
    }
    return this.#text.slice(from, this.#at++);
  }

  value(path: string): void {
    if (this.#depth > maxDepth) throw new GantryError("invalid", "exceeded max depth");
    this.#space();
    switch (this.#text[this.#at]) {
      case "{":
        return this.#object(path);
      case "[":
        return this.#array(path);
      case '"':
        this.#string();
        return;
      default:
        while (this.#at < this.#text.length && !",]}".includes(this.#text[this.#at] as string)) this.#at++;
    }
  }

  #object(path: string): void {
    const keys = new Set<string>();
    this.#depth++;
    this.#at++;
    for (;;) {
      this.#space();
      const next = this.#text[this.#at];
      if (next === "," && ++this.#at > 0) continue;
      if (next !== '"') break;
      const written = this.#string();
      const key = written.includes("\\") ? (JSON.parse(`"${written}"`) as string) : written;
      const here = path === "" ? key : `${path}.${key}`;
      if (keys.has(key)) this.found.push(here);
      keys.add(key);
      this.#space();
      this.#at++;
      this.value(here);
    }
    this.#depth--;
    this.#at++;
  }

  #array(path: string): void {
    this.#depth++;
    this.#at++;
    for (let index = 0; ;) {
      this.#space();
      const next = this.#text[this.#at];
      if (next === undefined || next === "]") break;
      if (next === ",") {
        this.#at++;
        index++;
      } else this.value(`${path}[${index}]`);
    }
    this.#depth--;
    this.#at++;
  }
}

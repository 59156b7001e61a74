/** A character as dockerd quotes it. */
function quoted(character: string): string {
  if (character === "'") return "'\\''";
  if (character === '"') return `'"'`;
  return `'${JSON.stringify(character).slice(1, -1)}'`;
}

class Stop extends Error {}

/** Walks through the text by the JSON grammar (RFC 8259) and stops at the first thing that does not fit. */
class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  #fail(context: string): never {
    const code = this.#text.codePointAt(this.#at);
    if (code === undefined) throw new Stop("unexpected end of JSON input");
    throw new Stop(`invalid character ${quoted(String.fromCodePoint(code))} ${context}`);
  }

  #next(): string {
    while (" \t\r\n".includes(this.#text[this.#at] ?? "x")) this.#at++;
    return this.#text[this.#at] ?? "";
  }

  document(): void {
    this.#value();
    if (this.#next() !== "") this.#fail("after top-level value");
  }

  #value(): void {
    const first = this.#next();
    if (first === "{") return this.#object();
    if (first === "[") return this.#array();
    if (first === '"') return this.#string();
    if (first === "-" || /^\d/.test(first)) return this.#number();
    const word = { t: "true", f: "false", n: "null" }[first];
    if (word === undefined) this.#fail("looking for beginning of value");
    for (const [index, letter] of [...word].entries()) {
      if (this.#text[this.#at] !== letter)
        this.#fail(`in literal ${word} (expecting ${quoted(word[index] as string)})`);
      this.#at++;
    }
  }

  #object(): void {
    this.#at++;
    if (this.#next() === "}") {
      this.#at++;
      return;
    }
    for (;;) {
      if (this.#next() !== '"') this.#fail("looking for beginning of object key string");
      this.#string();
      if (this.#next() !== ":") this.#fail("after object key");
      this.#at++;
      this.#value();
      const after = this.#next();
      if (after !== "," && after !== "}") this.#fail("after object key:value pair");
      this.#at++;
      if (after === "}") return;
    }
  }

  #array(): void {
    this.#at++;
    if (this.#next() === "]") {
      this.#at++;
      return;
    }
    for (;;) {
      this.#value();
      const after = this.#next();
      if (after !== "," && after !== "]") this.#fail("after array element");
      this.#at++;
      if (after === "]") return;
    }
  }

  #string(): void {
    this.#at++;
    for (;;) {
      const character = this.#text[this.#at];
      if (character === undefined || character < " ") this.#fail("in string literal");
      this.#at++;
      if (character === '"') return;
      if (character !== "\\") continue;
      const escape = this.#text[this.#at] ?? "";
      if (escape === "" || !'"\\/bfnrtu'.includes(escape)) this.#fail("in string escape code");
      this.#at++;
      for (let digit = 0; escape === "u" && digit < 4; digit++, this.#at++)
        if (!/^[0-9a-fA-F]/.test(this.#text[this.#at] ?? "")) this.#fail("in \\u hexadecimal character escape");
    }
  }

  #number(): void {
    const digits = (context: string): void => {
      if (!/^\d/.test(this.#text[this.#at] ?? "")) this.#fail(context);
      while (/^\d/.test(this.#text[this.#at] ?? "")) this.#at++;
    };
    if (this.#text[this.#at] === "-") this.#at++;
    if (this.#text[this.#at] === "0") this.#at++;
    else digits("in numeric literal");
    if (this.#text[this.#at] === ".") {
      this.#at++;
      digits("after decimal point in numeric literal");
    }
    if (/^[eE]/.test(this.#text[this.#at] ?? "")) {
      this.#at++;
      if (/^[+-]/.test(this.#text[this.#at] ?? "")) this.#at++;
      digits("in exponent of numeric literal");
    }
  }
}

/** What is wrong with a text that is not JSON, in dockerd's words; undefined when nothing is. */
export function jsonComplaint(text: string): string | undefined {
  try {
    new Scanner(text).document();
    return undefined;
  } catch (error) {
    if (error instanceof Stop) return error.message;
    // Nested deeper than the stack.
    if (error instanceof RangeError) return "exceeded max depth";
    throw error;
  }
}

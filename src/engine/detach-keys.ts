import { GantryError } from "#base/errors.ts";

const defaultKeys = "ctrl-p,ctrl-q";

/** docker's notation (`ctrl-p,ctrl-q`, `a`, `ctrl-\\`) as bytes. Throws docker's sentence. */
export function parseDetachKeys(text: string | undefined): Buffer {
  const keys = (text === undefined || text === "" ? defaultKeys : text).split(",");
  const bytes = keys.map((key) => {
    if (key.length === 1) return key.charCodeAt(0);
    const control = /^ctrl-(.)$/.exec(key)?.[1];
    const code = control?.toLowerCase().charCodeAt(0) ?? 0;
    if (code >= 97 && code <= 122) return code - 96;
    const special = "@[\\]^_".indexOf(control ?? " ");
    if (special >= 0) return special === 0 ? 0 : 26 + special;
    throw new GantryError("invalid", `Invalid detach keys (${text}) provided`);
  });
  return Buffer.from(bytes);
}

/** Looks for the detach keys in what a user types; what turned out not to be them goes on to the process. */
export class DetachScanner {
  readonly #keys: Buffer;
  #matched = 0;

  constructor(keys: Buffer) {
    this.#keys = keys;
  }

  /** What to pass on, and whether the keys are complete (what follows them is dropped). */
  push(chunk: Uint8Array): { pass: Buffer; isDetach: boolean } {
    const pass: number[] = [];
    for (const byte of chunk) {
      if (byte === this.#keys[this.#matched]) {
        this.#matched++;
        if (this.#matched === this.#keys.length) return { pass: Buffer.from(pass), isDetach: true };
        continue;
      }
      for (let at = 0; at < this.#matched; at++) pass.push(this.#keys[at] as number);
      this.#matched = byte === this.#keys[0] ? 1 : 0;
      if (this.#matched === 0) pass.push(byte);
    }
    return { pass: Buffer.from(pass), isDetach: false };
  }
}

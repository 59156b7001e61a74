import { randomBytes, randomUUID } from "node:crypto";

declare const brand: unique symbol;
/** A string that only the function that checked or made it hands out. */
export type Branded<Name extends string> = string & { readonly [brand]: Name };

/** `sha256:` and 64 lower-case hexadecimal digits (OCI image spec, descriptor, "Digests"). */
export type Digest = Branded<"Digest">;
/** 64 lower-case hexadecimal digits, as docker's. */
export type ContainerId = Branded<"ContainerId">;

/** `bytes` random bytes in hexadecimal. */
export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString("hex");
}

/**
 * A fresh id of docker's form. Its short form (12 digits) is never all decimal, since docker gives such an
 * id up: a host name of digits only reads as a number.
 */
export function newContainerId(): ContainerId {
  for (;;) {
    const id = randomHex(32);
    if (/[a-f]/.test(id.slice(0, 12))) return id as ContainerId;
  }
}

export { randomUUID as newUid };

/** Kubernetes' alphabet for generated names: no vowels and nothing that looks like another (apimachinery, util/rand). */
const safeAlphabet = "bcdfghjklmnpqrstvwxz2456789";

/** `length` random characters of Kubernetes' safe alphabet, as `generateName` appends. */
export function randomSuffix(length = 5): string {
  const out: string[] = [];
  while (out.length < length) {
    for (const byte of randomBytes(length * 2)) {
      // 27 * 9 = 243: bytes above would favour the first letters.
      if (byte < 243 && out.length < length) out.push(safeAlphabet[byte % 27] as string);
    }
  }
  return out.join("");
}

/** Rewrites a number in Kubernetes' safe alphabet (apimachinery, rand.SafeEncodeString): for template hashes. */
export function safeEncode(text: string): string {
  let out = "";
  for (const char of text) out += safeAlphabet[char.charCodeAt(0) % safeAlphabet.length];
  return out;
}

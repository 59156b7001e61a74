import { type Hash, createHash } from "node:crypto";
import { GantryError } from "#base/errors.ts";
import type { Digest } from "#base/ids.ts";

/** Checks a digest's form (OCI image spec, "Digests"). Only sha256 is taken. */
export function asDigest(text: string): Digest {
  if (/^sha256:[a-f0-9]{64}$/.test(text)) return text as Digest;
  if (/^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[A-Za-z0-9=_-]+$/.test(text))
    throw new GantryError("unsupported", `unsupported digest algorithm: ${text.split(":")[0]}`);
  throw new GantryError("invalid", `invalid checksum digest format: ${text.slice(0, 100)}`);
}

export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}` as Digest;
}

/** The 64 hexadecimal digits. */
export function hexOf(digest: string): string {
  return digest.slice("sha256:".length);
}

export function finish(hash: Hash): Digest {
  return `sha256:${hash.digest("hex")}` as Digest;
}

/**
 * What identifies a stack of layers (OCI image spec, config, "Layer ChainID"): of one layer its DiffID, of
 * more the digest of the lower chain and the next DiffID.
 */
export function chainIds(diffIds: readonly string[]): Digest[] {
  const out: Digest[] = [];
  for (const diffId of diffIds) {
    const below = out[out.length - 1];
    out.push(below === undefined ? asDigest(diffId) : digestOf(`${below} ${diffId}`));
  }
  return out;
}

import type { BigIntStats, Stats } from "node:fs";

/** How layers say that something below them is gone (OCI image layer, "Whiteouts"; kernel, overlayfs). */
export const whiteoutPrefix = ".wh.";
export const opaqueMarker = ".wh..wh..opq";
export const opaqueXattr = "trusted.overlay.opaque";

/** overlayfs' mark for a removed name: a character device 0/0. */
export function isWhiteout(stats: Stats | BigIntStats): boolean {
  return stats.isCharacterDevice() && BigInt(stats.rdev) === 0n;
}

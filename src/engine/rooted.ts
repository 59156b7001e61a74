import { lstatSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { GantryError } from "#base/errors.ts";

const maxLinks = 255;

/**
 * Where an absolute path stands when `root` is `/`: links on the way are followed inside the root and never lead
 * out of it. What does not exist is taken as it is. With `followLast: false` a link at the end stays one.
 */
export function resolveInRoot(root: string, path: string, options: { followLast?: boolean } = {}): string {
  const pending = path.split("/").filter((part) => part !== "" && part !== ".");
  const at: string[] = [];
  let links = 0;
  while (pending.length > 0) {
    const part = pending.shift() as string;
    if (part === "..") {
      at.pop();
      continue;
    }
    at.push(part);
    if (pending.length === 0 && options.followLast === false) break;
    const full = join(root, ...at);
    if (lstatSync(full, { throwIfNoEntry: false })?.isSymbolicLink() !== true) continue;
    if (++links > maxLinks) throw new GantryError("invalid", `too many links in ${path}`);
    const target = readlinkSync(full);
    at.pop();
    if (target.startsWith("/")) at.length = 0;
    pending.unshift(...target.split("/").filter((word) => word !== "" && word !== "."));
  }
  return join(root, ...at);
}

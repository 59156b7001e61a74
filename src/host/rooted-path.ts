import { type Stats, lstatSync, mkdirSync, readlinkSync } from "node:fs";
import { join, normalize } from "node:path";
import { GantryError } from "#base/errors.ts";

/** As many as docker follows. */
const maxLinks = 255;

function statOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

const splitPath = (path: string): string[] => path.split("/").filter((part) => part !== "" && part !== ".");

interface WalkOptions {
  /** What becomes of a folder that is not there. Kept: the rest is taken as it is written. */
  missing: "keep" | "make" | "refuse";
  /** What the last part is: something of any kind, a link that is not followed, or a folder. */
  last: "any" | "link" | "folder";
}

/**
 * Where parts stand as a process sees it that has `root` as `/`: links on the way are followed inside and never lead
 * out. Gives the real parts below the root. Throws `not-found`, `invalid`.
 */
function walk(root: string, parts: readonly string[], { missing, last }: WalkOptions): string[] {
  const pending = [...parts];
  const at: string[] = [];
  for (let links = 0; pending.length > 0;) {
    const part = pending.shift() as string;
    if (part === "..") {
      at.pop();
      continue;
    }
    at.push(part);
    const isLast = pending.length === 0;
    if (isLast && last === "link") break;
    const path = join(root, ...at);
    const stats = statOf(path);
    if (stats?.isSymbolicLink()) {
      if (++links > maxLinks) throw new GantryError("invalid", `${at.join("/")}: too many levels of symbolic links`);
      const target = readlinkSync(path);
      at.pop();
      if (target.startsWith("/")) at.length = 0;
      pending.unshift(...splitPath(target));
    } else if (missing !== "keep" && (!isLast || last === "folder")) {
      if (stats === undefined && missing === "refuse")
        throw new GantryError("not-found", `${at.join("/")}: no such file or directory`);
      if (stats === undefined) mkdirSync(path, 0o755);
      else if (!stats.isDirectory()) throw new GantryError("invalid", `${at.join("/")}: not a directory`);
    }
  }
  return at;
}

/**
 * Where an absolute path stands when `root` is `/`: links on the way are followed inside the root and never lead
 * out of it. What does not exist is taken as it is. With `followLast: false` a link at the end stays one.
 */
export function resolveInRoot(root: string, path: string, options: { followLast?: boolean } = {}): string {
  const last = options.followLast === false ? "link" : "any";
  return join(root, ...walk(root, splitPath(path), { missing: "keep", last }));
}

/** An archive's name as parts below the root. Throws `invalid` in docker's words when it climbs out. */
export function partsOf(name: string): string[] {
  const clean = normalize(name.startsWith("/") ? `.${name}` : name);
  if (clean === ".." || clean.startsWith("../"))
    throw new GantryError("invalid", `"${name}" is outside of the archive's root (breakout)`);
  return clean.split("/").filter((part) => part !== "" && part !== ".");
}

/**
 * Finds where a name stands below a root as a process sees it that has the root as `/`: a symbolic link on the
 * way is followed inside, never out of it. Remembers folders, since archives hold them in order.
 */
export class RootedPaths {
  readonly root: string;
  readonly #folders = new Map<string, string>([["", ""]]);

  constructor(root: string) {
    this.root = root;
  }

  /** Something was removed or replaced: what was remembered may be wrong. */
  forget(): void {
    this.#folders.clear();
    this.#folders.set("", "");
  }

  /**
   * The real path of an entry: its folder resolved (and made, with `create`), its last part as it is, not
   * followed. The root itself for no parts.
   */
  locate(parts: readonly string[], create: boolean): string {
    const last = parts[parts.length - 1];
    if (last === undefined) return this.root;
    // A link's target may end so: joined as a name it would lead out.
    if (last === "..") return join(this.root, this.#folder(parts, create));
    return join(this.root, this.#folder(parts.slice(0, -1), create), last);
  }

  /** A folder's real place relative to the root, without a leading slash. */
  #folder(parts: readonly string[], create: boolean): string {
    const key = parts.join("/");
    const known = this.#folders.get(key);
    if (known !== undefined) return known;
    const at = walk(this.root, parts, { missing: create ? "make" : "refuse", last: "folder" }).join("/");
    this.#folders.set(key, at);
    return at;
  }

  /** The real path of a name with its last part followed too, as `docker cp` and hard links need. */
  resolve(parts: readonly string[]): string {
    return join(this.root, ...walk(this.root, parts, { missing: "refuse", last: "any" }));
  }
}

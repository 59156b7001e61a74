import { type Stats, lstatSync, mkdirSync, readlinkSync } from "node:fs";
import { join, normalize } from "node:path";
import { GantryError } from "#base/errors.ts";

const maxLinks = 40;

function statOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
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
    if (last === "..") return join(this.root, this.#folder(parts, create, 0));
    return join(this.root, this.#folder(parts.slice(0, -1), create, 0), last);
  }

  /** A folder's real place relative to the root, without a leading slash. */
  #folder(parts: readonly string[], create: boolean, links: number): string {
    const key = parts.join("/");
    const known = this.#folders.get(key);
    if (known !== undefined) return known;
    let at = "";
    for (let index = 0; index < parts.length; index++) {
      const part = parts[index] as string;
      if (part === "..") {
        at = at.includes("/") ? at.slice(0, at.lastIndexOf("/")) : "";
        continue;
      }
      const next = at === "" ? part : `${at}/${part}`;
      const path = join(this.root, next);
      const stats = statOf(path);
      if (stats === undefined) {
        if (!create) throw new GantryError("not-found", `${next}: no such file or directory`);
        mkdirSync(path, 0o755);
      } else if (stats.isSymbolicLink()) {
        if (links >= maxLinks) throw new GantryError("invalid", `${next}: too many levels of symbolic links`);
        const target = readlinkSync(path);
        const base = target.startsWith("/") ? [] : at.split("/").filter((each) => each !== "");
        const rest = parts.slice(index + 1);
        return this.#folder(
          [...base, ...target.split("/").filter((each) => each !== "" && each !== "."), ...rest],
          create,
          links + 1,
        );
      } else if (!stats.isDirectory()) {
        throw new GantryError("invalid", `${next}: not a directory`);
      }
      at = next;
    }
    this.#folders.set(key, at);
    return at;
  }

  /** The real path of a name with its last part followed too, as `docker cp` and hard links need. */
  resolve(parts: readonly string[]): string {
    let current = [...parts];
    for (let links = 0; links < maxLinks; links++) {
      const path = this.locate(current, false);
      const stats = statOf(path);
      if (!stats?.isSymbolicLink()) return path;
      const target = readlinkSync(path);
      const base = target.startsWith("/") ? [] : current.slice(0, -1);
      current = [...base, ...target.split("/").filter((each) => each !== "" && each !== ".")];
      if (current.length === 0) return this.root;
    }
    throw new GantryError("invalid", "too many levels of symbolic links");
  }
}

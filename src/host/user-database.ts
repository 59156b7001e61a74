import { readFileSync } from "node:fs";
import { GantryError } from "#base/errors.ts";
import { RootedPaths } from "./rooted-path.ts";

export interface ResolvedUser {
  uid: number;
  gid: number;
  /** Of `/etc/group`, by the user's name. */
  additionalGids: number[];
  /** The home folder, `/` when the user is not listed. */
  home: string;
  name: string;
}

interface UserLine {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

const maxFileBytes = 4 << 20;

function lines(root: string, file: string): string[][] {
  try {
    const text = readFileSync(new RootedPaths(root).resolve(["etc", file]), "utf8");
    return text
      .slice(0, maxFileBytes)
      .split("\n")
      .map((line) => line.split(":"));
  } catch {
    return [];
  }
}

function users(root: string): UserLine[] {
  return lines(root, "passwd")
    .filter((fields) => fields.length >= 6 && /^\d+$/.test(fields[2] as string))
    .map((fields) => ({
      name: fields[0] as string,
      uid: Number(fields[2]),
      gid: Number(fields[3]),
      home: fields[5] as string,
    }));
}

function groups(root: string): { name: string; gid: number; members: string[] }[] {
  return lines(root, "group")
    .filter((fields) => fields.length >= 3 && /^\d+$/.test(fields[2] as string))
    .map((fields) => ({
      name: fields[0] as string,
      gid: Number(fields[2]),
      members: (fields[3] ?? "").split(",").filter((name) => name !== ""),
    }));
}

const maxId = 2 ** 31 - 1;

/**
 * Finds out who `user`, `user:group`, `uid` or `uid:gid` is in a root file system, from its own `/etc/passwd`
 * and `/etc/group` (moby/sys/user, GetExecUser). Throws `invalid` in docker's words.
 */
export function resolveUser(root: string, text: string, additionalGroups: readonly string[] = []): ResolvedUser {
  const [userText = "", groupText] = text.split(":", 2);
  const known = users(root);
  const listed =
    known.find((line) => line.name === userText) ??
    (/^\d+$/.test(userText) ? known.find((line) => line.uid === Number(userText)) : undefined);
  let uid = 0;
  if (userText === "") uid = 0;
  else if (listed !== undefined) uid = listed.uid;
  else if (/^\d+$/.test(userText)) uid = Number(userText);
  else throw new GantryError("invalid", `unable to find user ${userText}: no matching entries in passwd file`);
  const entry = listed ?? known.find((line) => line.uid === uid);
  const all = groups(root);
  const groupId = (name: string): number => {
    const found = all.find((line) => line.name === name);
    if (found !== undefined) return found.gid;
    if (/^\d+$/.test(name)) return Number(name);
    throw new GantryError("invalid", `unable to find group ${name}: no matching entries in group file`);
  };
  const gid = groupText === undefined || groupText === "" ? (entry?.gid ?? 0) : groupId(groupText);
  if (uid > maxId || gid > maxId) throw new GantryError("invalid", "uids and gids must be in range 0-2147483647");
  const own =
    groupText === undefined || groupText === ""
      ? all.filter((line) => entry !== undefined && line.members.includes(entry.name)).map((line) => line.gid)
      : [];
  const more = additionalGroups.map(groupId);
  return {
    uid,
    gid,
    additionalGids: [...new Set([...own, ...more])],
    home: entry?.home || "/",
    name: entry?.name ?? "",
  };
}

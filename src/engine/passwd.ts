import { readFileSync } from "node:fs";
import { GantryError } from "#base/errors.ts";
import { resolveInRoot } from "#host/rooted-path.ts";

export interface ResolvedUser {
  uid: number;
  gid: number;
  additionalGids: number[];
  /** From /etc/passwd, "/" when unknown. */
  home: string;
}

function lines(root: string, path: string): string[][] {
  try {
    return readFileSync(resolveInRoot(root, path), "utf8")
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => line.split(":"));
  } catch {
    return [];
  }
}

const isNumber = (text: string): boolean => /^\d{1,10}$/.test(text);

/**
 * Who `name`, `uid`, `user:group` is by the files of a container's root (runc, user.GetExecUser). Throws
 * docker's sentence for a name that is not there. With `strictGroups` the root's /etc/group adds none.
 */
export function resolveUser(
  root: string,
  spec: string,
  groupAdd: readonly string[] = [],
  strictGroups = false,
): ResolvedUser {
  const [userPart = "", groupPart] = spec.split(":");
  const passwd = lines(root, "/etc/passwd");
  const groups = lines(root, "/etc/group");
  const wanted = userPart === "" ? "0" : userPart;
  const entry =
    passwd.find((fields) => fields[0] === wanted) ??
    passwd.find((fields) => isNumber(wanted) && Number(fields[2]) === Number(wanted));
  if (entry === undefined && !isNumber(wanted)) {
    throw new GantryError("invalid", `unable to find user ${wanted}: no matching entries in passwd file`);
  }
  const uid = Number(entry?.[2] ?? wanted);
  if (uid > 2 ** 31 - 1) throw new GantryError("invalid", "uids and gids must be in range 0-2147483647");
  let gid = Number(entry?.[3] ?? 0);
  const groupId = (name: string, unable = "unable"): number => {
    const found = groups.find((fields) => fields[0] === name);
    if (found !== undefined) return Number(found[2]);
    if (isNumber(name)) return Number(name);
    throw new GantryError("invalid", `${unable} to find group ${name}: no matching entries in group file`);
  };
  const additional = new Set<number>();
  if (groupPart !== undefined && groupPart !== "") {
    gid = groupId(groupPart);
  } else if (entry !== undefined && !strictGroups) {
    for (const fields of groups) {
      if ((fields[3] ?? "").split(",").includes(entry[0] as string)) additional.add(Number(fields[2]));
    }
  }
  for (const name of groupAdd) additional.add(groupId(name, "Unable"));
  // The own group is among them, else a file that refuses it would let the process pass (CVE-2022-36109).
  return { uid, gid, additionalGids: [gid, ...additional], home: entry?.[5] || "/" };
}

import { readFileSync } from "node:fs";
import { GantryError, errorMessage } from "#base/errors.ts";
import { checkIdRanges, type IdMapping, mappedRoot } from "#base/id-mapping.ts";
import { CommandError, run } from "#host/run.ts";
import { findExecutable } from "#host/spawn.ts";
import { freeSubordinateStart, parseSubordinateRanges, subordinateIds } from "#host/subordinate-ids.ts";

/** docker's word for a user that it makes itself, and that user's name. */
const defaultWord = "default";
const defaultUser = "dockremap";
/** Ids of a range that is made. */
const rangeLength = 65_536;

const refused = (message: string, cause?: unknown): GantryError =>
  new GantryError("invalid", `userns-remap: ${message}`, { cause });

/** `user`, `user:group`, `uid`, `uid:gid`. Throws `invalid` in dockerd's words. */
export function checkRemapSyntax(text: string): void {
  const parts = text.split(":");
  if (parts.length > 2 || parts.includes(""))
    throw new GantryError("invalid", `Invalid user/group specification in --userns-remap: ${JSON.stringify(text)}`);
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

/** The line of a name or number in a database, which may be more than a file (nsswitch.conf(5)). */
async function lookUp(database: "passwd" | "group", key: string): Promise<{ name: string; id: number } | undefined> {
  const of = (text: string): { name: string; id: number } | undefined => {
    const column = /^\d+$/.test(key) ? 2 : 0;
    const fields = text
      .split("\n")
      .map((line) => line.split(":"))
      .find((each) => each[column] === key);
    return fields === undefined || !/^\d+$/.test(fields[2] ?? "")
      ? undefined
      : { name: fields[0] as string, id: Number(fields[2]) };
  };
  const listed = of(textOf(`/etc/${database}`));
  if (listed !== undefined) return listed;
  const { stdout } = await run(["getent", database, key], { okStatus: [0, 1, 2, 3], timeoutMs: 10_000 });
  return of(stdout);
}

/** The user whose ids containers get, undefined where the default one is still to be made. */
async function userOf(text: string): Promise<{ name: string; uid: number } | undefined> {
  const [given = "", givenGroup] = text.split(":");
  const isNumber = /^\d+$/.test(given);
  const wanted = given === defaultWord ? defaultUser : given;
  const user = await lookUp("passwd", wanted);
  if (user === undefined) {
    if (given === defaultWord && givenGroup === undefined) return undefined;
    throw refused(
      isNumber
        ? `Uid ${given} has no entry in /etc/passwd. Name a user that exists, or use "${defaultWord}".`
        : `Error during uid lookup for ${JSON.stringify(wanted)}: no matching entries in passwd file. Make the user (useradd --system ${wanted}), or use "${defaultWord}".`,
    );
  }
  const group = givenGroup ?? wanted;
  if ((await lookUp("group", group)) === undefined)
    throw refused(
      /^\d+$/.test(group)
        ? `Gid ${group} has no entry in /etc/group. Name a group that exists: "${given}:GROUP".`
        : `Error during ${givenGroup === undefined ? "gid" : "groupname"} lookup for ${JSON.stringify(group)}: no matching entries in group file. Make the group (groupadd --system ${group}), or name another: "${given}:GROUP".`,
    );
  return { name: user.name, uid: user.id };
}

function mappingOf(user: { name: string; uid: number }): IdMapping {
  const ranges = (kind: "uid" | "gid"): IdMapping["uids"] => {
    const file = `/etc/sub${kind}`;
    try {
      const found = subordinateIds(parseSubordinateRanges(textOf(file)), user, file);
      if (found.length > 0) checkIdRanges(found, `ids of ${file}`);
      if (found.length > 0) return found;
    } catch (error) {
      throw refused(`Can't create ID mappings: ${errorMessage(error)}. Correct that file.`, error);
    }
    throw refused(
      `Can't create ID mappings: no sub${kind} ranges found for user ${JSON.stringify(user.name)}. Give it one: usermod --add-sub${kind}s 100000-165535 ${user.name}`,
    );
  };
  return { uids: ranges("uid"), gids: ranges("gid") };
}

/** As dockerd makes it: a system user without a login, with ids that nobody else has been given. */
async function makeDefaultUser(): Promise<void> {
  const tool = (...names: string[]): string | undefined =>
    names.find((name) => {
      try {
        return findExecutable(name) !== "";
      } catch {
        return false;
      }
    });
  const adder = tool("adduser", "useradd");
  if (adder === undefined)
    throw refused(`Error during "${defaultUser}" user creation: neither adduser nor useradd is installed.`);
  const own = ["--shell", "/bin/false"];
  const debian = ["--no-create-home", "--disabled-login", "--disabled-password", "--group", defaultUser];
  const words =
    adder === "adduser" ? ["--system", ...own, ...debian] : ["--system", "--user-group", ...own, defaultUser];
  try {
    if ((await lookUp("passwd", defaultUser)) === undefined) await run([adder, ...words], { timeoutMs: 60_000 });
    for (const [kind, option] of [
      ["uid", "--add-subuids"],
      ["gid", "--add-subgids"],
    ] as const) {
      const ranges = parseSubordinateRanges(textOf(`/etc/sub${kind}`));
      if (ranges.some(({ owner }) => owner === defaultUser)) continue;
      const start = freeSubordinateStart(ranges, rangeLength);
      await run(["usermod", option, `${start}-${start + rangeLength - 1}`, defaultUser], { timeoutMs: 60_000 });
    }
  } catch (error) {
    const why = error instanceof CommandError ? error.stderr.trim() || error.message : errorMessage(error);
    throw refused(`Error during "${defaultUser}" user creation: ${why}`, error);
  }
}

export interface RemappedRoot {
  /** Undefined: the root of containers is the machine's own. */
  mapping: IdMapping | undefined;
  warnings: string[];
}

/**
 * Whose ids the containers of `userns-remap` have, from /etc/passwd, /etc/group, /etc/subuid and /etc/subgid. With
 * `make` the user of "default" is made where it is missing; else it is left to be made. Throws `invalid` that names
 * the key and what to do.
 */
export async function remappedRoot(text: string, { make }: { make: boolean }): Promise<RemappedRoot> {
  checkRemapSyntax(text);
  let user = await userOf(text);
  const isDefault = text.split(":")[0] === defaultWord;
  if (isDefault) {
    if (!make) return { mapping: undefined, warnings: [] };
    if (user === undefined) {
      await makeDefaultUser();
      user = await userOf(text);
    }
  }
  if (user === undefined) throw refused(`the user ${defaultUser} could not be made`);
  if (user.name === "root" || user.uid === 0)
    return {
      mapping: undefined,
      warnings: ["User namespaces: root cannot be remapped with itself; user namespaces are OFF"],
    };
  const mapping = mappingOf(user);
  mappedRoot(mapping);
  return { mapping, warnings: [] };
}

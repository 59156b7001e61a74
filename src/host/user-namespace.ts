import { openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { GantryError, errorMessage } from "#base/errors.ts";
import { formatIdMap, type IdMapping } from "#base/id-mapping.ts";
import { closeFd } from "./descriptors.ts";
import { errnoOf } from "./libc.ts";
import { mount, mountFlags, unmount } from "./mount.ts";
import { type ChildProcess, start } from "./spawn.ts";

/** What can be made together with a user namespace, and then belongs to it. */
export type OwnedNamespace = "net" | "ipc" | "uts";

const unshareOptions = { net: "--net", ipc: "--ipc", uts: "--uts" } as const;
const marker = "ready\n";

function refused(error: unknown): GantryError {
  const limit = "/proc/sys/user/max_user_namespaces";
  let hint = "";
  try {
    if (readFileSync(limit, "utf8").trim() === "0") hint = ` This machine allows none: ${limit} is 0.`;
  } catch {
    hint = " This kernel has no user namespaces (CONFIG_USER_NS).";
  }
  return new GantryError("unavailable", `A user namespace could not be made: ${errorMessage(error)}.${hint}`, {
    cause: error,
  });
}

/** Resolves when the child, which echoes, has come through: it is in its namespaces then. */
async function isThrough(child: ChildProcess): Promise<void> {
  child.stdin?.write(marker);
  let heard = "";
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    heard += chunk.toString();
    if (heard.includes(marker)) return;
  }
  const { code, signal } = await child.exited;
  throw new Error(`unshare ended with ${signal ?? `status ${code}`}`);
}

/** A new user namespace, or the one that a path names. */
type Where = { mapping: IdMapping } | { path: string };

/**
 * Runs `work` with the pid of a process that is in a user namespace, and in new ones of `owned`. They live on while
 * `work` has them open or pinned. A process is needed, as one with several threads cannot leave its user namespace
 * (unshare(2)).
 */
async function inUserNamespace<T>(
  where: Where,
  owned: readonly OwnedNamespace[],
  work: (pid: number) => T,
): Promise<T> {
  const isNew = "mapping" in where;
  const child = start({
    argv: [
      ...(isNew ? [] : ["/usr/bin/nsenter", `--user=${where.path}`, "--"]),
      "/usr/bin/unshare",
      ...(isNew ? ["--user"] : []),
      ...owned.map((kind) => unshareOptions[kind]),
      "/bin/cat",
    ],
    stdio: ["pipe", "pipe", "null"],
  });
  try {
    await isThrough(child);
    if (isNew) {
      writeFileSync(`/proc/${child.pid}/uid_map`, formatIdMap(where.mapping.uids));
      writeFileSync(`/proc/${child.pid}/gid_map`, formatIdMap(where.mapping.gids));
    }
    return work(child.pid);
  } catch (error) {
    throw refused(error);
  } finally {
    child.kill("SIGKILL");
    child.stdin?.destroy();
    child.stdout?.destroy();
    await child.exited;
  }
}

/**
 * User namespaces as open descriptors, the form in which mounts take a mapping: one for each mapping that was asked
 * for, kept until `close`.
 */
export class UserNamespaces {
  readonly #opened = new Map<string, Promise<number>>();

  open(mapping: IdMapping): Promise<number> {
    const key = `${formatIdMap(mapping.uids)}\n${formatIdMap(mapping.gids)}`;
    const known = this.#opened.get(key);
    if (known !== undefined) return known;
    const opening = inUserNamespace({ mapping }, [], (pid) => openSync(`/proc/${pid}/ns/user`, "r"));
    this.#opened.set(key, opening);
    opening.catch(() => this.#opened.delete(key));
    return opening;
  }

  close(): void {
    for (const opened of this.#opened.values()) opened.then(closeFd, () => {});
    this.#opened.clear();
  }
}

/**
 * Makes namespaces that belong to a user namespace, and pins each at its path: `user` for the user namespace itself,
 * when it is a new one. What is there already is replaced. After a failure nothing is left.
 */
export async function pinOwnedNamespaces(
  where: Where,
  paths: Partial<Record<"user" | OwnedNamespace, string>>,
): Promise<void> {
  const entries = Object.entries(paths) as ["user" | OwnedNamespace, string][];
  const owned = entries.map(([kind]) => kind).filter((kind) => kind !== "user");
  for (const [, path] of entries) {
    await mkdir(dirname(path), { recursive: true, mode: 0o711 });
    unpinNamespace(path);
    writeFileSync(path, "", { mode: 0o444 });
  }
  try {
    await inUserNamespace(where, owned, (pid) => {
      for (const [kind, path] of entries)
        mount({ source: `/proc/${pid}/ns/${kind}`, target: path, flags: mountFlags.bind });
    });
  } catch (error) {
    for (const [, path] of entries) unpinNamespace(path);
    throw error;
  }
}

/** Lets a pinned namespace go. Quiet when it is not there. */
export function unpinNamespace(path: string): void {
  try {
    while (unmount(path)) continue;
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
  rmSync(path, { force: true });
}

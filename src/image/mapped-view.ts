import { statSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { release } from "node:os";
import { dirname, join } from "node:path";
import { GantryError } from "#base/errors.ts";
import type { FileOwner } from "#base/id-mapping.ts";
import { asFileOwner } from "#host/file-credentials.ts";
import { idmappedMount, mount, unmount } from "#host/mount.ts";

function cannotMap(why: string, cause: unknown): GantryError {
  return new GantryError(
    "unsupported",
    `This machine cannot run containers in user namespaces: ${why}. That takes Linux 5.19 or newer (this is ${release()}) and a data root on ext4, XFS or Btrfs.`,
    { cause },
  );
}

function checkTmpfs(folder: string, view: string, namespace: number): void {
  mount({ source: "tmpfs", target: folder, type: "tmpfs", data: "size=4k" });
  try {
    idmappedMount(folder, view, namespace);
    unmount(view);
  } catch (cause) {
    throw new GantryError(
      "unsupported",
      `This machine cannot show secrets and other file systems in memory with the ids of a user namespace. That takes Linux 6.3 or newer (this is ${release()}).`,
      { cause },
    );
  } finally {
    unmount(folder);
  }
}

/** The root of containers has to get to their files. Throws `invalid` in dockerd's words. */
function requireWay(folder: string, { uid, gid }: FileOwner): void {
  for (let at = folder; at !== "/"; at = dirname(at)) {
    const { mode, uid: owner, gid: group } = statSync(at);
    const shift = owner === uid ? 6 : group === gid ? 3 : 0;
    if (((mode >> shift) & 1) === 1) continue;
    throw new GantryError(
      "invalid",
      `a subdirectory in your graphroot path (${folder}) restricts access to the remapped root uid/gid; please fix by allowing 'o+x' permissions on existing directories: chmod o+x ${at}`,
    );
  }
}

/** Shows `source` at `target` with the ids of a user namespace. Throws `unsupported` with what it takes. */
export function mapIds(source: string, target: string, namespace: number): void {
  try {
    idmappedMount(source, target, namespace);
  } catch (cause) {
    throw cannotMap(`${source} cannot be mounted with mapped ids`, cause);
  }
}

/** Folders in which `checkMappedViews` tries what the machine can. */
const probePrefix = "probe-";

async function dropProbe(folder: string): Promise<void> {
  for (const name of ["merged", "view", "tree"]) while (unmount(join(folder, name))) continue;
  await rm(folder, { recursive: true, force: true });
}

/** Removes what was left by a process that was killed. */
export async function dropProbes(base: string): Promise<void> {
  for (const name of await readdir(base)) if (name.startsWith(probePrefix)) await dropProbe(join(base, name));
}

/**
 * Throws `unsupported` unless overlays can be mounted on views of `base` with the ids of a user namespace, whose root is
 * `root` outside, and with `tmpfs` such file systems be viewed so; `invalid` where that root could not get to `base`.
 */
export async function checkMappedViews(
  base: string,
  root: FileOwner,
  namespace: number,
  options: { tmpfs?: boolean },
): Promise<void> {
  requireWay(base, root);
  const probe = await mkdtemp(join(base, probePrefix));
  try {
    const [tree, view, merged] = [join(probe, "tree"), join(probe, "view"), join(probe, "merged")];
    for (const folder of [view, merged, ...["lower", "diff", "work"].map((name) => join(tree, name))])
      await mkdir(folder, { recursive: true });
    if (options.tmpfs === true) checkTmpfs(tree, view, namespace);
    mapIds(tree, view, namespace);
    try {
      const data = `lowerdir=${view}/lower,upperdir=${view}/diff,workdir=${view}/work`;
      asFileOwner(root, () => mount({ source: "overlay", target: merged, type: "overlay", data }));
    } catch (cause) {
      throw cannotMap("its overlay file system takes no layers with mapped ids", cause);
    }
  } finally {
    await dropProbe(probe);
  }
}

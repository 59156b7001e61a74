import { mkdirSync } from "node:fs";
import { readdir, readlink, stat, symlink, unlink } from "node:fs/promises";
import { join } from "node:path";

const maxNameLength = 255;

/**
 * A folder of links by which log collectors find pods' logs and read from the file's name what the log belongs to:
 * `<pod>_<namespace>_<container>-<container id>.log`, as in a kubelet's /var/log/containers.
 */
export class LogLinks {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o755 });
  }

  /** Adds the link of a new container. `logPath` is absolute. */
  async add(container: { pod: string; namespace: string; name: string; id: string }, logPath: string): Promise<void> {
    const end = `_${container.namespace}_${container.name}-${container.id}.log`;
    const path = join(this.#folder, `${container.pod.slice(0, maxNameLength - end.length)}${end}`);
    await symlink(logPath, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  }

  /** Removes the links whose log is gone with its container. */
  async removeDead(): Promise<void> {
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name);
      try {
        await stat(path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") continue;
        // Not a link, or one that somebody took away in the meantime: none of ours.
        if ((await readlink(path).catch(() => undefined)) !== undefined) await unlink(path).catch(() => {});
      }
    }
  }
}

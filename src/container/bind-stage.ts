import { mkdirSync, readdirSync, rmdirSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { closeFd } from "#host/descriptors.ts";
import { errnoOf } from "#host/libc.ts";
import { attachMount, cloneMount } from "#host/mount.ts";
import { inMountNamespace } from "#host/mount-namespace.ts";

interface SpecMount {
  type?: string;
  source?: string;
  options?: string[];
}

export interface StagedSpec {
  spec: object;
  /** To be called when the runtime has done its mounts. */
  release: () => void;
  /** The runtime's words with the sources' own names. */
  named: (text: string) => string;
}

/**
 * Brings what a container's bind mounts show into the runtime's own mount namespace. That one was copied once, and
 * mounts that somebody made since on a private mount are not there: the container would see the empty folder below.
 * So each source is copied as it is here and now, with what is mounted in it, and attached there for as long as the
 * runtime creates the container. Propagation stays what it is: a copy of a shared mount is in the same group.
 */
export class BindStage {
  readonly #folder: string;
  readonly #namespace: string;
  readonly #visible: readonly string[];

  /** `folder` is on a private mount in both namespaces; what lies below `visible` is seen there anyway. */
  constructor(folder: string, namespace: string, visible: readonly string[]) {
    this.#folder = folder;
    this.#namespace = namespace;
    this.#visible = visible;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    // Left by a process that was killed.
    for (const name of readdirSync(folder)) remove(join(folder, name));
  }

  /** The spec with the sources that stand in. */
  prepare(id: string, spec: { mounts?: SpecMount[] }): StagedSpec {
    const staged: { source: string; target: string; fd: number }[] = [];
    const release = (): void => {
      for (const { target } of staged) remove(target);
    };
    const named = (text: string): string =>
      staged.reduce((now, { target, source }) => now.replaceAll(target, source), text);
    const mounts = (spec.mounts ?? []).map((mount, index) => {
      const { type, source = "", options = [] } = mount;
      if (type !== "bind" || this.#visible.some((root) => source.startsWith(`${root}/`))) return mount;
      const target = join(this.#folder, `${id}-${index}`);
      let fd: number;
      try {
        if (statSync(source).isDirectory()) mkdirSync(target);
        else writeFileSync(target, "");
        fd = cloneMount(source, options.includes("rbind"));
      } catch {
        // The runtime says what is wrong with it.
        remove(target);
        return mount;
      }
      staged.push({ source, target, fd });
      return { ...mount, source: target };
    });
    if (staged.length === 0) return { spec, release, named };
    try {
      inMountNamespace(this.#namespace, () => {
        for (const { fd, target } of staged) attachMount(fd, target);
      });
    } catch (error) {
      release();
      throw error;
    } finally {
      for (const { fd } of staged) closeFd(fd);
    }
    return { spec: { ...spec, mounts }, release, named };
  }
}

/** What is mounted there in another namespace goes with the entry (mount_namespaces(7)). */
function remove(target: string): void {
  try {
    rmdirSync(target);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOTDIR") unlinkSync(target);
    else if (errno !== "ENOENT") throw error;
  }
}

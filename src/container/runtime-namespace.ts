import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bindMount, isMounted, listMounts, setPropagation, unmount } from "#host/mount.ts";
import { run } from "#host/run.ts";

/** True where crun refuses to start: cgroup v1 with a v2 hierarchy mounted beside it. */
export function isHybridCgroup(): boolean {
  return !existsSync("/sys/fs/cgroup/cgroup.controllers") && existsSync("/sys/fs/cgroup/unified/cgroup.procs");
}

/**
 * On a hybrid host, a mount namespace for the OCI runtime in which `/sys/fs/cgroup` is private and the v2
 * hierarchy is gone. Mounts made later below `sharedRoots` reach it: each of them becomes a shared mount of
 * its own. Pinned as a file, found again after a restart.
 */
export class RuntimeNamespace {
  readonly #folder: string;
  readonly #file: string;
  readonly #sharedRoots: readonly string[];

  constructor(runDir: string, sharedRoots: readonly string[]) {
    this.#folder = join(runDir, "runtime-ns");
    this.#file = join(this.#folder, "mnt");
    this.#sharedRoots = sharedRoots;
  }

  /** What to put before a command so that it runs in the namespace; nothing where none is needed. */
  async prefix(): Promise<string[]> {
    if (!isHybridCgroup()) return [];
    await this.#ensure();
    return ["/usr/bin/nsenter", `--mount=${this.#file}`, "--"];
  }

  async #ensure(): Promise<void> {
    if (isMounted(this.#file)) return;
    for (const root of this.#sharedRoots) {
      mkdirSync(root, { recursive: true });
      if (isSharedMount(root)) continue;
      if (!isMounted(root)) bindMount(root, root, { recursive: true });
      setPropagation(root, "shared");
    }
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    // A namespace can be pinned on a private mount only.
    if (!isMounted(this.#folder)) bindMount(this.#folder, this.#folder);
    setPropagation(this.#folder, "private");
    if (!existsSync(this.#file)) writeFileSync(this.#file, "");
    const script = "mount --make-rprivate /sys/fs/cgroup && umount /sys/fs/cgroup/unified";
    await run(["/usr/bin/unshare", `--mount=${this.#file}`, "--propagation", "unchanged", "/bin/sh", "-c", script]);
  }

  /** Undoes all of it, once no container runs. */
  remove(): void {
    for (const path of [this.#file, this.#folder, ...this.#sharedRoots])
      while (isMounted(path) && unmount(path)) continue;
  }
}

function isSharedMount(path: string): boolean {
  return listMounts().some((mounted) => mounted.target === path && mounted.shared);
}

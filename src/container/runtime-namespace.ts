import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { bindMount, isMounted, listMounts, setPropagation, unmount } from "#host/mount.ts";
import { CommandError, run } from "#host/run.ts";
import { BindStage } from "./bind-stage.ts";

/** True where crun refuses to start: cgroup v1 with a v2 hierarchy mounted beside it. */
export function isHybridCgroup(): boolean {
  return !existsSync("/sys/fs/cgroup/cgroup.controllers") && existsSync("/sys/fs/cgroup/unified/cgroup.procs");
}

/** How the OCI runtime is called. */
export interface RuntimeCall {
  /** The file of the mount namespace to start it in; undefined where none is needed. */
  mountNamespace: string | undefined;
  /** Brings the sources of bind mounts into that namespace. */
  stage: BindStage | undefined;
  program: string;
}

/**
 * Where crun runs. On a hybrid host: a mount namespace in which `/sys/fs/cgroup` is private and the v2 hierarchy
 * is gone. Mounts made later below `sharedRoots` reach it: each of them becomes a shared mount of its own. What lies
 * elsewhere is brought there when a container mounts it (`BindStage`). Pinned as a file, found again after a
 * restart. Everywhere: a read-only mount of the program, since crun takes the time to make one for each call when it
 * finds itself on a writable one (against CVE-2019-5736).
 */
export class RuntimeNamespace {
  readonly #folder: string;
  readonly #file: string;
  readonly #program: string;
  readonly #sharedRoots: readonly string[];

  constructor(runDir: string, sharedRoots: readonly string[]) {
    this.#folder = join(runDir, "runtime-ns");
    this.#file = join(this.#folder, "mnt");
    this.#program = join(this.#folder, "crun");
    this.#sharedRoots = sharedRoots;
  }

  /** Makes what is missing. Safe to repeat. Throws when a mount is refused. */
  async prepare(program: string): Promise<RuntimeCall> {
    const isHybrid = isHybridCgroup();
    const isPinned = isHybrid && isMounted(this.#file);
    // First, since the folder may lie below one of them: mounts of its own must come to lie on top.
    if (isHybrid && !isPinned) this.#shareRoots();
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    // A namespace can be pinned on a private mount only, and what is mounted below stays here.
    if (!isMounted(this.#folder)) bindMount(this.#folder, this.#folder);
    setPropagation(this.#folder, "private");
    // What is mounted now does not appear in a namespace that is there already.
    if (!isPinned) this.#mountProgram(program);
    if (isHybrid && !isPinned) await this.#pin();
    return {
      mountNamespace: isHybrid ? this.#file : undefined,
      stage: isHybrid ? new BindStage(join(this.#folder, "binds"), this.#file, this.#sharedRoots) : undefined,
      program: this.#isProgram(program) ? this.#program : program,
    };
  }

  #shareRoots(): void {
    for (const root of this.#sharedRoots) {
      mkdirSync(root, { recursive: true });
      if (isSharedMount(root)) continue;
      if (!isMounted(root)) bindMount(root, root, { recursive: true });
      // A group of its own: in that of a shared parent, each mount below would appear under the parent, too.
      setPropagation(root, "private");
      setPropagation(root, "shared");
    }
  }

  #mountProgram(program: string): void {
    if (this.#isProgram(program)) return;
    while (unmount(this.#program)) continue;
    writeFileSync(this.#program, "");
    bindMount(program, this.#program, { readOnly: true });
  }

  /** False after the package was upgraded: then the new program is used, from its own place. */
  #isProgram(program: string): boolean {
    if (!isMounted(this.#program)) return false;
    const [mounted, own] = [statSync(this.#program), statSync(program)];
    return mounted.ino === own.ino && mounted.dev === own.dev;
  }

  async #pin(): Promise<void> {
    if (!existsSync(this.#file)) writeFileSync(this.#file, "");
    const script = "mount --make-rprivate /sys/fs/cgroup && umount /sys/fs/cgroup/unified";
    const make = ["/usr/bin/unshare", `--mount=${this.#file}`, "--propagation", "unchanged", "/bin/sh", "-c", script];
    // A namespace can be pinned only in one with a lower number, so that none holds itself. Since Linux 6.18 each
    // processor numbers from a stock of its own: where we are in a young namespace, that processor's are higher.
    const attempts = [make];
    for (let cpu = 0; cpu < availableParallelism(); cpu++) attempts.push(["/usr/bin/taskset", "-c", `${cpu}`, ...make]);
    for (const [index, argv] of attempts.entries()) {
      try {
        return void (await run(argv));
      } catch (error) {
        const isLast = index === attempts.length - 1;
        if (isLast || !(error instanceof CommandError) || !/Invalid argument/.test(error.stderr)) throw error;
      }
    }
  }

  /** Undoes all of it, once no container runs. */
  remove(): void {
    for (const path of [this.#file, this.#program, this.#folder, ...this.#sharedRoots])
      while (isMounted(path) && unmount(path)) continue;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function isSharedMount(path: string): boolean {
  return listMounts().some((mounted) => mounted.target === path && mounted.shared);
}

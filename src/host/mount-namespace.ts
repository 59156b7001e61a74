import { closeSync, constants, openSync } from "node:fs";
import { bind, check, cString } from "./libc.ts";

const setns = bind("setns", "int", ["int", "int"]);
const unshare = bind("unshare", "int", ["int"]);
const fchdir = bind("fchdir", "int", ["int"]);
const chroot = bind("chroot", "int", ["void *"]);
const newMounts = 0x00020000;
const cloneFs = 0x200;
const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY;

let own: { namespace: number; root: number } | undefined;

/**
 * Runs `work` with this thread in the mount namespace that the file `path` names: the way to start a program there
 * without another that leads it in. `work` must be synchronous, and open no files by name that it wants from here.
 * Root and working folder are what they were afterwards. Throws `not-found` when there is no such file.
 *
 * setns(2) asks for a root and a working folder that no other thread shares, so the first call parts this thread's
 * from the pool's: a later `process.chdir` is this thread's alone.
 */
export function inMountNamespace<T>(path: string, work: () => T): T {
  own ??= { namespace: openSync("/proc/thread-self/ns/mnt", "r"), root: openSync("/", folderFlags) };
  const target = openSync(path, "r");
  try {
    const here = openSync(".", folderFlags);
    try {
      // A thread that was started meanwhile shares again; alone it costs nothing.
      check(unshare(cloneFs), "unshare");
      check(setns(target, newMounts), "setns", { path });
      try {
        return work();
      } finally {
        comeBack(own, here);
      }
    } finally {
      closeSync(here);
    }
  } finally {
    closeSync(target);
  }
}

function comeBack({ namespace, root }: { namespace: number; root: number }, here: number): void {
  const isBack =
    setns(namespace, newMounts) === 0 && fchdir(root) === 0 && chroot(cString(".")) === 0 && fchdir(here) === 0;
  // Going on among somebody else's mounts would be worse than to stop.
  if (!isBack) process.abort();
}

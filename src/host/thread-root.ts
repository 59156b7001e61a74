import { isMainThread } from "node:worker_threads";
import { bind, cString, check } from "./libc.ts";

const unshareCall = bind("unshare", "int", ["int"]);
const chrootCall = bind("chroot", "int", ["void *"]);
const chdirCall = bind("chdir", "int", ["void *"]);

const cloneFs = 0x200;

/**
 * Gives this worker thread, and nobody else, a folder as its `/` for good (unshare(2), chroot(2)): whatever
 * links somebody puts there meanwhile, no path of this thread leads out. Only synchronous calls of Node's fs
 * obey, as asynchronous ones run in other threads. Modules must be loaded before. Throws in the main thread.
 */
export function enterRootInThread(path: string): void {
  if (isMainThread) throw new Error("the main thread keeps its root");
  check(unshareCall(cloneFs), "unshare");
  check(chrootCall(cString(path)), "chroot", { path });
  check(chdirCall(cString("/")), "chdir", { path: "/" });
}

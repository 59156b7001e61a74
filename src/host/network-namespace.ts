import { closeSync, mkdirSync, openSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { bind, check, cString, errnoOf } from "./libc.ts";

const setns = bind("setns", "int", ["int", "int"]);
const unshare = bind("unshare", "int", ["int"]);
const mount = bind("mount", "int", ["void *", "void *", "void *", "unsigned long", "void *"]);
const umount2 = bind("umount2", "int", ["void *", "int"]);
const newNet = 0x40000000;
const bindMount = 0x1000;
const detach = 2;

let own: number | undefined;

/** Our own network namespace, opened before the thread ever leaves it. */
function ownNamespace(): number {
  own ??= openSync("/proc/thread-self/ns/net", "r");
  return own;
}

function comeBack(): void {
  if (setns(ownNamespace(), newNet) === 0) return;
  // Going on in somebody else's namespace would be worse than to stop.
  process.abort();
}

/**
 * Runs `work` with this thread in the network namespace that the file `path` names: sockets that it opens belong
 * to that namespace, and /proc/sys/net is that namespace's. `work` must be synchronous. Costs some microseconds.
 * Throws `not-found` when there is no such file.
 */
export function inNetworkNamespace<T>(path: string, work: () => T): T {
  ownNamespace();
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    throw Object.assign(error as Error, { namespace: path });
  }
  try {
    check(setns(fd, newNet), "setns", { path });
    try {
      return work();
    } finally {
      comeBack();
    }
  } finally {
    closeSync(fd);
  }
}

/** Makes a network namespace that lives as long as the file `path` stays mounted. */
export function createNetworkNamespace(path: string): void {
  ownNamespace();
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, "", { flag: "wx", mode: 0o444 });
  try {
    check(unshare(newNet), "unshare");
    try {
      check(mount(cString("/proc/thread-self/ns/net"), cString(path), cString("none"), bindMount, null), "mount", {
        path,
      });
    } finally {
      comeBack();
    }
  } catch (error) {
    unlinkSync(path);
    throw error;
  }
}

/** Lets go of the namespace; it ends when no process is in it any more. Quiet when it is not there. */
export function removeNetworkNamespace(path: string): void {
  umount2(cString(path), detach);
  try {
    unlinkSync(path);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}

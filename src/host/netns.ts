import { closeSync, mkdirSync, openSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import { hasErrno } from "./errno.ts";
import { bindMount, unmount } from "./mount.ts";
import { insideNamespace, setns, unshare } from "./namespaces.ts";

/**
 * Makes a network namespace and pins it as a file at `path` (a bind mount of its nsfs entry), so that it lives
 * without a process. Its loopback is still down. Throws `already-exists` when the file is there.
 */
export function createNetns(path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  closeSync(openSync(path, "wx", 0o444));
  const back = openSync("/proc/thread-self/ns/net", "r");
  try {
    unshare("network");
    try {
      bindMount("/proc/thread-self/ns/net", path);
    } finally {
      setns(back, "network");
    }
  } catch (error) {
    unlinkSync(path);
    throw error;
  } finally {
    closeSync(back);
  }
}

/** Unpins a namespace; it goes when its last process does. What is not there is no error. */
export function deleteNetns(path: string): void {
  try {
    unmount(path, { lazy: true });
  } catch (error) {
    if (!hasErrno(error, "EINVAL", "ENOENT")) throw error;
  }
  try {
    unlinkSync(path);
  } catch (error) {
    if (!hasErrno(error, "ENOENT")) throw error;
  }
}

/**
 * Runs `work` synchronously with this thread in the network namespace at `path` (a pinned file or
 * `/proc/<pid>/ns/net`). Sockets made in it stay in it: create and bind them inside (`listen(port)` without a host
 * binds at once, with a host it binds too late), then serve them from outside.
 */
export function inNetns<T>(path: string, work: () => T): T {
  return insideNamespace("network", path, work);
}

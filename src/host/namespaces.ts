import { closeSync, openSync } from "node:fs";
import { bind, check } from "./libc.ts";

/** Namespace kinds as clone(2) flags. */
export const namespaceFlags = {
  mount: 0x00020000,
  cgroup: 0x02000000,
  uts: 0x04000000,
  ipc: 0x08000000,
  user: 0x10000000,
  pid: 0x20000000,
  network: 0x40000000,
  /** Not a namespace: gives a thread a root and working folder of its own. */
  filesystem: 0x00000200,
} as const;

export type NamespaceKind = "mount" | "cgroup" | "uts" | "ipc" | "user" | "pid" | "network";

const unshareCall = bind("unshare", "int", ["int"]);
const setnsCall = bind("setns", "int", ["int", "int"]);

/** Moves the calling thread into fresh namespaces. */
export function unshare(...kinds: (NamespaceKind | "filesystem")[]): void {
  check(unshareCall(kinds.reduce((flags, kind) => flags | namespaceFlags[kind], 0)), "unshare", { kinds });
}

/** Moves the calling thread into the namespace behind a descriptor. */
export function setns(fd: number, kind: NamespaceKind): void {
  check(setnsCall(fd, namespaceFlags[kind]), "setns", { kind });
}

const files: Record<NamespaceKind, string> = {
  mount: "mnt",
  cgroup: "cgroup",
  uts: "uts",
  ipc: "ipc",
  user: "user",
  pid: "pid",
  network: "net",
};

/** The file of a process's namespace; "self" is the calling thread's process. */
export function namespacePath(kind: NamespaceKind, pid: number | "self" = "self"): string {
  return `/proc/${pid}/ns/${files[kind]}`;
}

const homes = new Map<NamespaceKind, number>();

/** A descriptor of the namespace that this process started in; kept open for the way back. */
export function homeNamespace(kind: NamespaceKind): number {
  let fd = homes.get(kind);
  if (fd === undefined) {
    fd = openSync(kind === "network" || kind === "mount" ? `/proc/thread-self/ns/${files[kind]}` : namespacePath(kind), "r");
    homes.set(kind, fd);
  }
  return fd;
}

/**
 * Runs `work`, which must be synchronous, with the main thread in the namespace behind `path`, and comes back in
 * any case. Sockets that `work` makes stay in the namespace. Nested calls come back to where they were.
 */
export function insideNamespace<T>(kind: NamespaceKind, path: string, work: () => T): T {
  const back = openSync(`/proc/thread-self/ns/${files[kind]}`, "r");
  let fd = -1;
  try {
    fd = openSync(path, "r");
    setns(fd, kind);
    try {
      const result = work();
      if (result instanceof Promise) throw new Error("work inside a namespace must be synchronous");
      return result;
    } finally {
      setns(back, kind);
    }
  } finally {
    if (fd >= 0) closeSync(fd);
    closeSync(back);
  }
}

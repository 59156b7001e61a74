import { closeSync, openSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { FileOwner } from "#base/id-mapping.ts";
import { asEffectiveUser } from "./file-credentials.ts";
import { bind, check, cString } from "./libc.ts";
import { mountFlags, unmount } from "./mount.ts";

const unshare = bind("unshare", "int", ["int"]);
const setns = bind("setns", "int", ["int", "int"]);
const mountCall = bind("mount", "int", ["void *", "void *", "void *", "ulong", "void *"]);
const sethostname = bind("sethostname", "int", ["void *", "size_t"]);
const kinds = { ipc: 0x08000000, uts: 0x04000000 } as const;
type Kind = keyof typeof kinds;

const own = new Map<Kind, number>();

function ownNamespace(kind: Kind): number {
  let fd = own.get(kind);
  if (fd === undefined) {
    fd = openSync(`/proc/thread-self/ns/${kind}`, "r");
    own.set(kind, fd);
  }
  return fd;
}

export interface PinOptions {
  /** Gets files `ipc` and `uts`. */
  folder: string;
  ipc: boolean;
  uts: boolean;
  /** Set in the new uts namespace. */
  hostname: string;
  /** Runs while this thread is in them: for kernel settings. */
  inside?: () => void;
}

/**
 * Sets up pinned ipc and uts namespaces that belong to a user namespace whose root is `owner` outside. Only that user
 * may write their kernel settings, not the machine's root.
 */
export function inPinnedNamespaces(options: PinOptions, owner: FileOwner): void {
  const wanted = (["ipc", "uts"] as const).filter((kind) => options[kind]);
  let left = 0;
  try {
    for (const kind of wanted) {
      ownNamespace(kind);
      const path = join(options.folder, kind);
      const fd = openSync(path, "r");
      try {
        check(setns(fd, kinds[kind]), "setns", { path });
      } finally {
        closeSync(fd);
      }
      left++;
      if (kind === "uts") setHostname(options.hostname);
    }
    const { inside } = options;
    if (inside !== undefined) asEffectiveUser(owner, inside);
  } finally {
    comeBack(wanted.slice(0, left));
  }
}

function setHostname(hostname: string): void {
  const name = Buffer.from(hostname);
  check(sethostname(name.length === 0 ? Buffer.alloc(1) : name, name.length), "sethostname");
}

function comeBack(left: readonly Kind[]): void {
  for (const kind of left) {
    // Going on in somebody else's namespace would be worse than to stop.
    if (setns(ownNamespace(kind), kinds[kind]) !== 0) process.abort();
  }
}

/** Makes ipc and uts namespaces that live as long as their files stay mounted, without a process in them. */
export function pinNamespaces(options: PinOptions): void {
  const wanted = (["ipc", "uts"] as const).filter((kind) => options[kind]);
  for (const kind of wanted) {
    ownNamespace(kind);
    writeFileSync(join(options.folder, kind), "", { mode: 0o444 });
  }
  let left = 0;
  try {
    for (const kind of wanted) {
      check(unshare(kinds[kind]), "unshare", { kind });
      left++;
      const source = cString(`/proc/thread-self/ns/${kind}`);
      check(mountCall(source, cString(join(options.folder, kind)), cString("none"), mountFlags.bind, null), "mount", {
        path: join(options.folder, kind),
      });
      if (kind === "uts") setHostname(options.hostname);
    }
    options.inside?.();
  } finally {
    comeBack(wanted.slice(0, left));
  }
}

/** Lets them go. Quiet when they are not there. */
export function unpinNamespaces(folder: string): void {
  for (const kind of ["ipc", "uts"] as const) {
    const path = join(folder, kind);
    while (unmount(path)) continue;
    rmSync(path, { force: true });
  }
}

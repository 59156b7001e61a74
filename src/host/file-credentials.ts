import { isMainThread } from "node:worker_threads";
import type { FileOwner } from "#base/id-mapping.ts";
import { bind, check, rawSyscall } from "./libc.ts";

const setfsuid = bind("setfsuid", "int", ["uint32"]);
const setfsgid = bind("setfsgid", "int", ["uint32"]);
const capget = bind("capget", "int", ["void *", "void *"]);
const capset = bind("capset", "int", ["void *", "void *"]);

/** _LINUX_CAPABILITY_VERSION_3, and 0: this thread (capget(2)). */
function header(): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(0x20080522, 0);
  return bytes;
}

/** Two of effective, permitted, inheritable. */
const setsLength = 24;

/** By architecture: x86-64, arm64. */
const numbers = process.arch === "arm64" ? { setresuid: 147, setresgid: 149 } : { setresuid: 117, setresgid: 119 };
const keep = -1;

/**
 * Runs `work` with this thread's effective user and group changed, and without root's rights: for what the kernel
 * grants by user id alone. `work` must be synchronous. The machine's calls are used directly, as the C library
 * changes all threads.
 */
export function asEffectiveUser<T>(user: FileOwner, work: () => T): T {
  const change = ({ uid, gid }: FileOwner, isBack: boolean): void => {
    // The group first on the way there, last on the way back: each takes root's rights.
    const setUser = (): number => rawSyscall(numbers.setresuid, "lll", keep, uid, keep);
    const setGroup = (): number => rawSyscall(numbers.setresgid, "lll", keep, gid, keep);
    for (const set of isBack ? [setUser, setGroup] : [setGroup, setUser]) {
      if (set() === 0) continue;
      // Going on as somebody else would be worse than to stop.
      if (isBack) process.abort();
      check(-1, "setresuid", { ...user });
    }
  };
  try {
    change(user, false);
    return work();
  } finally {
    change({ uid: 0, gid: 0 }, true);
  }
}

/** Makes this thread what `asFileOwner` makes it, for good: for a worker thread. */
export function becomeFileOwner(owner: FileOwner): void {
  if (isMainThread) throw new Error("the main thread stays root");
  const sets = Buffer.alloc(setsLength);
  check(capget(header(), sets), "capget");
  setfsgid(owner.gid);
  setfsuid(owner.uid);
  check(capset(header(), sets), "capset");
}

/**
 * Runs `work` with this thread making files as another user, with all of root's rights over files: what it makes
 * belongs to that user. Needed where root itself is not known: on file systems that are mounted with other ids.
 * `work` must be synchronous; Node's synchronous calls obey, others run in other threads.
 */
export function asFileOwner<T>(owner: FileOwner, work: () => T): T {
  if (owner.uid === 0 && owner.gid === 0) return work();
  const sets = Buffer.alloc(setsLength);
  check(capget(header(), sets), "capget");
  setfsgid(owner.gid);
  setfsuid(owner.uid);
  try {
    // The change has taken root's rights over files away (capabilities(7)).
    check(capset(header(), sets), "capset");
    return work();
  } finally {
    setfsuid(0);
    setfsgid(0);
    // Going on as somebody else would be worse than to stop. The calls tell who it was before.
    if (setfsuid(0) !== 0 || setfsgid(0) !== 0) process.abort();
  }
}

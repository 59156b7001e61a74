import { type FSWatcher, closeSync, openSync, readdirSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cgroupFolder, cgroupVersion, readTable } from "./cgroup.ts";
import { closeFd } from "./descriptors.ts";
import { bind, check } from "./libc.ts";
import { type ReadinessWatch, watchReadable } from "./poll.ts";

const eventfd = bind("eventfd", "int", ["uint", "int"]);
const read = bind("read", "long", ["int", "void *", "long"]);
const closeOnExecNonBlocking = 0o2004000;

/**
 * How many processes of a cgroup, and of those below it, the kernel has killed for want of memory since it was made;
 * 0 where the cgroup is gone.
 */
export function oomKills(path: string): number {
  const folder = cgroupFolder(path, "memory");
  // Version 2 counts for the whole tree, version 1 where the killed process was.
  return cgroupVersion === 2 ? (readTable(folder, "memory.events")["oom_kill"] ?? 0) : killsBelow(folder);
}

function killsBelow(folder: string): number {
  let kills = readTable(folder, "memory.oom_control")["oom_kill"] ?? 0;
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true }))
      if (entry.isDirectory()) kills += killsBelow(join(folder, entry.name));
  } catch {
    // The cgroup is gone.
  }
  return kills;
}

/** Version 1 tells of the want of memory before it kills: the count follows some moments later. */
const lateLooksMs = [5, 50, 500];

/**
 * Calls `onOom` whenever the kernel has killed something of a cgroup for want of memory (several at once are one
 * call), and on version 1 also when it stops the cgroup's processes instead, since `oom_kill_disable` is set. Costs
 * one descriptor on version 1, an inotify watch on version 2. Throws when the kernel refuses the watch. Returns the
 * end of it.
 */
export function watchOom(path: string, onOom: () => void): () => void {
  let known = oomKills(path);
  const look = (): boolean => {
    const kills = oomKills(path);
    if (kills <= known) return false;
    known = kills;
    onOom();
    return true;
  };
  return cgroupVersion === 2 ? watchEventsFile(path, look) : watchOomControl(path, look, onOom);
}

function watchEventsFile(path: string, look: () => void): () => void {
  const watcher: FSWatcher = watch(join(cgroupFolder(path, "memory"), "memory.events"), { persistent: false }, look);
  watcher.on("error", () => {});
  return () => watcher.close();
}

/** cgroups-v1/memory.rst, section 10: an eventfd, registered with `cgroup.event_control`. */
function watchOomControl(path: string, look: () => boolean, onOom: () => void): () => void {
  const folder = cgroupFolder(path, "memory");
  const fd = check(eventfd(0, closeOnExecNonBlocking), "eventfd");
  const timers = new Set<NodeJS.Timeout>();
  let watch: ReadinessWatch;
  try {
    const control = openSync(join(folder, "memory.oom_control"), "r");
    try {
      writeFileSync(join(folder, "cgroup.event_control"), `${fd} ${control}`);
    } finally {
      closeSync(control);
    }
    const count = Buffer.alloc(8);
    watch = watchReadable(fd, () => {
      read(fd, count, 8);
      lookSoon(0);
    });
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  watch.unref();
  const lookSoon = (attempt: number): void => {
    if (look()) return;
    const wait = lateLooksMs[attempt];
    if (wait === undefined) {
      // Nothing was killed: the cgroup has gone, or its processes wait for memory.
      const { oom_kill_disable: isOff, under_oom: isWaiting } = readTable(folder, "memory.oom_control");
      if (isOff === 1 && isWaiting === 1) onOom();
      return;
    }
    const timer = setTimeout(() => {
      timers.delete(timer);
      lookSoon(attempt + 1);
    }, wait);
    timer.unref();
    timers.add(timer);
  };
  return () => {
    for (const timer of timers) clearTimeout(timer);
    timers.clear();
    watch.close();
    closeFd(fd);
  };
}

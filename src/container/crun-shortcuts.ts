import { closeSync, constants, existsSync, openSync, readFileSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { cgroupVersion, readCgroupFile, writeCgroup } from "#host/cgroup.ts";
import { processStart } from "#host/process-start.ts";

/**
 * What crun does in a few system calls after some milliseconds of starting up, done here instead. Each answers
 * undefined or false where things are not as expected, and the caller asks crun.
 */

/** crun's own record of a container (`<root>/<id>/status`). */
interface CrunRecord {
  pid: number;
  "process-start-time": number;
  "cgroup-path": string;
}

function recordOf(folder: string): CrunRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(join(folder, "status"), "utf8")) as Partial<CrunRecord>;
    const { pid, "cgroup-path": path, "process-start-time": time } = record;
    if (typeof pid !== "number" || typeof path !== "string" || typeof time !== "number" || path === "")
      return undefined;
    return record as CrunRecord;
  } catch {
    return undefined;
  }
}

/** True while the very process that crun started lives. */
function isAlive({ pid, "process-start-time": time }: CrunRecord): boolean {
  return processStart(pid) === time;
}

/**
 * `crun start`: the first process waits for a byte in a named pipe. Only for containers without hooks, which is
 * all of ours. False when nobody waits.
 */
export function startCreated(folder: string): boolean {
  const fifo = join(folder, "exec.fifo");
  const record = recordOf(folder);
  if (record === undefined || !isAlive(record)) return false;
  let fd: number;
  try {
    fd = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return false;
  }
  try {
    unlinkSync(fifo);
    writeSync(fd, "\0");
    return true;
  } finally {
    closeSync(fd);
  }
}

/** `crun state`'s status. */
export function statusOf(folder: string): "created" | "running" | "paused" | "stopped" | undefined {
  const record = recordOf(folder);
  if (record === undefined) return undefined;
  if (!isAlive(record)) return "stopped";
  if (existsSync(join(folder, "exec.fifo"))) return "created";
  return isFrozen(record["cgroup-path"]) ? "paused" : "running";
}

function isFrozen(path: string): boolean {
  if (cgroupVersion === 2) return /^frozen 1$/m.test(readCgroupFile(path, "freezer", "cgroup.events") ?? "");
  return (readCgroupFile(path, "freezer", "freezer.state") ?? "THAWED") !== "THAWED";
}

/** `crun pause` and `crun resume`. Resolves when the kernel says that it is done; false where there is no freezer. */
export async function setFrozen(folder: string, frozen: boolean): Promise<boolean> {
  const path = recordOf(folder)?.["cgroup-path"];
  if (path === undefined) return false;
  const isDone = (): boolean => {
    if (cgroupVersion === 2)
      return new RegExp(`^frozen ${frozen ? 1 : 0}$`, "m").test(readCgroupFile(path, "freezer", "cgroup.events") ?? "");
    return readCgroupFile(path, "freezer", "freezer.state") === (frozen ? "FROZEN" : "THAWED");
  };
  for (let attempt = 0; attempt < 500; attempt++) {
    try {
      // On v1 a process that forks meanwhile can leave it half done: writing again goes on.
      if (cgroupVersion === 2) writeCgroup(path, "freezer", "cgroup.freeze", frozen ? 1 : 0);
      else writeCgroup(path, "freezer", "freezer.state", frozen ? "FROZEN" : "THAWED");
    } catch {
      return false;
    }
    if (isDone()) return true;
    await new Promise((resolve) => setTimeout(resolve, Math.min(10, 1 + attempt)));
  }
  return false;
}

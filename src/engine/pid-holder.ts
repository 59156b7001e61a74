import { readdirSync, readFileSync } from "node:fs";
import { GantryError } from "#base/errors.ts";
import { closeFd, makePipe } from "#host/descriptors.ts";
import { watchProcess } from "#host/pidfd.ts";
import { start } from "#host/spawn.ts";

/**
 * As process 1 of its namespace it takes in orphans, and gives way only to SIGKILL. What it waits for is a shell
 * that reads where nobody writes: no program with a name that somebody in the pod could look for.
 */
const script = "trap '' TERM INT HUP; while :; do read -r _ <&3 & wait $!; done";

const nameOf = (sandboxId: string): string => `gantry-pod-${sandboxId}`;

/** True when `pid` is the holder of this sandbox, and not another process that got its number. */
export function isHolder(pid: number, sandboxId: string): boolean {
  try {
    return pid > 0 && readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(nameOf(sandboxId));
  } catch {
    return false;
  }
}

/**
 * Starts the one process that a pod needs besides its containers, and only when they share their process
 * namespace: a pid namespace cannot be pinned as a file, it ends with its process 1. Returns that one's pid. The
 * process namespace belongs to the user namespace at `userNamespace`, else to the machine's.
 */
export async function startHolder(sandboxId: string, userNamespace?: string): Promise<number> {
  // The holder has both ends itself: nobody writes, and nobody's end brings the end of the file.
  const pipe = makePipe();
  const child = start({
    argv: [
      ...(userNamespace === undefined ? [] : ["nsenter", `--user=${userNamespace}`, "--"]),
      "unshare",
      "--pid",
      "--fork",
      "--",
      "/bin/sh",
      "-c",
      script,
      nameOf(sandboxId),
    ],
    newSession: true,
    cwd: "/",
    stdio: ["null", "null", "null", pipe.readEnd, pipe.writeEnd],
  });
  closeFd(pipe.readEnd);
  closeFd(pipe.writeEnd);
  child.unref();
  for (let attempt = 0; attempt < 400; attempt++) {
    try {
      const inner = Number(
        readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "latin1").trim().split(" ")[0],
      );
      // Before its exec the inner process still looks like unshare.
      if (inner > 0 && readFileSync(`/proc/${inner}/comm`, "latin1").trim() === "sh") return inner;
    } catch {
      break;
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  child.kill("SIGKILL");
  throw new GantryError("unavailable", "The process namespace of the pod could not be made.");
}

/** The reader that the holder waits for looks like it, and so does `unshare` around both. */
function isFirstOfItsNamespace(pid: string): boolean {
  try {
    const ids = /^NSpid:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]?.split(/\s+/) ?? [];
    return ids.length > 1 && ids.at(-1) === "1";
  } catch {
    return false;
  }
}

/** The holder that a crash left before its pid was written down; 0 when there is none. */
export function findHolder(sandboxId: string): number {
  const found = readdirSync("/proc").find((name) => {
    if (!/^\d+$/.test(name) || !isHolder(Number(name), sandboxId)) return false;
    return isFirstOfItsNamespace(name);
  });
  return Number(found ?? 0);
}

/** Ends the holder and with it whatever still runs in its namespace. Quiet when it is not there. */
export async function stopHolder(pid: number, sandboxId: string): Promise<void> {
  if (!isHolder(pid, sandboxId)) return;
  const watch = watchProcess(pid);
  watch.signal("SIGKILL");
  await watch.ended;
}

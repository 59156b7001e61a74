import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = "/sys/fs/cgroup";

/** The file of a process's cgroup that a controller has, whichever version of cgroups the machine mounts. */
export function cgroupFile(pid: number, controller: string, names: { v1: string; v2: string }): string {
  const lines = readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("\n");
  const isV2 = existsSync(join(root, "cgroup.controllers"));
  for (const line of lines) {
    const [, controllers = "", ...path] = line.split(":");
    const isWanted = isV2 ? controllers === "" : controllers.split(",").includes(controller);
    if (!isWanted) continue;
    return isV2 ? join(root, path.join(":"), names.v2) : join(root, controller, path.join(":"), names.v1);
  }
  throw new Error(`process ${pid} is in no cgroup with ${controller}`);
}

/** A number, or two (cpu.max); `max` is Infinity. */
export function readNumbers(file: string): number[] {
  const text = readFileSync(file, "utf8").trim();
  return text.split(/\s+/).map((word) => (word === "max" ? Infinity : Number(word)));
}

import { close, existsSync, openSync, readFileSync, write } from "node:fs";

const top = "/sys/fs/cgroup";

/** The file that takes processes into the cgroup where we are already, in the hierarchy that means least. */
function ownProcs(): string | undefined {
  // `ID:CONTROLLERS:PATH` (cgroups(7)): v2 has no controllers, systemd's own hierarchy on v1 only a name.
  const lines = readFileSync("/proc/self/cgroup", "utf8").split("\n");
  const memberships = lines.flatMap((line) => {
    const [, , controllers, path] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) return [];
    const hierarchy = controllers === "" ? ["", "unified"] : [controllers.replace(/^name=/, "")];
    return hierarchy.map((name) => ({ rank: /^$|^name=/.test(controllers) ? 0 : 1, file: procsFile(name, path) }));
  });
  memberships.sort((a, b) => a.rank - b.rank);
  return memberships.find(({ file }) => existsSync(file))?.file;
}

function procsFile(hierarchy: string, path: string): string {
  return `${top}/${hierarchy}/${path}/cgroup.procs`.replaceAll(/\/+/g, "/");
}

let isUnderWay = false;

/**
 * Says that a process will be moved into another cgroup some milliseconds from now: by the runtime, when it starts a
 * container or an exec. Unless `favordynmods` is set, the kernel lets the first move in a while wait for a grace
 * period of RCU (5 to 15 ms) before it takes its lock, and the next ones until about a grace period later pass at
 * once (cgroup_threadgroup_rwsem, an rcu_sync). So we let a move that changes nothing wait now, in another thread:
 * ourselves into the cgroup where we are. Calls while one is under way do nothing, and no failure matters.
 */
export function expectCgroupMove(): void {
  if (isUnderWay) return;
  try {
    const file = ownProcs();
    if (file === undefined) return;
    const fd = openSync(file, "w");
    isUnderWay = true;
    write(fd, String(process.pid), () => {
      isUnderWay = false;
      close(fd);
    });
  } catch {
    // Where we may not, the runtime waits itself.
  }
}

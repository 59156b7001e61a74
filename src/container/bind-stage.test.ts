import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { cgroupProcesses, removeCgroup } from "#host/cgroup.ts";
import { isHybridCgroup } from "./runtime-namespace.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-stage-"));
const cgroup = `gantry-t1-stage-${process.pid}`;
after(async () => {
  // What the child leaves when it fails: containers have ended with it, or end now.
  for (const pid of cgroupProcesses(cgroup)) process.kill(pid, "SIGKILL");
  for (let attempt = 0; attempt < 100 && !removeCgroup(cgroup); attempt++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  rmSync(folder, { recursive: true, force: true });
});

/** Runs `bind-stage-child.ts` on a machine of its own as far as mounts go, where `/` is private or shared. */
function onMachine(propagation: "private" | "shared"): { program: string; seen: Record<string, string> } {
  const script = `mount --make-r${propagation} / && exec ${process.execPath} ${join(import.meta.dirname, "bind-stage-child.ts")} ${join(folder, propagation)} ${cgroup}`;
  const { stdout, stderr, status } = spawnSync("unshare", ["--mount", "--propagation", "private", "sh", "-c", script], {
    encoding: "utf8",
    timeout: 60_000,
  });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout.trim().split("\n").at(-1) as string) as ReturnType<typeof onMachine>;
}

for (const propagation of ["private", "shared"] as const) {
  test(`containers see what was mounted after the runtime's namespace was made, where / is ${propagation}`, () => {
    const { program, seen } = onMachine(propagation);
    if (isHybridCgroup()) assert.match(program, /\/crun$/);
    assert.deepEqual(seen, {
      "a mount": "late",
      "a mount below the source": "late",
      "a file": "late",
      "read-only": "Read-only file system",
      "flat shows no mount below": "",
      "gone again": "",
      "made in a container, rshared": "inner",
      "made here, rslave": "outer",
      "left in the stage": "",
    });
  });
}

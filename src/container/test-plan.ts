import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { LaunchPlan } from "#api/container-runtime.ts";

/** docker's default capabilities. */
export const defaultCapabilities =
  "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
    .split(" ")
    .map((name) => `CAP_${name}`);

/** A root file system of busybox, for tests. */
export function makeRootfs(folder: string): string {
  const rootfs = join(folder, "rootfs");
  for (const name of ["bin", "proc", "sys", "dev", "tmp", "etc"]) mkdirSync(join(rootfs, name), { recursive: true });
  execFileSync("cp", ["/bin/busybox", join(rootfs, "bin/busybox")]);
  execFileSync("/bin/busybox", ["--install", "-s", join(rootfs, "bin")]);
  execFileSync("sh", [
    "-c",
    `cd ${join(rootfs, "bin")} && for a in $(busybox --list); do ln -sf busybox $a; done; cp -f /bin/busybox busybox`,
  ]);
  return rootfs;
}

/** A plan that differs from docker's defaults only in what is given. */
export function testPlan(id: string, rootfs: string, args: string[], more: Partial<LaunchPlan> = {}): LaunchPlan {
  return {
    id,
    rootfs,
    readonlyRootfs: false,
    hostname: "test",
    domainname: "",
    process: {
      args,
      env: ["PATH=/bin"],
      cwd: "/",
      uid: 0,
      gid: 0,
      additionalGids: [],
      tty: false,
      capabilities: defaultCapabilities,
      noNewPrivileges: false,
    },
    namespaces: {
      network: { kind: "host" },
      pid: { kind: "new" },
      ipc: { kind: "new" },
      uts: { kind: "new" },
      cgroup: { kind: "new" },
    },
    mounts: [],
    shmSize: 1 << 26,
    devices: [],
    privileged: false,
    cgroupPath: `gantry-t1/${id}`,
    resources: {},
    oomScoreAdj: 0,
    sysctls: {},
    maskedPaths: undefined,
    readonlyPaths: undefined,
    seccomp: "default",
    rootfsPropagation: "",
    init: false,
    annotations: {},
    openStdin: false,
    stdinOnce: false,
    log: { format: "none", path: "", maxSize: 0, maxFiles: 1, compress: false },
    ...more,
  };
}

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { LaunchPlan, StreamsPort } from "#api/container-runtime.ts";
import { newContainerId } from "#base/ids.ts";
import { silentLogger } from "#base/log.ts";
import { type Controller, cgroupVersion, readCgroupFile, removeCgroup } from "#host/cgroup.ts";
import { unmount } from "#host/mount.ts";
import { cpuWeight } from "./cgroup-update.ts";
import { ContainerRuntime } from "./container-runtime.ts";
import { RuntimeNamespace } from "./runtime-namespace.ts";
import { makeRootfs, testPlan } from "./test-plan.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-limits-"));
const runDir = join(folder, "run");
const parent = "gantry-t1-limits";
let runtime: ContainerRuntime;
let rootfs: string;

before(async () => {
  rootfs = makeRootfs(folder);
  runtime = new ContainerRuntime({ runDir, sharedRoots: [folder] }, { log: silentLogger });
  await runtime.initialise();
});

after(async () => {
  for (const id of await runtime.list()) await runtime.delete(id);
  runtime.stop();
  new RuntimeNamespace(runDir, [folder]).remove();
  unmount(folder);
  removeCgroup(parent);
  rmSync(folder, { recursive: true });
});

async function text(streams: StreamsPort): Promise<string> {
  let out = "";
  for await (const { data } of streams.output) out += Buffer.from(data).toString();
  return out;
}

const planOf = (id: string, args: string[], more: Partial<LaunchPlan>): LaunchPlan =>
  testPlan(id, rootfs, args, { cgroupPath: `${parent}/${id}`, ...more });

async function said(script: string, more: Partial<LaunchPlan> = {}): Promise<string> {
  const id = newContainerId();
  await runtime.create(planOf(id, ["sh", "-c", script], more));
  const output = runtime.attach(id).then(text);
  await runtime.start(id);
  await runtime.exited(id);
  await runtime.delete(id);
  return output;
}

async function whileItRuns(
  more: Partial<LaunchPlan>,
  work: (
    id: string,
    file: (controller: "cpu" | "cpuset" | "memory" | "pids" | "blkio", name: string) => string,
  ) => Promise<void>,
  args = ["sleep", "1000"],
): Promise<void> {
  const id = newContainerId();
  await runtime.create(planOf(id, args, more));
  try {
    await runtime.start(id);
    await work(id, (controller, name) => readCgroupFile(`${parent}/${id}`, controller, name) ?? "");
  } finally {
    await runtime.delete(id);
  }
}

/** What the kernel's files say of a container's limits, in version 1's words: bytes, microseconds, shares. */
function limitsInForce(id: string): Record<string, string> {
  const file = (controller: Controller, name: string): string =>
    readCgroupFile(`${parent}/${id}`, controller, name) ?? "";
  const common = { cpus: file("cpuset", "cpuset.cpus"), pids: file("pids", "pids.max") };
  if (cgroupVersion === 1) {
    return {
      ...common,
      memory: file("memory", "memory.limit_in_bytes"),
      withSwap: file("memory", "memory.memsw.limit_in_bytes"),
      reservation: file("memory", "memory.soft_limit_in_bytes"),
      shares: file("cpu", "cpu.shares"),
      quota: file("cpu", "cpu.cfs_quota_us"),
      period: file("cpu", "cpu.cfs_period_us"),
    };
  }
  const memory = file("memory", "memory.max");
  const [quota = "", period = ""] = file("cpu", "cpu.max").split(" ");
  // Several shares have one weight: the smallest stands for them.
  const weight = Number(file("cpu", "cpu.weight"));
  return {
    ...common,
    memory,
    withSwap: String(Number(memory) + Number(file("memory", "memory.swap.max"))),
    reservation: file("memory", "memory.low"),
    shares: [512, 2048].find((shares) => cpuWeight(shares) === weight)?.toString() ?? `weight ${weight}`,
    quota: quota === "max" ? "-1" : quota,
    period,
  };
}

test("every limit stands in the kernel's files", async () => {
  const resources = {
    Memory: 64 << 20,
    MemorySwap: 96 << 20,
    MemoryReservation: 32 << 20,
    CpuShares: 512,
    CpuPeriod: 50_000,
    CpuQuota: 25_000,
    CpusetCpus: "0",
    CpusetMems: "0",
    PidsLimit: 33,
    ...(cgroupVersion === 1 ? { MemorySwappiness: 10 } : {}),
  };
  await whileItRuns({ resources, oomScoreAdj: 321 }, async (id, file) => {
    assert.deepEqual(limitsInForce(id), {
      memory: String(64 << 20),
      withSwap: String(96 << 20),
      reservation: String(32 << 20),
      shares: "512",
      quota: "25000",
      period: "50000",
      cpus: "0",
      pids: "33",
    });
    if (cgroupVersion === 1) assert.equal(file("memory", "memory.swappiness"), "10");
    const state = await runtime.state(id);
    assert.ok(state.state === "running");
    assert.equal(readFileSync(`/proc/${state.pid}/oom_score_adj`, "utf8").trim(), "321");
  });
});

test("update changes limits while the program runs, and takes them away", async () => {
  await whileItRuns({ resources: { Memory: 64 << 20, PidsLimit: 10, NanoCpus: 5e8 } }, async (id) => {
    assert.equal(limitsInForce(id)["withSwap"], String(128 << 20));
    await runtime.update(id, {
      Memory: 256 << 20,
      MemorySwap: 512 << 20,
      PidsLimit: -1,
      NanoCpus: 1.5e9,
      CpuShares: 2048,
    });
    const { memory, withSwap, pids, quota, shares } = limitsInForce(id);
    assert.deepEqual(
      [memory, withSwap, pids, quota, shares],
      [String(256 << 20), String(512 << 20), "max", "150000", "2048"],
    );
    await runtime.update(id, { Memory: 32 << 20, MemorySwap: 32 << 20, CpuQuota: -1 });
    assert.equal(limitsInForce(id)["withSwap"], String(32 << 20));
    assert.equal(limitsInForce(id)["quota"], "-1");
    await assert.rejects(runtime.update(id, { CpusetCpus: "4000" }), { code: "invalid" });
  });
});

test("each kill for want of memory is told while the container lives, and known to a later process and at the end", async () => {
  const told: string[] = [];
  const off = runtime.onOom((id) => told.push(id));
  const resources = { Memory: 16 << 20, MemorySwap: 16 << 20 };
  const script = "for i in 1 2 3; do dd if=/dev/zero of=/dev/null bs=100M count=1; sleep 0.1; done; exec sleep 1000";
  await whileItRuns(
    { resources },
    async (id) => {
      for (let attempt = 0; attempt < 100 && told.length < 3; attempt++)
        await new Promise((resolve) => setTimeout(resolve, 20));
      assert.deepEqual(told, [id, id, id]);
      const state = await runtime.state(id);
      assert.ok(state.state === "running" && state.oomKilled);
      await runtime.kill(id, 9);
      assert.equal((await runtime.exited(id)).oomKilled, true);
      assert.equal(told.length, 3, "the end tells nothing new");
    },
    ["sh", "-c", script],
  );
  off();
});

test("ulimits, kernel settings, devices and tmpfs are what was asked", async () => {
  const plan: Partial<LaunchPlan> = {
    resources: {
      Ulimits: [
        { Name: "nofile", Soft: 100, Hard: 200 },
        { Name: "core", Soft: -1, Hard: -1 },
      ],
      DeviceCgroupRules: ["c 10:200 rwm"],
    },
    sysctls: { "kernel.msgmax": "65000" },
    devices: [{ hostPath: "/dev/kmsg", containerPath: "/dev/messages", permissions: "r" }],
    mounts: [{ type: "tmpfs", source: "tmpfs", destination: "/scratch", options: ["nosuid", "size=1048576"] }],
    shmSize: 2 << 20,
  };
  const out = await said(
    "ulimit -n; ulimit -Hn; cat /proc/sys/kernel/msgmax; ls -l /dev/messages | cut -c1; (echo x > /dev/messages) 2>&1; df -k /scratch /dev/shm | awk 'NR>1{print $2}'",
    plan,
  );
  const lines = out.trim().split("\n");
  assert.deepEqual(lines.slice(0, 4), ["100", "200", "65000", "c"]);
  assert.match(lines[4] ?? "", /not permitted/);
  assert.deepEqual(lines.slice(5), ["1024", "2048"]);
});

test("a device that is not there is refused in docker's words", async () => {
  const id = newContainerId();
  const plan = planOf(id, ["true"], {
    devices: [{ hostPath: "/dev/nothing", containerPath: "/dev/x", permissions: "rwm" }],
  });
  await assert.rejects(runtime.create(plan), {
    message: 'error gathering device information while adding custom device "/dev/nothing": no such file or directory',
  });
  assert.deepEqual(await runtime.list(), []);
});

test("a privileged container has the machine's devices, all capabilities and no filter", async () => {
  const out = await said(
    "ls /dev/kmsg /dev/mine; grep Seccomp: /proc/self/status; mount -t tmpfs x /tmp && echo mounted; test -w /proc/sys/kernel/core_pattern && echo writable",
    {
      privileged: true,
      seccomp: "unconfined",
      devices: [
        { hostPath: "/dev/null", containerPath: "/dev/mine", permissions: "rwm" },
        { hostPath: "/dev/zero", containerPath: "/dev/zero", permissions: "rwm" },
      ],
      process: {
        ...planOf("x", ["x"], {}).process,
        args: [
          "sh",
          "-c",
          "ls /dev/kmsg /dev/mine; grep Seccomp: /proc/self/status; mount -t tmpfs x /tmp && echo mounted",
        ],
        capabilities: ["CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_SYS_CHROOT", "CAP_DAC_OVERRIDE"],
      },
    },
  );
  assert.equal(out, "/dev/kmsg\n/dev/mine\nSeccomp:\t0\nmounted\n");
});

test("the filter refuses what docker's refuses, also in an exec, and a given profile is in force", async () => {
  // unshare(2) of a user namespace needs no capability: only the filter can refuse it.
  const out = await said("unshare -U true 2>&1; unshare -m true 2>&1");
  assert.match(out, /not permitted[\s\S]*not permitted/);
  assert.equal(await said("unshare -U true && echo made", { seccomp: "unconfined" }), "made\n");
  await whileItRuns({}, async (id) => {
    const exec = planOf(id, [], {}).process;
    const probe = await runtime.execSync(
      id,
      { ...exec, args: ["sh", "-c", "grep Seccomp: /proc/self/status; unshare -U true 2>&1"] },
      { timeoutMs: 5000 },
    );
    assert.match(probe.stdout.toString(), /Seccomp:\t2\n.*not permitted/);
  });
  const profile = {
    defaultAction: "SCMP_ACT_ALLOW",
    syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 28 }],
  };
  assert.match(await said("mkdir /tmp/a 2>&1", { seccomp: { profile } }), /No space left/);
});

test("a probe that takes too long is ended with all that it started", async () => {
  await whileItRuns({}, async (id) => {
    const { process } = planOf(id, ["sleep", "777"], {});
    await assert.rejects(runtime.execSync(id, process, { timeoutMs: 300 }), { code: "timeout" });
    for (let attempt = 0; attempt < 50 && (await runtime.processes(id)).length > 1; attempt++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal((await runtime.processes(id)).length, 1);
  });
});

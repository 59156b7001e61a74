// Limits are what was asked, as the kernel's counters and `docker stats` show under the load of stress-ng.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ioWeight } from "#container/cgroup-update.ts";
import { type Outcome, TestInstance, eventually } from "../acceptance/instance.ts";
import { cgroupFile, readNumbers } from "./container-cgroup.ts";
import { stressTar } from "./stress-image.ts";

const instance = new TestInstance(`course-limits-${process.pid}`);
const image = "stress:1";
const mebibyte = 1024 * 1024;

/** Why there is no stress-ng; undefined when there is. */
let lack: string | undefined;

before(() => {
  const tar = join(instance.folder, "stress.tar");
  try {
    stressTar(tar);
  } catch (error) {
    lack = `stress-ng cannot be had from Debian's archive: ${(error as Error).message}`;
    return;
  }
  instance.up();
  const library = ["-c", "ENV LD_LIBRARY_PATH=/usr/lib", "-c", "ENV PATH=/bin"];
  instance.docker("import", ...library, "-c", 'ENTRYPOINT ["stress-ng"]', tar, image);
});
after(() => instance.reset());

/** A test that needs stress-ng, and removes its containers. `work` gives the reason when it cannot be done here. */
function limited(sentence: string, work: () => Promise<string | undefined>): void {
  test(sentence, async (context) => {
    if (lack !== undefined) return context.skip(lack);
    try {
      const reason = await work();
      if (reason !== undefined) context.skip(reason);
    } finally {
      const ids = instance.docker("ps", "-aq").split("\n").filter(Boolean);
      if (ids.length > 0) instance.docker("rm", "-f", ...ids);
    }
  });
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const inspect = (format: string, name: string): string => instance.docker("inspect", "-f", format, name).trim();
const pidOf = (name: string): number => Number(inspect("{{.State.Pid}}", name));
const run = (name: string, options: string[], ...args: string[]): Outcome =>
  instance.run("docker", ["run", "--name", name, "--network", "none", ...options, image, ...args]);
const start = (name: string, options: string[], ...args: string[]): void => {
  const { status, stderr } = run(name, ["-d", ...options], ...args);
  assert.equal(status, 0, stderr);
};

/** CPU time of a container so far, in seconds. */
function cpuSeconds(pid: number): number {
  const file = cgroupFile(pid, "cpuacct", { v1: "cpuacct.usage", v2: "cpu.stat" });
  const text = readFileSync(file, "utf8");
  const usec = /usage_usec (\d+)/.exec(text)?.[1];
  return usec === undefined ? Number(text) / 1e9 : Number(usec) / 1e6;
}

/** How many CPUs' worth of time each process's container takes, measured together for some seconds. */
async function cpusTaken(pids: readonly number[], seconds: number): Promise<number[]> {
  const begin = performance.now();
  const before_ = pids.map(cpuSeconds);
  await sleep(seconds * 1000);
  const after_ = pids.map(cpuSeconds);
  const elapsed = (performance.now() - begin) / 1000;
  return after_.map((value, index) => (value - (before_[index] as number)) / elapsed);
}

interface Stats {
  cpu: number;
  pids: number;
  limit: string;
}

function stats(name: string): Stats {
  const format = "{{.CPUPerc}}|{{.PIDs}}|{{.MemUsage}}";
  const [cpu = "", pids = "", memory = ""] = instance
    .docker("stats", "--no-stream", "--format", format, name)
    .trim()
    .split("|");
  return { cpu: Number.parseFloat(cpu), pids: Number(pids), limit: memory.split(" / ")[1] ?? "" };
}

limited("what fits into the memory limit runs; what does not is killed, as inspect and events tell", async () => {
  const within = run("fits", ["-m", "128m"], "--vm", "1", "--vm-bytes", "32m", "--vm-keep", "--timeout", "1");
  assert.equal(within.status, 0, within.stderr);
  assert.equal(inspect("{{.State.OOMKilled}}", "fits"), "false");
  const limits = ["-m", "64m", "--memory-swap", "64m"];
  // stress-ng itself lives, and says that its worker did not.
  run("bursts", limits, "--vm", "1", "--vm-bytes", "256m", "--vm-keep", "--oomable", "--timeout", "10");
  assert.equal(inspect("{{.State.OOMKilled}}", "bursts"), "true");
  // The CLI cuts "now" to a whole second: what has just happened comes with the next one.
  const format = "{{.Actor.Attributes.name}}";
  const names = (): string =>
    instance.docker("events", "--since", "5m", "--until", "0s", "--filter", "event=oom", "--format", format);
  await eventually("the event is told", () => names() !== "", 5_000);
  assert.deepEqual([...new Set(names().trim().split("\n"))], ["bursts"]);
  // The first process itself: docker's 137.
  const grow = ["sh", "-c", "exec /bin/busybox tail -c 500m /dev/zero"];
  const itself = instance.run(
    "docker",
    ["run", "--name", "itself", "--network", "none"].concat(limits, "--entrypoint", "busybox", image, grow),
  );
  assert.equal(itself.status, 137);
  assert.equal(inspect("{{.State.OOMKilled}} {{.State.ExitCode}}", "itself"), "true 137");
  return undefined;
});

limited("an update of memory is in force at once, in both directions", async () => {
  const command = ["--vm", "1", "--vm-bytes", "48m", "--vm-keep", "--vm-hang", "0", "--oomable", "--timeout", "60"];
  start("grows", ["-m", "256m", "--memory-swap", "256m"], ...command);
  const limit = cgroupFile(pidOf("grows"), "memory", { v1: "memory.limit_in_bytes", v2: "memory.max" });
  assert.deepEqual(readNumbers(limit), [256 * mebibyte]);
  assert.equal(stats("grows").limit, "256MiB");
  instance.docker("update", "-m", "512m", "--memory-swap", "512m", "grows");
  assert.deepEqual(readNumbers(limit), [512 * mebibyte]);
  assert.equal(stats("grows").limit, "512MiB");
  assert.equal(inspect("{{.HostConfig.Memory}}", "grows"), String(512 * mebibyte));
  instance.docker("update", "-m", "128m", "--memory-swap", "128m", "grows");
  assert.deepEqual(readNumbers(limit), [128 * mebibyte]);
  assert.equal(inspect("{{.State.Running}}", "grows"), "true");
  return undefined;
});

limited("half a CPU is half a CPU, as counters and stats show, and an update changes it live", async () => {
  start("half", ["--cpus", "0.5"], "--cpu", "2", "--timeout", "60");
  const pid = pidOf("half");
  await sleep(500);
  const [taken = 0] = await cpusTaken([pid], 5);
  // From above the quota binds sharply; from below a busy machine may give less.
  assert.ok(taken > 0.2 && taken < 0.6, `took ${taken} CPUs`);
  const { cpu } = stats("half");
  assert.ok(cpu > 10 && cpu < 75, `stats show ${cpu} %`);
  const throttled = (): number => {
    const file = cgroupFile(pid, "cpu", { v1: "cpu.stat", v2: "cpu.stat" });
    return Number(/nr_throttled (\d+)/.exec(readFileSync(file, "utf8"))?.[1]);
  };
  assert.ok(throttled() > 5);
  instance.docker("update", "--cpus", "0.1", "half");
  await sleep(300);
  const [less = 0] = await cpusTaken([pid], 3);
  assert.ok(less > 0.02 && less < 0.16, `took ${less} CPUs after the update to 0.1`);
  return undefined;
});

limited("relative shares of 2 to 1 divide one CPU 2 to 1, and an update turns them around", async () => {
  const one = ["--cpuset-cpus", "0"];
  const load = ["--cpu", "1", "--timeout", "90"];
  start("double", [...one, "--cpu-shares", "1024"], ...load);
  start("single", [...one, "--cpu-shares", "512"], ...load);
  const pids = [pidOf("double"), pidOf("single")];
  await sleep(500);
  const ratio = async (): Promise<number> => {
    const [first = 0, second = 1] = await cpusTaken(pids, 5);
    assert.ok(first + second < 1.1, `took ${first + second} CPUs of one`);
    return first / second;
  };
  const asked = await ratio();
  assert.ok(asked > 1.5 && asked < 2.7, `the ratio is ${asked}`);
  instance.docker("update", "--cpu-shares", "256", "double");
  await sleep(300);
  const turned = await ratio();
  assert.ok(turned > 0.35 && turned < 0.7, `the ratio after the update is ${turned}`);
  const allowed = readFileSync(`/proc/${pids[0]}/status`, "utf8");
  assert.match(allowed, /^Cpus_allowed_list:\t0$/m);
  return undefined;
});

limited("the limit of processes holds, shows in stats, and is lifted by an update", async () => {
  const many = ["--entrypoint", "busybox", "--pids-limit", "8"];
  const script = "for i in $(busybox seq 30); do busybox sleep 60 & done; wait";
  start("forks", many, "sh", "-c", `(${script}); busybox sleep 60`);
  await eventually("the shell has run into the limit", () => /can't fork/.test(forkErrors()), 20_000);
  const max = cgroupFile(pidOf("forks"), "pids", { v1: "pids.max", v2: "pids.max" });
  assert.deepEqual(readNumbers(max), [8]);
  assert.ok(stats("forks").pids <= 8);
  instance.docker("update", "--pids-limit", "64", "forks");
  assert.deepEqual(readNumbers(max), [64]);
  instance.docker("exec", "forks", "busybox", "sh", "-c", `${script.replaceAll("60", "0.1")}`);
  return undefined;
});
const forkErrors = (): string => instance.run("docker", ["logs", "forks"]).stderr;

limited("block devices are throttled to the bytes that were asked for", async () => {
  const device = ["/dev/vda", "/dev/sda", "/dev/nvme0n1"].find((path) => existsSync(path));
  if (device === undefined) return "this machine has no disk of its own";
  start("reads", ["--device-read-bps", `${device}:1mb`], "--cpu", "1", "--timeout", "30");
  const v1 = "blkio.throttle.read_bps_device";
  const file = cgroupFile(pidOf("reads"), "blkio", { v1, v2: "io.max" });
  assert.match(readFileSync(file, "utf8"), /^\d+:\d+ (1048576$|rbps=1048576)/m);
  return undefined;
});

limited("a block I/O weight is in force, or discarded with docker's warning where the kernel knows none", async () => {
  const options = ["-d", "--blkio-weight", "300", "--entrypoint", "busybox"];
  const { status, stderr } = run("weighs", options, "sleep", "60");
  assert.equal(status, 0, stderr);
  const weight = inspect("{{.HostConfig.BlkioWeight}}", "weighs");
  if (weight === "300") {
    const names = [
      { v1: "blkio.bfq.weight", v2: "io.bfq.weight" },
      { v1: "blkio.weight", v2: "io.weight" },
    ];
    const files = names.map((each) => cgroupFile(pidOf("weighs"), "blkio", each));
    const file = files.find((path) => existsSync(path)) as string;
    // Without BFQ, version 2 has a range of its own.
    const shown = (value: number): string => `default ${file.endsWith("/io.weight") ? ioWeight(value) : value}`;
    const inForce = (): string =>
      readFileSync(file, "utf8")
        .trim()
        .replace(/^(?=\d)/, "default ");
    assert.equal(inForce(), shown(300));
    instance.docker("update", "--blkio-weight", "500", "weighs");
    assert.equal(inForce(), shown(500));
    return undefined;
  }
  assert.equal(weight, "0");
  assert.match(stderr, /^WARNING: Your kernel does not support Block I\/O weight .* Weight discarded\.$/m);
  return undefined;
});

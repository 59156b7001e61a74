import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { LaunchPlan, StreamsPort } from "#api/container-runtime.ts";
import { newContainerId } from "#base/ids.ts";
import { silentLogger } from "#base/log.ts";
import { readCgroup, removeCgroup } from "#host/cgroup.ts";
import { unmount } from "#host/mount.ts";
import { ContainerRuntime } from "./container-runtime.ts";
import { RuntimeNamespace } from "./runtime-namespace.ts";
import { makeRootfs, testPlan } from "./test-plan.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-container-"));
const runDir = join(folder, "run");
const options = { runDir, sharedRoots: [folder] };
let runtime: ContainerRuntime;
let rootfs: string;

before(async () => {
  rootfs = makeRootfs(folder);
  runtime = new ContainerRuntime(options, { log: silentLogger });
  await runtime.initialise();
});

after(async () => {
  for (const id of await runtime.list()) await runtime.delete(id);
  runtime.stop();
  new RuntimeNamespace(runDir, [folder]).remove();
  unmount(folder);
  removeCgroup("gantry-t1");
  rmSync(folder, { recursive: true });
});

async function collect(streams: StreamsPort): Promise<{ stdout: string; stderr: string }> {
  const out = { stdout: "", stderr: "" };
  for await (const { stream, data } of streams.output) out[stream] += Buffer.from(data).toString();
  return out;
}

async function runToEnd(
  args: string[],
  more: Partial<LaunchPlan> = {},
): Promise<{ stdout: string; stderr: string; code: number; oom: boolean }> {
  const id = newContainerId();
  await runtime.create(testPlan(id, rootfs, args, more));
  const streams = await runtime.attach(id);
  const output = collect(streams);
  await runtime.start(id);
  const { exitCode, oomKilled } = await runtime.exited(id);
  const result = { ...(await output), code: exitCode, oom: oomKilled };
  await runtime.delete(id);
  return result;
}

test("a container's output, exit code and streams come back", async () => {
  const result = await runToEnd(["sh", "-c", "echo out; echo err >&2; exit 3"]);
  assert.deepEqual(result, { stdout: "out\n", stderr: "err\n", code: 3, oom: false });
});

test("a container is process 1 of its own, under docker's capabilities and its seccomp filter", async () => {
  const { stdout } = await runToEnd([
    "sh",
    "-c",
    "echo $$; hostname; grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status; mount -t tmpfs x /tmp 2>&1; cat /proc/kcore | wc -c",
  ]);
  assert.match(stdout, /^1\ntest\n/);
  assert.match(stdout, /CapEff:\t00000000a80425fb/);
  assert.match(stdout, /Seccomp:\t2/);
  assert.match(stdout, /permission denied|Operation not permitted/i);
  assert.match(stdout, /\n0\n$/);
});

test("stdin reaches the program, and its end does too", async () => {
  const id = newContainerId();
  await runtime.create(testPlan(id, rootfs, ["sh", "-c", "cat; echo end"], { openStdin: true, stdinOnce: true }));
  const streams = await runtime.attach(id);
  const output = collect(streams);
  await runtime.start(id);
  // More than any buffer on the way holds.
  const large = "x".repeat(5_000_000);
  await streams.write(Buffer.from(`hello\n${large}\n`));
  streams.closeStdin();
  assert.equal((await runtime.exited(id)).exitCode, 0);
  assert.equal((await output).stdout, `hello\n${large}\nend\n`);
  await runtime.delete(id);
});

test("a terminal has the size it is given, before and after a resize", async () => {
  const id = newContainerId();
  const plan = testPlan(id, rootfs, ["sh", "-c", "stty size; read line; stty size"], { openStdin: true });
  await runtime.create({ ...plan, process: { ...plan.process, tty: true, consoleSize: [20, 70] } });
  const streams = await runtime.attach(id);
  const output = collect(streams);
  await runtime.start(id);
  await new Promise((resolve) => setTimeout(resolve, 150));
  await runtime.resize(id, { height: 33, width: 99 });
  await new Promise((resolve) => setTimeout(resolve, 100));
  await streams.write(Buffer.from("\n"));
  await runtime.exited(id);
  const { stdout } = await output;
  assert.match(stdout, /33 99/);
  await runtime.delete(id);
});

test("exec runs beside the program, with its own streams and exit code", async () => {
  const id = newContainerId();
  const plan = testPlan(id, rootfs, ["sleep", "1000"]);
  await runtime.create(plan);
  await runtime.start(id);
  const session = await runtime.exec(id, {
    ...plan.process,
    args: ["sh", "-c", "echo hi; cat; exit 7"],
    privileged: false,
    stdin: true,
  });
  const output = collect(session.streams);
  await session.streams.write(Buffer.from("in\n"));
  session.streams.closeStdin();
  assert.equal(await session.exited, 7);
  assert.equal((await output).stdout, "hi\nin\n");
  await assert.rejects(runtime.exec(id, { ...plan.process, args: ["nope"], privileged: false, stdin: false }), {
    code: "not-found",
  });
  const probe = await runtime.execSync(
    id,
    { ...plan.process, args: ["sh", "-c", "echo ok; exit 2"] },
    { timeoutMs: 5000 },
  );
  assert.deepEqual([probe.code, probe.stdout.toString()], [2, "ok\n"]);
  await runtime.kill(id, 9);
  assert.equal((await runtime.exited(id)).exitCode, 137);
  await runtime.delete(id);
});

test("a program that is not there or cannot be run is told as 127 or 126", async () => {
  const fails = async (args: string[]): Promise<unknown> => {
    const id = newContainerId();
    try {
      await runtime.create(testPlan(id, rootfs, args));
      await runtime.start(id);
      return undefined;
    } catch (error) {
      return (error as { data: { exitCode: number } }).data.exitCode;
    } finally {
      await runtime.delete(id);
    }
  };
  assert.equal(await fails(["nope"]), 127);
  assert.equal(await fails(["/etc"]), 126);
});

test("limits are in force, and killing for want of memory is known", async () => {
  const id = newContainerId();
  const resources = { Memory: 32 << 20, MemorySwap: 32 << 20, NanoCpus: 5e8, PidsLimit: 50 };
  await runtime.create(testPlan(id, rootfs, ["sleep", "1000"], { resources }));
  await runtime.start(id);
  const reading = await runtime.read(id);
  assert.deepEqual([reading.memory.limit, reading.pids.limit], [32 << 20, 50]);
  await runtime.update(id, { Memory: 64 << 20, MemorySwap: 64 << 20 });
  assert.equal(readCgroup(`gantry-t1/${id}`).memory.limit, 64 << 20);
  await runtime.kill(id, 9);
  await runtime.exited(id);
  await runtime.delete(id);
  const eater = await runToEnd(["sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1"], {
    resources: { Memory: 16 << 20, MemorySwap: 16 << 20 },
  });
  assert.deepEqual([eater.code, eater.oom], [137, true]);
});

test("pause stops the program and resume lets it go on", async () => {
  const id = newContainerId();
  await runtime.create(testPlan(id, rootfs, ["sleep", "1000"]));
  await runtime.start(id);
  await runtime.pause(id);
  assert.equal((await runtime.state(id)).state, "paused");
  await runtime.resume(id);
  assert.equal((await runtime.state(id)).state, "running");
  await runtime.kill(id, 9);
  await runtime.exited(id);
  await runtime.delete(id);
});

test("another process finds containers again: running ones, and the exits it missed", async () => {
  const running = newContainerId();
  const ended = newContainerId();
  await runtime.create(testPlan(running, rootfs, ["sleep", "1000"]));
  await runtime.create(testPlan(ended, rootfs, ["sh", "-c", "exit 5"]));
  await runtime.start(running);
  await runtime.start(ended);
  await runtime.exited(ended);
  const second = new ContainerRuntime(options, { log: silentLogger });
  await second.initialise();
  assert.equal((await second.state(running)).state, "running");
  const state = await second.state(ended);
  assert.ok(state.state === "exited" && state.exit.exitCode === 5 && state.exit.finishedAt > Date.now() - 60_000);
  assert.equal((await second.state("never")).state, "absent");
  const exited = second.exited(running);
  await second.kill(running, 15);
  await second.kill(running, 9);
  assert.equal((await exited).exitCode, 137);
  second.stop();
  await runtime.delete(running);
  await runtime.delete(ended);
});

test("a container whose monitor is killed is ended, not lost", async () => {
  const id = newContainerId();
  await runtime.create(testPlan(id, rootfs, ["sleep", "1000"]));
  await runtime.start(id);
  const exited = runtime.exited(id);
  const conmon = Number((await import("node:fs")).readFileSync(join(runDir, "bundles", id, "conmon.pid"), "utf8"));
  process.kill(conmon, "SIGKILL");
  assert.equal((await exited).exitCode, 137);
  await runtime.delete(id);
});

test("logs are read whole, from the end, since a time, and followed to the end", async () => {
  const id = newContainerId();
  const log = { format: "json-file", path: join(folder, "log"), maxSize: 0, maxFiles: 1, compress: false } as const;
  await runtime.create(
    testPlan(id, rootfs, ["sh", "-c", "for i in 1 2 3; do echo line $i; done; sleep 0.3; printf last; echo >&2 err"], {
      log,
    }),
  );
  let over = false;
  const exited = runtime.exited(id).then(() => {
    over = true;
  });
  const read = async (extra: object): Promise<string> => {
    let text = "";
    for await (const lines of runtime.readLog(log, { follow: false, ended: () => over, ...extra }))
      for (const { data } of lines) text += Buffer.from(data).toString();
    return text;
  };
  await runtime.start(id);
  const followed = read({ follow: true });
  await exited;
  assert.equal((await followed).replace("err\n", ""), "line 1\nline 2\nline 3\nlast");
  assert.equal(await read({ tail: 0 }), "");
  assert.match(await read({ tail: 2 }), /last|err/);
  assert.equal(await read({ since: Date.now() + 10_000 }), "");
  assert.ok(statSync(log.path).size > 0);
  await runtime.delete(id);
});

test("containers taken away while they and their execs run, or had no program, leave nothing, also a moment later", async () => {
  const one = async (index: number): Promise<void> => {
    const id = newContainerId();
    const plan = testPlan(id, rootfs, index % 3 === 0 ? ["nope"] : ["sleep", "1000"]);
    const isThere = await runtime.create(plan).then(
      () => true,
      () => false,
    );
    assert.equal(isThere, index % 3 !== 0);
    if (!isThere) return;
    if (index % 3 === 1) await runtime.start(id);
    const exec =
      index % 3 === 1
        ? await runtime.exec(id, { ...plan.process, args: ["sleep", "1000"], privileged: false, stdin: false })
        : undefined;
    await runtime.delete(id);
    if (exec !== undefined) assert.equal(await exec.exited, 137);
  };
  for (let round = 0; round < 3; round++) await Promise.all(Array.from({ length: 15 }, (_, index) => one(index)));
  assert.deepEqual(await runtime.list(), []);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual(await runtime.list(), []);
  assert.deepEqual(readdirSync(join(runDir, "exits")), []);
});

test("fifty containers start side by side and leave nothing", async () => {
  const started = performance.now();
  const results = await Promise.all(Array.from({ length: 50 }, () => runToEnd(["true"])));
  assert.ok(results.every((result) => result.code === 0));
  assert.deepEqual(await runtime.list(), []);
  console.log(`50 containers in ${Math.round(performance.now() - started)} ms`);
});

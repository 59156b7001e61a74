import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  cgroupFolders,
  cgroupProcesses,
  cgroupVersion,
  makeCgroup,
  readCgroup,
  readCgroupFile,
  removeCgroup,
  workingSet,
  writeCgroup,
} from "./cgroup.ts";
import { type ChildProcess, start } from "./spawn.ts";

let child: ChildProcess | undefined;
const path = `gantry-t1-host-${process.pid}`;
after(async () => {
  child?.kill("SIGKILL");
  await child?.exited;
  removeCgroup(path);
  assert.deepEqual(cgroupFolders(path), []);
});

test("a group is made, takes a process and its limits, counts, and goes when empty", async () => {
  makeCgroup(`${path}/inner`);
  assert.ok(cgroupFolders(path).length > 0);
  child = start({ argv: ["sh", "-c", "while :; do :; done"] });
  for (const controller of ["cpuacct", "memory", "pids", "freezer"] as const)
    writeCgroup(`${path}/inner`, controller, "cgroup.procs", child.pid);
  assert.deepEqual(cgroupProcesses(path), [child.pid], "those of inner groups count");
  writeCgroup(`${path}/inner`, "memory", cgroupVersion === 2 ? "memory.max" : "memory.limit_in_bytes", 64 << 20);
  writeCgroup(`${path}/inner`, "pids", "pids.max", 17);
  await new Promise((resolve) => setTimeout(resolve, 200));
  const reading = readCgroup(`${path}/inner`);
  assert.equal(reading.memory.limit, 64 << 20);
  assert.deepEqual(reading.pids, { current: 1, limit: 17 });
  assert.ok(reading.cpu.total > 50e6, `it ran ${reading.cpu.total} ns`);
  assert.ok(workingSet(reading) <= reading.memory.usage);
  assert.equal(readCgroup(path).memory.limit, Number.POSITIVE_INFINITY);
  assert.equal(removeCgroup(path), false, "a group with a process stays");
  child.kill("SIGKILL");
  await child.exited;
  assert.equal(removeCgroup(path), true);
});

test("a group that is not there reads as zeros and is removed without a word", () => {
  const reading = readCgroup(`${path}/none`);
  assert.deepEqual([reading.cpu.total, reading.memory.usage, reading.pids.current], [0, 0, 0]);
  assert.deepEqual(cgroupProcesses(`${path}/none`), []);
  assert.equal(readCgroupFile(`${path}/none`, "memory", "memory.stat"), undefined);
  assert.equal(removeCgroup(`${path}/none`), true);
});

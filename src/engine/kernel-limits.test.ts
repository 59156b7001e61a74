import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { kernelLimits, limitWarnings } from "./kernel-limits.ts";

function cgroups(context: TestContext, files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), "gantry-limits-"));
  context.after(() => rmSync(root, { recursive: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  return root;
}

const v1 = ["cpu/cpu.cfs_period_us", "cpu/cpu.cfs_quota_us", "cpu/cpu.shares", "cpuset/cpuset.cpus"];

test("version 1: the warning of missing swap accounting comes where it is missing, and only there", (context) => {
  const files = Object.fromEntries([...v1, "memory/memory.limit_in_bytes"].map((name) => [name, ""]));
  assert.deepEqual(limitWarnings(kernelLimits(1, cgroups(context, files))), ["WARNING: No swap limit support"]);
  const withSwap = cgroups(context, { ...files, "memory/memory.memsw.limit_in_bytes": "" });
  assert.deepEqual(limitWarnings(kernelLimits(1, withSwap)), []);
});

test("version 2: a group's files tell of swap, the list of controllers of the rest", (context) => {
  const files = { "cgroup.controllers": "cpuset cpu io memory pids\n", "a/b/memory.max": "max\n" };
  const without = cgroups(context, files);
  assert.deepEqual(limitWarnings(kernelLimits(2, without, "/a/b")), ["WARNING: No swap limit support"]);
  const withSwap = cgroups(context, { ...files, "a/b/memory.swap.max": "max\n" });
  assert.deepEqual(limitWarnings(kernelLimits(2, withSwap, "/a/b")), []);
  const little = cgroups(context, { "cgroup.controllers": "cpu pids\n" });
  assert.deepEqual(limitWarnings(kernelLimits(2, little, "/")), [
    "WARNING: No memory limit support",
    "WARNING: No swap limit support",
    "WARNING: No cpuset support",
  ]);
});

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import type { HostConfig } from "#api/docker/container-types.ts";
import { discardUnsupported, limitSupport } from "./discarded-limits.ts";

const nothing = {
  swap: false,
  swappiness: false,
  oomKillDisable: false,
  blkioWeight: false,
  blkioWeightDevice: false,
};
const everything = {
  swap: true,
  swappiness: true,
  oomKillDisable: true,
  blkioWeight: true,
  blkioWeightDevice: true,
};
const asked = (): HostConfig => ({
  Memory: 1 << 26,
  MemorySwap: 1 << 27,
  MemorySwappiness: 10,
  OomKillDisable: true,
  BlkioWeight: 300,
  BlkioWeightDevice: [{ Path: "/dev/null", Weight: 100 }],
});

test("limits that the kernel does not know are discarded, each with docker's warning", () => {
  const host = asked();
  const warnings = discardUnsupported(host, () => nothing);
  assert.equal(warnings.length, 5);
  assert.ok(warnings.includes("Your kernel does not support OomKillDisable. OomKillDisable discarded."));
  assert.deepEqual(host, {
    Memory: 1 << 26,
    MemorySwap: -1,
    MemorySwappiness: null,
    OomKillDisable: null,
    BlkioWeight: 0,
    BlkioWeightDevice: [],
  });
});

test("limits that the kernel knows stay as they are, without a warning", () => {
  const host = asked();
  assert.deepEqual(
    discardUnsupported(host, () => everything),
    [],
  );
  assert.deepEqual(host, asked());
  const unlimited: HostConfig = { OomKillDisable: true };
  assert.match(discardUnsupported(unlimited, () => everything).join(), /^OOM killer is disabled for the container/);
});

test("a weight is known when any group has its file", (context) => {
  const root = mkdtempSync(join(tmpdir(), "gantry-support-"));
  context.after(() => rmSync(root, { recursive: true }));
  const add = (name: string): void => {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), "");
  };
  add("blkio/blkio.reset_stats");
  assert.equal(limitSupport(1, root).blkioWeight, false);
  add("blkio/some/blkio.bfq.weight");
  assert.equal(limitSupport(1, root).blkioWeight, true);
  assert.equal(limitSupport(1, root).blkioWeightDevice, false);
});

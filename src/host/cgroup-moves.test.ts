import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { expectCgroupMove } from "./cgroup-moves.ts";

test("expecting a move leaves us where we are", async () => {
  const own = (): string => readFileSync("/proc/self/cgroup", "utf8");
  const before = own();
  expectCgroupMove();
  expectCgroupMove();
  await pause(60);
  assert.equal(own(), before);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultMaskedPaths, numbersOf } from "./masked-paths.ts";

test("the kernel's lists of numbers are read", () => {
  assert.deepEqual(numbersOf("0-3\n"), [0, 1, 2, 3]);
  assert.deepEqual(numbersOf("0,2-3,8\n"), [0, 2, 3, 8]);
  assert.deepEqual(numbersOf("\n"), []);
});

test("what tells of others is hidden", () => {
  const paths = defaultMaskedPaths();
  for (const path of ["/proc/kcore", "/proc/interrupts", "/sys/devices/virtual/powercap"])
    assert.ok(paths.includes(path));
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileSystemName } from "./file-system-name.ts";

test("a file system has docker's name for it", async () => {
  assert.equal(await fileSystemName("/dev/shm"), "tmpfs");
  assert.equal(await fileSystemName("/proc"), "<unknown>");
});

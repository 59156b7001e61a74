import assert from "node:assert/strict";
import { closeSync, fstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { errnoOf } from "./libc.ts";
import { openBeneath } from "./open-beneath.ts";

let base = "";

before(() => {
  base = mkdtempSync(join(tmpdir(), "gantry-beneath-"));
  mkdirSync(join(base, "a/b"), { recursive: true });
  writeFileSync(join(base, "a/file"), "x");
  symlinkSync("a/b", join(base, "inside"));
  symlinkSync("/etc", join(base, "absolute"));
  symlinkSync("../..", join(base, "a/up"));
  symlinkSync("loop", join(base, "loop"));
});

after(() => rmSync(base, { recursive: true, force: true }));

function kindOf(path: string): string {
  const descriptor = openBeneath(base, path);
  try {
    return fstatSync(descriptor).isDirectory() ? "folder" : "file";
  } finally {
    closeSync(descriptor);
  }
}

test("folders and files below the base are opened, also through links that stay inside", () => {
  assert.equal(kindOf("a/b"), "folder");
  assert.equal(kindOf("a/file"), "file");
  assert.equal(kindOf("inside"), "folder");
  assert.equal(kindOf("a/../a/b"), "folder");
});

test("what leads out is refused", () => {
  for (const path of ["..", "a/../..", "absolute", "absolute/passwd", "a/up/etc", "/etc"]) {
    assert.throws(
      () => openBeneath(base, path),
      (thrown) => errnoOf(thrown) === "EXDEV",
      path,
    );
  }
});

test("what is not there, no folder, or a circle of links is told apart", () => {
  const errno = (path: string): string | undefined => {
    try {
      closeSync(openBeneath(base, path));
      return undefined;
    } catch (thrown) {
      return errnoOf(thrown);
    }
  };
  assert.equal(errno("nothing"), "ENOENT");
  assert.equal(errno("a/file/x"), "ENOTDIR");
  assert.equal(errno("loop"), "ELOOP");
});

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  bindMount,
  isMounted,
  isMountPoint,
  listMounts,
  mount,
  setPropagation,
  unmount,
  unmountFileSystem,
} from "./mount.ts";
import { run } from "./run.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry mount-"));
const path = (name: string): string => {
  mkdirSync(join(folder, name), { recursive: true });
  return join(folder, name);
};

after(() => {
  for (const { target } of listMounts().reverse()) if (target.startsWith(folder)) unmount(target);
  rmSync(folder, { recursive: true });
});

test("a tmpfs is mounted, found by its name with a blank, and taken away once", () => {
  const target = path("a b");
  mount({ source: "tmpfs", target, type: "tmpfs", data: "size=1m,mode=700" });
  assert.ok(isMounted(target));
  const found = listMounts().find((entry) => entry.target === target);
  assert.deepEqual([found?.type, found?.source, found?.shared], ["tmpfs", "tmpfs", false]);
  assert.equal(unmount(target), true);
  assert.equal(unmount(target), false);
  assert.equal(unmount(join(folder, "nowhere")), false);
  assert.equal(isMounted(target), false);
});

test("file systems on top of each other are taken away in another thread, all of them", async () => {
  const target = path("stack");
  assert.equal(isMountPoint(target), false);
  assert.equal(isMountPoint(join(folder, "nowhere")), false);
  for (let count = 0; count < 2; count++) mount({ source: "tmpfs", target, type: "tmpfs" });
  assert.equal(isMountPoint(target), true);
  await unmountFileSystem(target);
  assert.equal(isMounted(target), false);
  await unmountFileSystem(target);
  await unmountFileSystem(join(folder, "nowhere"));
});

test("a bind mount shows its source, and a read-only one takes no writes", () => {
  const source = path("source");
  writeFileSync(join(source, "file"), "content");
  const target = path("target");
  bindMount(source, target, { readOnly: true });
  assert.equal(readFileSync(join(target, "file"), "utf8"), "content");
  assert.throws(() => writeFileSync(join(target, "file"), "x"), { code: "EROFS" });
  writeFileSync(join(source, "file"), "other");
  unmount(target);
});

test("an overlay joins layers, and writes go to the top", () => {
  const [lower, upper, work, target] = ["lower", "upper", "work", "merged"].map(path) as [
    string,
    string,
    string,
    string,
  ];
  writeFileSync(join(lower, "below"), "1");
  mount({ source: "overlay", target, type: "overlay", data: `lowerdir=${lower},upperdir=${upper},workdir=${work}` });
  writeFileSync(join(target, "above"), "2");
  assert.equal(readFileSync(join(target, "below"), "utf8"), "1");
  unmount(target);
  assert.equal(readFileSync(join(upper, "above"), "utf8"), "2");
});

test("a shared mount is told from a private one, and passes mounts on", async () => {
  const shared = path("shared");
  bindMount(shared, shared);
  setPropagation(shared, "shared");
  assert.equal(listMounts().find((entry) => entry.target === shared)?.shared, true);
  const inner = path("shared/inner");
  // A namespace that was made before sees what is mounted after.
  const child = run(["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", "sleep 0.3; cat inner/word"], {
    cwd: shared,
  });
  await new Promise((resolve) => setTimeout(resolve, 100));
  mount({ source: "tmpfs", target: inner, type: "tmpfs" });
  writeFileSync(join(inner, "word"), "seen");
  assert.equal((await child).stdout, "seen");
  unmount(inner);
  unmount(shared);
});

test("a refused mount names call, errno and path", () => {
  assert.throws(
    () => mount({ source: "none", target: join(folder, "missing"), type: "tmpfs" }),
    (error: { data: Record<string, unknown>; code: string }) =>
      error.code === "not-found" && error.data["errno"] === "ENOENT" && error.data["syscall"] === "mount",
  );
  assert.throws(() => mount({ source: "x", target: path("bad"), type: "nosuchfs" }), {
    data: { errno: "ENODEV", syscall: "mount", path: path("bad"), source: "x" },
  });
});

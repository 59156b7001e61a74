import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Worker } from "node:worker_threads";
import { GantryError } from "#base/errors.ts";
import { bindMount, setPropagation, unmount } from "./mount.ts";
import { run } from "./run.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-mount-ns-"));
const pinned = join(folder, "mnt");
const inside = join(folder, "inside");

before(async () => {
  // A namespace can be pinned on a private mount only.
  bindMount(folder, folder);
  setPropagation(folder, "private");
  writeFileSync(pinned, "");
  mkdirSync(inside);
  const script = `mount -t tmpfs none ${inside} && echo there > ${inside}/seen`;
  await run(["/usr/bin/unshare", `--mount=${pinned}`, "--propagation", "private", "/bin/sh", "-c", script]);
});

after(() => {
  while (unmount(pinned) || unmount(folder)) continue;
  rmSync(folder, { recursive: true, force: true });
});

test("a program that is started in a mount namespace sees its mounts, and we do not", async () => {
  const { stdout } = await run(["cat", `${inside}/seen`], { mountNamespace: pinned });
  assert.equal(stdout, "there\n");
  assert.equal(existsSync(`${inside}/seen`), false);
});

test("our root, working folder and namespace are what they were", async () => {
  const facts = (): string[] => ["root", "cwd", "ns/mnt"].map((name) => readlinkSync(`/proc/thread-self/${name}`));
  const before = process.cwd();
  process.chdir("/usr");
  try {
    const had = facts();
    const { stdout } = await run(["pwd"], { mountNamespace: pinned });
    assert.equal(stdout, "/\n", "the program starts at the root of the namespace");
    assert.deepEqual(facts(), had);
    assert.equal(process.cwd(), "/usr");
  } finally {
    process.chdir(before);
  }
});

test("it goes on working when a thread was started meanwhile", async () => {
  const worker = new Worker("setInterval(() => {}, 1000)", { eval: true });
  try {
    await new Promise((resolve) => worker.once("online", resolve));
    const { stdout } = await run(["cat", `${inside}/seen`], { mountNamespace: pinned });
    assert.equal(stdout, "there\n");
  } finally {
    await worker.terminate();
  }
});

test("a namespace that is not there is an error, and nothing is started", async () => {
  await assert.rejects(run(["true"], { mountNamespace: join(folder, "none") }), /ENOENT/);
  await assert.rejects(
    run(["true"], { mountNamespace: join(folder, "inside") }),
    (error) => error instanceof GantryError && error.message.includes("setns"),
  );
});

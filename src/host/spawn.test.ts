import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { closeFd, makePipe } from "./descriptors.ts";
import { CommandError, exitNumber, run } from "./run.ts";
import { findExecutable, minimalEnvironment, start } from "./spawn.ts";

const descriptors = (): number => readdirSync("/proc/self/fd").length;

test("a child has its streams and nothing else of ours", async () => {
  const secret = openSync("/etc/hostname", "r");
  const { stdout, stderr } = await run(["sh", "-c", "echo err >&2; ls /proc/self/fd | tr '\\n' ' '; env"]);
  closeSync(secret);
  // 3 is the folder that ls reads.
  assert.match(stdout, /^0 1 2 3 (PWD=.*\n)?PATH=/);
  assert.equal(stderr, "err\n");
});

test("a child starts with default handlers and no blocked signal", async () => {
  const { stdout } = await run(["cat", "/proc/self/status"]);
  assert.deepEqual(new Set(stdout.match(/(?<=Sig(Blk|Ign|Cgt):\t)[0-9a-f]{16}/g)), new Set(["0000000000000000"]));
});

test("environment, working folder and session are what was asked", async () => {
  const { stdout } = await run(["sh", "-c", "pwd; echo $A; echo $HOME"], { env: { A: "ä b" }, cwd: "/usr" });
  assert.equal(stdout, "/usr\nä b\n\n");
  const child = start({ argv: ["sleep", "10"], newSession: true });
  const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(" ");
  assert.equal(Number(fields[5]), child.pid, "leads its own session");
  assert.ok(child.kill());
  assert.deepEqual(await child.exited, { code: null, signal: "SIGTERM" });
  assert.equal(child.kill(), false, "nobody else's process gets a late signal");
});

test("descriptors go where they are asked, whatever their numbers are", async () => {
  const folder = mkdtempSync(join(tmpdir(), "gantry-spawn-"));
  const files = ["a", "b", "c"].map((name) => openSync(join(folder, name), "w+"));
  const [a, b, c] = files as [number, number, number];
  const child = start({
    argv: ["sh", "-c", "echo one; echo two >&2; echo three >&3; echo four >&4"],
    stdio: ["null", c, a, b, c],
  });
  assert.deepEqual(await child.exited, { code: 0, signal: null });
  for (const fd of files) closeSync(fd);
  assert.equal(readFileSync(join(folder, "a"), "utf8"), "two\n");
  assert.equal(readFileSync(join(folder, "b"), "utf8"), "three\n");
  assert.match(readFileSync(join(folder, "c"), "utf8"), /four/);
  rmSync(folder, { recursive: true });
});

test("one of our low descriptors can become another low one of the child", async () => {
  const pipe = makePipe();
  // Ours is 0 to 2 here or there: the child's 1 is our pipe, its 2 our 1, its 0 our 2.
  const child = start({ argv: ["sh", "-c", "echo out"], stdio: [2, pipe.writeEnd, 1] });
  closeFd(pipe.writeEnd);
  await child.exited;
  const buffer = Buffer.alloc(10);
  const { readSync } = await import("node:fs");
  assert.equal(buffer.toString("utf8", 0, readSync(pipe.readEnd, buffer)), "out\n");
  closeFd(pipe.readEnd);
});

test("what cannot be started says why", async () => {
  await assert.rejects(run(["no-such-program"]), { code: "not-found" });
  await assert.rejects(run(["/etc/passwd"]), { code: "forbidden" });
  await assert.rejects(run(["true"], { cwd: "/nowhere" }), { code: "not-found" });
  await assert.rejects(run(["echo", "a\0b"]), { code: "invalid" });
  assert.equal(findExecutable("sh"), findExecutable("sh", minimalEnvironment["PATH"]));
});

test("a program that fails keeps its words, status and argv in the error", async () => {
  const error = await run(["sh", "-c", "echo said; echo why >&2; exit 3"]).catch((thrown: unknown) => thrown);
  assert.ok(error instanceof CommandError);
  assert.deepEqual([error.status, error.stdout, error.stderr, error.argv[0]], [3, "said\n", "why\n", "sh"]);
  assert.match(error.message, /exited with status 3: why/);
  assert.equal((await run(["sh", "-c", "exit 3"], { okStatus: [0, 3] })).status, 3);
});

test("an exit by a signal is 128 and its number, for every signal", async () => {
  for (const [name, number] of [
    ["USR1", 10],
    ["BUS", 7],
    ["KILL", 9],
    ["HUP", 1],
  ] as const) {
    const { status } = await run(["sh", "-c", `kill -${name} $$`], { okStatus: [128 + number] });
    assert.equal(status, 128 + number);
  }
  assert.equal(exitNumber({ code: null, signal: "SIG35" }), 163);
});

test("time, a limit of output and an abort end a program and its open pipes", async () => {
  const began = performance.now();
  await assert.rejects(run(["sh", "-c", "sleep 2 & sleep 20"], { timeoutMs: 100 }), { code: "timeout" });
  await assert.rejects(run(["yes"], { stdoutLimit: 10_000 }), { code: "too-large" });
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 50);
  await assert.rejects(run(["sleep", "20"], { signal: controller.signal }), { code: "cancelled" });
  await assert.rejects(run(["true"], { signal: controller.signal }), { code: "cancelled" });
  assert.ok(performance.now() - began < 5000);
});

test("a megabyte goes in and out", async () => {
  const text = "x".repeat(1 << 20);
  assert.equal((await run(["cat"], { stdin: text })).stdout, text);
  // A program that does not read gets rid of its input without an error for us.
  assert.equal((await run(["true"], { stdin: text })).status, 0);
});

test("two hundred children at once end, are reaped and leave no descriptor", async () => {
  await run(["true"]);
  const before = descriptors();
  const exits = await Promise.all(
    Array.from({ length: 200 }, (_, index) => start({ argv: ["sh", "-c", `exit ${index % 7}`] }).exited),
  );
  assert.deepEqual(
    exits.map((exit) => exit.code),
    Array.from({ length: 200 }, (_, index) => index % 7),
  );
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").trim();
  assert.equal(children, "", "no zombie is left");
  assert.equal(descriptors(), before);
  assert.ok(statSync("/proc/self").isDirectory());
});

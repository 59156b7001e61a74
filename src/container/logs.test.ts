import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import fc from "fast-check";
import type { LogPlan } from "#api/container-runtime.ts";
import { newContainerId } from "#base/ids.ts";
import { silentLogger } from "#base/log.ts";
import { removeCgroup } from "#host/cgroup.ts";
import { unmount } from "#host/mount.ts";
import { ContainerRuntime } from "./container-runtime.ts";
import { parseLogLine, utcTime } from "./log-line.ts";
import { type ReadLogOptions, readLog } from "./log-reader.ts";
import { rotate } from "./log-rotation.ts";
import { RuntimeNamespace } from "./runtime-namespace.ts";
import { makeRootfs, testPlan } from "./test-plan.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-logs-"));
const runDir = join(folder, "run");
let runtime: ContainerRuntime;
let rootfs: string;
let number = 0;

before(async () => {
  rootfs = makeRootfs(folder);
  runtime = new ContainerRuntime({ runDir, sharedRoots: [folder] }, { log: silentLogger });
  await runtime.initialise();
});

after(async () => {
  for (const id of await runtime.list()) await runtime.delete(id);
  runtime.stop();
  new RuntimeNamespace(runDir, [folder]).remove();
  unmount(folder);
  removeCgroup("gantry-t1-logs");
  rmSync(folder, { recursive: true });
});

const freshLog = (maxFiles = 1, maxSize = 0): LogPlan => ({
  format: "json-file",
  path: join(folder, `log${number++}`),
  maxSize,
  maxFiles,
});

/** As conmon writes it. */
const entry = (second: number, text: string, tag = "F", stream = "stdout"): string =>
  `2026-11-20T10:00:${String(second).padStart(2, "0")}.123456789+00:00 ${stream} ${tag} ${text}\n`;

async function read(log: LogPlan, more: Partial<ReadLogOptions> = {}): Promise<string> {
  let text = "";
  for await (const lines of readLog(log, { follow: false, ended: () => true, ...more }))
    for (const { data } of lines) text += Buffer.from(data).toString();
  return text;
}

test("a line of conmon's is stream, time in UTC and the program's own bytes", () => {
  const line = parseLogLine(Buffer.from(entry(1, "a b  c", "F", "stderr")));
  assert.deepEqual(
    [line?.stream, line?.time, line?.data.toString()],
    ["stderr", "2026-11-20T10:00:01.123456789Z", "a b  c\n"],
  );
  assert.equal(parseLogLine(Buffer.from(entry(1, "part", "P")))?.data.toString(), "part");
  assert.equal(parseLogLine(Buffer.from(entry(1, "")))?.data.toString(), "\n");
  assert.equal(utcTime("2026-01-01T01:30:00.5+02:00"), "2025-12-31T23:30:00.500000000Z");
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void parseLogLine(Buffer.from(bytes))));
});

test("the last lines are found across rotated files", async () => {
  const log = freshLog(3);
  writeFileSync(`${log.path}.2`, entry(1, "1") + entry(2, "2"));
  writeFileSync(`${log.path}.1`, entry(3, "3") + entry(4, "4"));
  writeFileSync(log.path, entry(5, "5"));
  assert.equal(await read(log), "1\n2\n3\n4\n5\n");
  for (const [tail, expected] of [
    [1, "5\n"],
    [2, "4\n5\n"],
    [4, "2\n3\n4\n5\n"],
    [50, "1\n2\n3\n4\n5\n"],
    [0, ""],
  ] as const)
    assert.equal(await read(log, { tail }), expected, `tail ${tail}`);
  const at = (second: number): number => Date.parse(`2026-11-20T10:00:0${second}.000Z`);
  assert.equal(await read(log, { since: at(3), until: at(5) }), "3\n4\n");
  // Within a millisecond, too: a client gives back the time that it was shown.
  const exact = at(4) + 123.456789;
  assert.equal(await read(log, { since: exact, until: exact }), "4\n");
  assert.equal(await read(log, { since: exact + 0.01, until: exact + 500 }), "");
  assert.equal(await read({ ...log, path: join(folder, "none") }), "");
  assert.equal(await read({ ...log, format: "none" }), "");
});

test("a tail of any length equals the end of the whole", async () => {
  const log = freshLog();
  const lines = Array.from({ length: 3000 }, (_, index) => "x".repeat((index * 37) % 400) + index);
  writeFileSync(log.path, lines.map((line) => entry(0, line)).join(""));
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 3100 }), async (tail) => {
      assert.equal(
        await read(log, { tail }),
        lines
          .slice(-tail)
          .map((line) => `${line}\n`)
          .join(""),
      );
    }),
    { numRuns: 15 },
  );
});

test("a follower sees what comes, through rotations, also several at once, and then the end", async () => {
  const log = freshLog(4);
  let isOver = false;
  const following = read(log, { follow: true, ended: () => isOver });
  const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 30));
  await pause();
  let next = 0;
  const write = (count: number): void => {
    for (let index = 0; index < count; index++) appendFileSync(log.path, entry(0, String(next++)));
  };
  write(3);
  await pause();
  write(2);
  rotate(log.path, 4);
  await pause();
  write(2);
  rotate(log.path, 4);
  write(2);
  rotate(log.path, 4);
  write(2);
  await pause();
  write(1);
  isOver = true;
  assert.equal(await following, Array.from({ length: next }, (_, index) => `${index}\n`).join(""));
});

test("an abort ends a follower", async () => {
  const log = freshLog();
  writeFileSync(log.path, entry(1, "a"));
  const controller = new AbortController();
  const following = read(log, { follow: true, ended: () => false, signal: controller.signal });
  setTimeout(() => controller.abort(), 50);
  assert.equal(await following, "a\n");
  const missing = read(freshLog(), { follow: true, ended: () => false, signal: controller.signal });
  assert.equal(await missing, "");
});

test("a chatty container keeps its log within limits, and what is kept has no gap", async () => {
  const id = newContainerId();
  const log = freshLog(3, 2 << 20);
  const count = 300_000;
  await runtime.create(testPlan(id, rootfs, ["seq", "1", String(count)], { log, cgroupPath: `gantry-t1-logs/${id}` }));
  let isOver = false;
  const exited = runtime.exited(id).then(() => {
    isOver = true;
  });
  await runtime.start(id);
  let largest = 0;
  const timer = setInterval(() => {
    for (const name of readdirSync(folder))
      if (name.startsWith(log.path.slice(folder.length + 1))) {
        largest = Math.max(largest, statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0);
      }
  }, 5);
  await exited;
  clearInterval(timer);
  assert.ok(largest >= 1 << 20 && largest < 64 << 20, `the largest file had ${largest} bytes`);
  const kept = (await read(log)).trim().split("\n").map(Number);
  assert.equal(kept[kept.length - 1], count, "the newest lines are there");
  // The oldest line may be the end of one whose beginning was in a file that is gone.
  const gap = kept.findIndex((value, index) => index > 1 && value !== (kept[index - 1] as number) + 1);
  assert.equal(gap, -1, `a gap between ${kept.slice(Math.max(0, gap - 2), gap + 2).join(" ")}`);
  assert.ok(isOver);
  await runtime.delete(id);
});

test("two hundred thousand lines are read whole", async () => {
  const log = freshLog();
  const count = 200_000;
  let text = "";
  for (let index = 0; index < count; index++) text += entry(0, `line ${index} ${"x".repeat(80)}`);
  writeFileSync(log.path, text);
  const began = performance.now();
  let seen = 0;
  for await (const lines of readLog(log, { follow: false, ended: () => true }))
    seen += lines.filter(({ data }) => data.length > 0).length;
  const took = performance.now() - began;
  assert.equal(seen, count);
  console.log(`${Math.round(text.length / 1e6 / (took / 1000))} MB of log a second`);
});

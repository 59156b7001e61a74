import assert from "node:assert/strict";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import type { LogPlan } from "#api/container-runtime.ts";
import { newContainerId } from "#base/ids.ts";
import { silentLogger } from "#base/log.ts";
import { removeCgroup } from "#host/cgroup.ts";
import { unmount } from "#host/mount.ts";
import { ContainerRuntime } from "./container-runtime.ts";
import { parseLogLine, utcTime } from "./log-line.ts";
import { type ReadLogOptions, readLog } from "./log-reader.ts";
import { LogRotation, rotate } from "./log-rotation.ts";
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
  compress: false,
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
  const following = read(log, { follow: true, ended: () => isOver, signal: AbortSignal.timeout(20_000) });
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

test("what a program wrote in pieces is one entry, which stands where its end is", async () => {
  const log = freshLog();
  const long = "x".repeat(16_384);
  writeFileSync(
    log.path,
    [
      entry(1, "a", "P"),
      entry(2, "b", "P"),
      entry(3, "error", "F", "stderr"),
      entry(4, "c"),
      entry(5, long.slice(0, 9000), "P"),
      entry(6, `${long.slice(9000)}${long}rest`),
      entry(7, "", "F"),
      entry(8, "no end", "P"),
    ].join(""),
  );
  const entries = async (tail?: number): Promise<string[]> =>
    (await Array.fromAsync(readLog(log, { follow: false, ended: () => true, ...(tail === undefined ? {} : { tail }) })))
      .flat()
      .map(({ time, data }) => `${time.slice(17, 19)} ${Buffer.from(data).toString().replaceAll(long, "LONG")}`);
  const all = ["03 error\n", "04 abc\n", "05 LONG", "05 LONG", "05 rest\n", "07 \n", "08 no end"];
  assert.deepEqual(await entries(), all);
  for (let tail = 1; tail < 9; tail++) assert.deepEqual(await entries(tail), all.slice(-tail), `tail ${tail}`);
});

test("however a log is cut into pieces and files, a tail is the end of the whole", async () => {
  const piece = fc.record({
    text: fc.string({ maxLength: 30 }).map((text) => text.replaceAll("\n", "")),
    tag: fc.constantFrom("F", "F", "P"),
    stream: fc.constantFrom("stdout", "stderr"),
    repeat: fc.constantFrom(1, 1, 1, 1, 1, 1, 700),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(piece, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 3 }),
      fc.boolean(),
      async (files, isCompressed) => {
        const log = { ...freshLog(3), compress: isCompressed };
        const paths = [`${log.path}.2`, `${log.path}.1`, log.path].slice(-files.length);
        // What never ends stands at the end of the whole, wherever it was written.
        const end = { text: "", tag: "F", repeat: 1 } as const;
        files[files.length - 1]?.push({ ...end, stream: "stdout" }, { ...end, stream: "stderr" });
        for (const [at, pieces] of files.entries()) {
          const text = pieces.map((each) => entry(0, each.text.repeat(each.repeat), each.tag, each.stream)).join("");
          const path = paths[at] as string;
          if (isCompressed && path !== log.path) writeFileSync(`${path}.gz`, gzipSync(text));
          else writeFileSync(path, text);
        }
        const entries = async (more: Partial<ReadLogOptions>): Promise<string[]> =>
          (await Array.fromAsync(readLog(log, { follow: false, ended: () => true, ...more })))
            .flat()
            .map(({ stream, data }) => `${stream} ${Buffer.from(data).toString()}`);
        const all = await entries({});
        const pieces = files.flat().filter(({ stream }) => stream === "stdout");
        assert.equal(
          all
            .filter((line) => line.startsWith("stdout "))
            .map((line) => line.slice(7))
            .join(""),
          pieces.map((each) => each.text.repeat(each.repeat) + (each.tag === "F" ? "\n" : "")).join(""),
        );
        for (let tail = 1; tail <= all.length; tail++)
          assert.deepEqual(await entries({ tail }), all.slice(-tail), `tail ${tail}`);
      },
    ),
    { numRuns: 25, interruptAfterTimeLimit: 5000 },
  );
});

test("rotated files are compressed, and read and followed as before", async () => {
  const log = { ...freshLog(4, 800), compress: true };
  const reopened: string[] = [];
  const rotation = new LogRotation((id) => reopened.push(id));
  rotation.add("c", log);
  let isOver = false;
  const following = read(log, { follow: true, ended: () => isOver, signal: AbortSignal.timeout(20_000) });
  let next = 0;
  const until = async (what: () => boolean): Promise<void> => {
    for (let tries = 0; !what(); tries++) {
      assert.ok(tries < 500, "it did not come to that");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  for (let rotations = 1; rotations <= 4; rotations++) {
    for (let line = 0; line < 20; line++) appendFileSync(log.path, entry(next % 60, String(next++)));
    await until(() => reopened.length === rotations);
    appendFileSync(log.path, entry(next % 60, String(next++)));
    await until(() => existsSync(`${log.path}.1.gz`) && !existsSync(`${log.path}.1`));
  }
  isOver = true;
  const lines = (from: number): string => Array.from({ length: next - from }, (_, at) => `${from + at}\n`).join("");
  assert.equal(await following, lines(0));
  assert.deepEqual(
    readdirSync(folder)
      .filter((name) => join(folder, name).startsWith(log.path))
      .map((name) => join(folder, name).slice(log.path.length))
      .sort(),
    ["", ".1.gz", ".2.gz", ".3.gz"],
  );
  assert.equal(await read(log), lines(next - 64));
  assert.equal(await read(log, { tail: 30 }), lines(next - 30));
  await rotation.forget("c");
  rotation.stop();
});

test("a follower is not misled when its own file is compressed before it looks", async () => {
  const log = { ...freshLog(4), compress: true };
  let isOver = false;
  writeFileSync(log.path, entry(1, "1"));
  const following = read(log, { follow: true, ended: () => isOver, signal: AbortSignal.timeout(20_000) });
  await new Promise((resolve) => setTimeout(resolve, 50));
  // All in one turn: the follower sees only what has become of it.
  appendFileSync(log.path, entry(2, "2"));
  rotate(log.path, 4);
  const compress = (number: number): void => {
    writeFileSync(`${log.path}.${number}.gz`, gzipSync(readFileSync(`${log.path}.${number}`)));
    rmSync(`${log.path}.${number}`);
  };
  compress(1);
  writeFileSync(log.path, entry(3, "3"));
  rotate(log.path, 4);
  compress(1);
  writeFileSync(log.path, entry(4, "4"));
  await new Promise((resolve) => setTimeout(resolve, 300));
  isOver = true;
  assert.equal(await following, "1\n2\n3\n4\n");
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

import { strict as assert } from "node:assert";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { ManualClock } from "#base/clock.ts";
import { silentLogger } from "#base/log.ts";
import { watchControl } from "./control-watch.ts";
import type { InstanceConfig } from "./instance-config.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-control-watch-"));
const config = { name: "t", root: folder, runDir: folder } as InstanceConfig;
const pidFile = join(folder, "control.pid");
const clock = new ManualClock();
const children: ChildProcess[] = [];
let starts = 0;
let onStart = (): void => {};

after(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true });
});

/** A process that stands for the control process, with its pid file. */
function startProcess(): ChildProcess {
  const child = spawn("sleep", ["1000"], { stdio: "ignore" });
  children.push(child);
  const stat = readFileSync(`/proc/${child.pid}/stat`, "utf8");
  const startTime = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  writeFileSync(pidFile, JSON.stringify({ pid: child.pid, startTime }));
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}

/** Lets the watch see what has happened, then its wait pass. */
async function pass(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 100));
  await clock.advance(ms);
  await new Promise((resolve) => setTimeout(resolve, 20));
}

test("a control process that dies is started again, later each time, and one that was stopped is not", async () => {
  const stopping = new AbortController();
  const start = (): void => {
    starts++;
    onStart();
  };
  let child = startProcess();
  const watching = watchControl(config, { log: silentLogger, clock, start }, stopping.signal);
  onStart = () => (child = startProcess());

  await end(child);
  await pass(900);
  assert.equal(starts, 0);
  await pass(100);
  assert.equal(starts, 1);

  await end(child);
  await pass(1_000);
  assert.equal(starts, 1, "the second wait is longer");
  await pass(1_000);
  assert.equal(starts, 2);

  rmSync(pidFile);
  await end(child);
  await pass(60_000);
  assert.equal(starts, 2, "its pid file went first: it was stopped");

  child = startProcess();
  await pass(1_000);
  await end(child);
  child = startProcess();
  await pass(60_000);
  assert.equal(starts, 2, "somebody else was faster");

  stopping.abort();
  await watching;
});

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { signalName, signalNumber, watchProcess } from "./pidfd.ts";
import { processStart } from "./process-start.ts";
import { start } from "./spawn.ts";

test("the end of a process that is no child of ours is noticed", async () => {
  const parent = start({
    argv: ["sh", "-c", "sleep 1000 >/dev/null & echo $!; exit"],
    stdio: ["null", "pipe", "null"],
  });
  let text = "";
  for await (const chunk of parent.stdout as AsyncIterable<Buffer>) text += chunk.toString();
  await parent.exited;
  const orphan = Number(text);
  assert.ok(processStart(orphan) !== undefined);
  const watch = watchProcess(orphan);
  let hasEnded = false;
  void watch.ended.then(() => {
    hasEnded = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(hasEnded, false);
  assert.equal(watch.signal("SIGKILL"), true);
  await watch.ended;
  assert.equal(processStart(orphan), undefined);
  assert.equal(watch.signal("SIGKILL"), false);
});

test("a process that is not there has ended, and watches leave no descriptor", async () => {
  await watchProcess(2 ** 22 - 1).ended;
  const before = readdirSync("/proc/self/fd").length;
  for (let round = 0; round < 20; round++) watchProcess(process.pid).close();
  assert.equal(readdirSync("/proc/self/fd").length, before);
});

test("signals have their names and numbers", () => {
  assert.deepEqual(
    [signalNumber("SIGTERM"), signalNumber(9), signalName(6), signalName(40)],
    [15, 9, "SIGABRT", "SIG40"],
  );
});

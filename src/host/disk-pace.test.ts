import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { diskSteps } from "./disk-pace.ts";

const wait = (ms: number): void => {
  for (const end = performance.now() + ms; performance.now() < end;) continue;
};

test("a disk that lets us wait is asked in other threads for a while, and then at once again", async () => {
  const way = (ms: number): Promise<string> =>
    diskSteps(
      () => {
        wait(ms);
        return "at once";
      },
      async () => "in threads",
    );
  assert.equal(await way(0), "at once");
  assert.equal(await way(20), "at once");
  assert.equal(await way(0), "in threads");
  await pause(600);
  assert.equal(await way(0), "at once");
});

test("an error comes through, whichever way it goes", async () => {
  const fails = (): Promise<never> =>
    diskSteps<never>(
      () => {
        wait(20);
        throw new Error("no room");
      },
      async () => {
        throw new Error("no room");
      },
    );
  await assert.rejects(fails(), /no room/);
  await assert.rejects(fails(), /no room/);
});

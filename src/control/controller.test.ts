import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "#base/clock.ts";
import { GantryError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import { TaskGroup } from "#base/task-group.ts";
import { Controller } from "./controller.ts";
import { Expectations } from "./expectations.ts";

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("controller", () => {
  it("retries a key that fails, and forgets its failures when it succeeds", async () => {
    const tasks = new TaskGroup({ name: "test", log: silentLogger });
    let runs = 0;
    const done = Promise.withResolvers<void>();
    const controller = new Controller(
      {
        name: "test",
        reconcile: async () => {
          if (++runs < 3) throw new GantryError("conflict", "again");
          done.resolve();
        },
      },
      { log: silentLogger },
    );
    controller.start(tasks);
    controller.enqueue("a/b");
    await done.promise;
    await pause(1);
    assert.deepEqual([controller.metrics.reconciles, controller.metrics.errors], [3, 2]);
    assert.equal(controller.queue.failures("a/b"), 0);
    await tasks.stop();
  });

  it("never works on one key twice at once, and comes back to one that changed meanwhile", async () => {
    const tasks = new TaskGroup({ name: "test", log: silentLogger });
    let active = 0;
    let most = 0;
    let runs = 0;
    const controller = new Controller(
      {
        name: "test",
        workers: 4,
        reconcile: async () => {
          most = Math.max(most, ++active);
          runs++;
          await pause(5);
          active--;
        },
      },
      { log: silentLogger },
    );
    controller.start(tasks);
    controller.enqueue("a");
    await pause(1);
    controller.enqueue("a");
    controller.enqueue("a");
    await pause(20);
    assert.deepEqual([most, runs], [1, 2]);
    await tasks.stop();
  });

  it("waits for its informers, and stops although they never sync", async () => {
    const tasks = new TaskGroup({ name: "test", log: silentLogger });
    const controller = new Controller(
      { name: "test", waitFor: [new Promise(() => {})], reconcile: async () => assert.fail("must not run") },
      { log: silentLogger },
    );
    controller.start(tasks);
    controller.enqueue("a");
    await pause(2);
    await tasks.stop(500);
  });
});

describe("expectations", () => {
  it("hold until everything was seen, or five minutes have passed", async () => {
    const clock = new ManualClock();
    const expectations = new Expectations(clock);
    assert.ok(expectations.satisfied("rs"));
    expectations.expect("rs", 1, ["pod-a"]);
    expectations.deletionObserved("rs", "pod-a");
    expectations.deletionObserved("rs", "pod-a");
    assert.ok(!expectations.satisfied("rs"));
    expectations.creationObserved("rs");
    assert.ok(expectations.satisfied("rs"));
    expectations.expectCreations("rs", 3);
    await clock.advance(5 * 60_000 + 1);
    assert.ok(expectations.satisfied("rs"));
  });
});

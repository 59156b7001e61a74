import assert from "node:assert/strict";
import { test } from "node:test";
import { Gate, KeyedLock } from "./keyed-lock.ts";

/** A promise and what resolves it. */
function held(): { promise: Promise<void>; release: () => void } {
  let release = (): void => {};
  const promise = new Promise<void>((resolve) => (release = resolve));
  return { promise, release };
}

test("work on one key takes turns, also behind one that failed", async () => {
  const lock = new KeyedLock();
  const order: number[] = [];
  const first = lock.run("a", async () => {
    await new Promise((resolve) => setTimeout(resolve, 10));
    order.push(1);
    throw new Error("failed");
  });
  const second = lock.run("a", () => order.push(2));
  await lock.run("b", () => order.push(0));
  await assert.rejects(first, { message: "failed" });
  await second;
  assert.deepEqual(order, [0, 1, 2]);
});

test("who waits for a lock gives up when its signal aborts, and lets nobody past those before it", async () => {
  const lock = new KeyedLock();
  const { promise, release } = held();
  let active = 0;
  const work = async (): Promise<void> => {
    assert.equal(++active, 1);
    await promise;
    active--;
  };
  const first = lock.run("a", work);
  const stop = new AbortController();
  const second = lock.run("a", work, stop.signal);
  stop.abort(new Error("no longer wanted"));
  await assert.rejects(second, { message: "no longer wanted" });
  const third = lock.run("a", work);
  await assert.rejects(lock.run("a", work, stop.signal), { message: "no longer wanted" });
  release();
  await Promise.all([first, third]);
  // One that has its turn is not taken from its work.
  const late = new AbortController();
  const running = lock.run("a", () => new Promise((resolve) => setTimeout(resolve, 10, "done")), late.signal);
  late.abort();
  assert.equal(await running, "done");
});

test("a gate lets so many through, tells who waits, and forgets who gives up", async () => {
  const gate = new Gate(2);
  const { promise, release } = held();
  let active = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    most = Math.max(most, ++active);
    await promise;
    active--;
  };
  const waited: string[] = [];
  const stop = new AbortController();
  const all = [gate.run(work), gate.run(work)];
  const given = gate.run(work, { signal: stop.signal, onWait: () => waited.push("given up") });
  all.push(gate.run(work, { onWait: () => waited.push("waits") }));
  stop.abort(new Error("no longer wanted"));
  await assert.rejects(given, { message: "no longer wanted" });
  release();
  await Promise.all(all);
  assert.deepEqual([most, active, waited], [2, 0, ["given up", "waits"]]);
  await Promise.all([gate.run(work), gate.run(work)]);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type SetSize, planProportionalScale, planRollingUpdate, rollingLimits } from "./scale-plan.ts";

const set = (name: string, replicas: number, available = replicas, lastMax = 0): SetSize => ({
  name,
  replicas,
  available,
  created: name,
  lastMax,
});

test("percentages round up for the surge and down for unavailability, and are never both 0", () => {
  assert.deepEqual(rollingLimits(10), { replicas: 10, maxSurge: 3, maxUnavailable: 2 });
  assert.deepEqual(rollingLimits(3), { replicas: 3, maxSurge: 1, maxUnavailable: 0 });
  assert.deepEqual(rollingLimits(1, 0, 0), { replicas: 1, maxSurge: 0, maxUnavailable: 1 });
  assert.throws(() => rollingLimits(1, "x"), { code: "invalid" });
});

test("a rollout grows the new set first, then shrinks the old as far as availability allows", () => {
  const limits = rollingLimits(3, 1, 0);
  assert.deepEqual(planRollingUpdate(limits, set("b", 0), [set("a", 3)]), [{ name: "b", replicas: 1 }]);
  assert.deepEqual(planRollingUpdate(limits, set("b", 1, 0), [set("a", 3)]), []);
  assert.deepEqual(planRollingUpdate(limits, set("b", 1, 1), [set("a", 3)]), [{ name: "a", replicas: 2 }]);
});

test("old pods that are not available go first", () => {
  const limits = rollingLimits(3, 1, 1);
  assert.deepEqual(planRollingUpdate(limits, set("c", 1, 0), [set("a", 1, 1), set("b", 2, 1)]), [
    { name: "b", replicas: 1 },
  ]);
});

test("any rollout ends with all replicas in the new set, never above the surge, never below availability", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 0, max: 5 }),
      fc.integer({ min: 0, max: 5 }),
      (replicas, surge, unavailable) => {
        const limits = rollingLimits(replicas, surge, unavailable);
        let newSet = set("new", 0);
        let old = set("old", replicas);
        for (let round = 0; round < 200 && !(newSet.replicas === replicas && old.replicas === 0); round++) {
          for (const step of planRollingUpdate(limits, newSet, [old])) {
            if (step.name === "new") newSet = { ...newSet, replicas: step.replicas };
            else old = { ...old, replicas: step.replicas, available: Math.min(old.available, step.replicas) };
          }
          assert.ok(newSet.replicas + old.replicas <= replicas + limits.maxSurge);
          assert.ok(newSet.available + old.available >= replicas - limits.maxUnavailable);
          newSet = { ...newSet, available: newSet.replicas };
        }
        assert.deepEqual([newSet.replicas, old.replicas], [replicas, 0]);
      },
    ),
  );
});

test("a resize in the middle of a rollout is shared out by size and reaches the total", () => {
  const limits = rollingLimits(20, 5, 0);
  const steps = planProportionalScale(limits, [set("a", 10, 10, 15), set("b", 5, 5, 15)]);
  const sizes = { a: 10, b: 5, ...Object.fromEntries(steps.map((step) => [step.name, step.replicas])) };
  assert.equal(sizes.a + sizes.b, 25);
  assert.ok(sizes.a > sizes.b);
  const down = planProportionalScale(rollingLimits(0, 5, 0), [set("a", 10, 10, 15), set("b", 5, 5, 15)]);
  assert.deepEqual(
    down.map((step) => step.replicas),
    [0, 0],
  );
});

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  checkIdRanges,
  formatIdMap,
  type IdRange,
  isSameMapping,
  mappedRoot,
  toContainerId,
  toHostId,
} from "./id-mapping.ts";

const ranges: IdRange[] = [
  { containerId: 0, hostId: 100_000, length: 1000 },
  { containerId: 1000, hostId: 500_000, length: 10 },
];
const refused = (list: readonly IdRange[]): RegExp => {
  try {
    checkIdRanges(list, "users");
  } catch (error) {
    return new RegExp((error as Error).message.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  }
  return assert.fail("not refused");
};

test("an id goes out and comes back, over all ranges; others have no counterpart", () => {
  assert.equal(toHostId(ranges, 0), 100_000);
  assert.equal(toHostId(ranges, 999), 100_999);
  assert.equal(toHostId(ranges, 1003), 500_003);
  assert.equal(toHostId(ranges, 1010), undefined);
  assert.equal(toContainerId(ranges, 500_009), 1009);
  assert.equal(toContainerId(ranges, 0), undefined);
  assert.equal(toContainerId(ranges, 101_000), undefined);
});

test("root is who stands for 0 on both sides", () => {
  assert.deepEqual(mappedRoot({ uids: ranges, gids: [{ containerId: 0, hostId: 7, length: 1 }] }), {
    uid: 100_000,
    gid: 7,
  });
  assert.throws(
    () => mappedRoot({ uids: ranges, gids: [{ containerId: 1, hostId: 7, length: 1 }] }),
    /must have the ids 0/,
  );
});

test("a mapping is written as the kernel reads it, and compared by that", () => {
  assert.equal(formatIdMap(ranges), "0 100000 1000\n1000 500000 10\n");
  assert.equal(isSameMapping({ uids: ranges, gids: ranges }, { uids: [...ranges], gids: [...ranges] }), true);
  assert.equal(isSameMapping({ uids: ranges, gids: ranges }, { uids: ranges, gids: [] }), false);
});

test("what the kernel would refuse is refused with the reason", () => {
  const one = (containerId: number, hostId: number, length: number): IdRange => ({ containerId, hostId, length });
  assert.match("The users cannot be mapped: there are none.", refused([]));
  assert.match("The users cannot be mapped: 0:5:0 is no range of ids.", refused([one(0, 5, 0)]));
  assert.match("The users cannot be mapped: -1:5:1 is no range of ids.", refused([one(-1, 5, 1)]));
  assert.match(
    "The users cannot be mapped: 0:4294967290:6 goes beyond the last id, 4294967294.",
    refused([one(0, 4_294_967_290, 6)]),
  );
  assert.match(
    "The users cannot be mapped: the ranges at 0 and 5 overlap.",
    refused([one(0, 100, 10), one(5, 200, 1)]),
  );
  assert.match(
    "The users cannot be mapped: the ranges at 100 and 105 overlap.",
    refused([one(0, 100, 10), one(10, 105, 1)]),
  );
  assert.match(
    "The users cannot be mapped: 341 ranges are more than the 340 of one map.",
    refused(Array.from({ length: 341 }, (_, index) => one(index, index + 1000, 1))),
  );
  checkIdRanges([one(0, 0, 4_294_967_295)], "users");
});

test("whatever ranges are accepted, translation is the same in both directions", () => {
  const range = fc.record({
    containerId: fc.integer({ min: 0, max: 300 }),
    hostId: fc.integer({ min: 0, max: 300 }),
    length: fc.integer({ min: 1, max: 50 }),
  });
  fc.assert(
    fc.property(fc.array(range, { minLength: 1, maxLength: 5 }), fc.integer({ min: 0, max: 400 }), (list, id) => {
      try {
        checkIdRanges(list, "users");
      } catch {
        return;
      }
      const host = toHostId(list, id);
      if (host !== undefined) assert.equal(toContainerId(list, host), id);
    }),
  );
});

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { checkIdRanges } from "#base/id-mapping.ts";
import { freeSubordinateStart, parseSubordinateRanges, subordinateIds } from "./subordinate-ids.ts";

const file = "/etc/subuid";

test("ranges are read line by line; what is none is left out", () => {
  const text = [
    "alice:100000:65536",
    "  1000:200000:10  ",
    "# bob:1:1",
    "",
    "bob",
    "bob:1",
    "bob:x:1",
    "bob:1:-5",
    "bob:5:0",
    "bob:4294967290:100",
    "bob:1:2:3",
    ":300000:5",
    "bob:1e3:5",
    "bob:99999999999:5",
    "alice:300000:1",
  ].join("\n");
  assert.deepEqual(parseSubordinateRanges(text), [
    { owner: "alice", start: 100_000, count: 65_536 },
    { owner: "1000", start: 200_000, count: 10 },
    { owner: "alice", start: 300_000, count: 1 },
  ]);
});

test("a user's ranges, by name and by number, are strung together from 0 on", () => {
  const ranges = parseSubordinateRanges("alice:100000:100\nbob:1:1\n1000:200000:10\nalice:300000:1");
  assert.deepEqual(subordinateIds(ranges, { name: "alice", uid: 1000 }, file), [
    { containerId: 0, hostId: 100_000, length: 100 },
    { containerId: 100, hostId: 200_000, length: 10 },
    { containerId: 110, hostId: 300_000, length: 1 },
  ]);
  assert.deepEqual(subordinateIds(ranges, { name: "carol", uid: 7 }, file), []);
});

test("the machine's own root is never handed out", () => {
  assert.throws(
    () => subordinateIds(parseSubordinateRanges("alice:0:65536"), { name: "alice", uid: 1000 }, file),
    /\/etc\/subuid gives the machine's own root, id 0, to the user "alice"/,
  );
});

test("a new range goes where nobody has one", () => {
  const free = (text: string): number => freeSubordinateStart(parseSubordinateRanges(text), 65_536);
  assert.equal(free(""), 100_000);
  assert.equal(free("a:100000:65536"), 165_536);
  assert.equal(free("b:165536:65536\na:100000:65536"), 231_072);
  assert.equal(free("a:1000:10"), 100_000);
  assert.equal(free("a:150000:10"), 150_010);
  assert.equal(free("a:300000:10"), 100_000);
  assert.throws(() => free("a:100000:4294867000"), /There are no 65536 ids left/);
});

test("no file, however hostile, gives ids that the kernel cannot map or that overlap what is taken", () => {
  const number = fc.oneof(
    fc.nat(),
    fc.bigInt({ min: -(2n ** 40n), max: 2n ** 70n }),
    fc.constantFrom("", " 1", "0x10", "1e9", "4294967295", "٣", "-0"),
  );
  const line = fc.oneof(
    fc.tuple(fc.constantFrom("alice", "1000", "bob", "#", ""), number, number).map((parts) => parts.join(":")),
    fc.string(),
    fc.string({ unit: "binary" }),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), fc.constantFrom("\n", "\r\n", "\n\n"), (lines, end) => {
      const ranges = parseSubordinateRanges(lines.join(end));
      for (const { owner, start, count } of ranges) {
        assert.notEqual(owner, "");
        assert.ok(Number.isSafeInteger(start) && start >= 0 && count > 0 && start + count <= 2 ** 32 - 1);
      }
      let ids: ReturnType<typeof subordinateIds> = [];
      try {
        ids = subordinateIds(ranges, { name: "alice", uid: 1000 }, file);
      } catch (error) {
        assert.match(String(error), /the machine's own root/);
      }
      for (const { hostId } of ids) assert.ok(hostId > 0);
      try {
        checkIdRanges(ids, "ids");
      } catch (error) {
        assert.match(String(error), /cannot be mapped/);
      }
      try {
        const start = freeSubordinateStart(ranges, 100);
        for (const range of ranges)
          assert.ok(start >= range.start + range.count || start + 100 <= range.start, `${start} is taken`);
      } catch (error) {
        if ((error as { code?: string }).code !== "exhausted") throw error;
      }
    }),
  );
});

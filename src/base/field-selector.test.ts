import assert from "node:assert/strict";
import { test } from "node:test";
import { matchesFields, parseFieldSelector } from "./field-selector.ts";

test("a field selector knows equality, inequality and escapes", () => {
  assert.deepEqual(parseFieldSelector("a=b,c!=d,e==f"), [
    { field: "a", equal: true, value: "b" },
    { field: "c", equal: false, value: "d" },
    { field: "e", equal: true, value: "f" },
  ]);
  assert.deepEqual(parseFieldSelector("a=x\\,y\\=z"), [{ field: "a", equal: true, value: "x,y=z" }]);
  assert.throws(() => parseFieldSelector("a"), { code: "invalid" });
  assert.throws(() => parseFieldSelector("a=b\\q"), { code: "invalid" });
});

test("matching reads absent fields as empty", () => {
  const read = (field: string): string => ({ "spec.nodeName": "n1" })[field] ?? "";
  assert.ok(matchesFields(parseFieldSelector("spec.nodeName=n1,status.phase!=Failed"), read));
  assert.ok(!matchesFields(parseFieldSelector("spec.nodeName="), read));
});

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  formatLabelSelector,
  isLabelValue,
  isQualifiedName,
  labelSelectorOf,
  matchesLabels,
  parseLabelSelector,
} from "./label-selector.ts";

test("each operator of a label selector matches as in apimachinery", () => {
  const labels = { app: "web", tier: "front", n: "5" };
  const cases: [string, boolean][] = [
    ["", true],
    ["app=web", true],
    ["app==web", true],
    ["app!=web", false],
    ["missing!=web", true],
    ["app in (db, web)", true],
    ["app notin (db,web)", false],
    ["missing notin (a)", true],
    ["app", true],
    ["!app", false],
    ["!missing", true],
    ["n>4", true],
    ["n<5", false],
    ["app=web,tier in (front,back),!x", true],
    ["app=", false],
  ];
  for (const [text, expected] of cases) assert.equal(matchesLabels(parseLabelSelector(text), labels), expected, text);
});

test("an inherited property is no label", () => {
  assert.equal(matchesLabels(parseLabelSelector("constructor"), {}), false);
});

test("bad selectors are refused as invalid", () => {
  for (const text of ["a b", "=x", "a in b", "a in (b", "a=b c", "a>x", "-a=b", "a=-b"]) {
    assert.throws(() => parseLabelSelector(text), { name: "GantryError", code: "invalid" }, text);
  }
});

test("an absent selector object matches nothing and an empty one everything", () => {
  assert.equal(matchesLabels(labelSelectorOf(undefined), { a: "b" }), false);
  assert.equal(matchesLabels(labelSelectorOf({}), { a: "b" }), true);
  assert.equal(
    matchesLabels(labelSelectorOf({ matchExpressions: [{ key: "a", operator: "In", values: ["c"] }] }), { a: "b" }),
    false,
  );
});

test("formatting and parsing again gives the same meaning", () => {
  const name = fc.stringMatching(/^[a-z]([a-z0-9]{0,5})$/);
  const requirement = fc.oneof(
    fc.record({
      key: name,
      operator: fc.constantFrom("in" as const, "notin" as const),
      values: fc.array(name, { minLength: 1, maxLength: 3 }),
    }),
    fc.record({ key: name, operator: fc.constantFrom("exists" as const, "!" as const) }),
    fc.record({ key: name, operator: fc.constantFrom("gt" as const, "lt" as const), value: fc.integer() }),
  );
  fc.assert(
    fc.property(fc.array(requirement, { maxLength: 4 }), (selector) => {
      assert.deepEqual(parseLabelSelector(formatLabelSelector(selector)), structuredClone(selector));
    }),
  );
});

test("names and values are checked as Kubernetes does", () => {
  for (const good of ["a", "app.kubernetes.io/name", "A_b.c", "example.com/x"]) assert.ok(isQualifiedName(good), good);
  for (const wrong of ["", "/", "a/", "/a", "a/b/c", "-a", "Upper.com/x", "a".repeat(64)])
    assert.ok(!isQualifiedName(wrong), wrong);
  assert.ok(isLabelValue("") && isLabelValue("a.b") && !isLabelValue("a ") && !isLabelValue("a".repeat(64)));
});

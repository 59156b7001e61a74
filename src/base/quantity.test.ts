import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  addQuantities,
  canonicalQuantity,
  compareQuantities,
  formatQuantity,
  parseQuantity,
  quantityToMilli,
  quantityToNumber,
  tryParseQuantity,
} from "./quantity.ts";

test("a quantity's canonical text has the largest suffix without a fraction", () => {
  const cases: [string, string][] = [
    ["1000m", "1"],
    ["0.5", "500m"],
    ["1024Mi", "1Gi"],
    ["1.5Gi", "1536Mi"],
    ["1e3", "1e3"],
    ["1E3", "1e3"],
    ["1E", "1E"],
    ["100", "100"],
    ["1000", "1k"],
    ["1025", "1025"],
    ["1Ki", "1Ki"],
    ["512", "512"],
    ["0.5Ki", "512"],
    ["0", "0"],
    ["0Gi", "0"],
    ["-1.5", "-1500m"],
    ["+3", "3"],
    [".5", "500m"],
    ["5.", "5"],
    ["1n", "1n"],
    ["0.1n", "1n"],
    ["12345678", "12345678"],
    ["1000000", "1M"],
    ["1500M", "1500M"],
  ];
  for (const [text, expected] of cases) assert.equal(canonicalQuantity(text), expected, text);
});

test("what is no quantity is refused", () => {
  for (const text of ["", ".", "abc", "1kk", "1 Gi", "1KI", "--1", "1e", "Gi"])
    assert.equal(tryParseQuantity(text), undefined, text);
});

test("quantities compare and add by value", () => {
  assert.equal(compareQuantities(parseQuantity("1Gi"), parseQuantity("1G")), 1);
  assert.equal(compareQuantities(parseQuantity("1000m"), parseQuantity("1")), 0);
  assert.equal(formatQuantity(addQuantities(parseQuantity("100m"), parseQuantity("0.9"))), "1");
  assert.equal(quantityToNumber("1500m"), 1.5);
  assert.equal(quantityToNumber("1Gi"), 2 ** 30);
  assert.equal(quantityToMilli("1.0001"), 1001);
});

test("formatting and parsing keep the value", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n }), (nano) => {
      assert.equal(parseQuantity(formatQuantity({ nano, format: "DecimalSI" })).nano, nano);
    }),
  );
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseByteSize } from "./byte-size.ts";

test("sizes are read in units of 1024, or of 1000", () => {
  assert.equal(parseByteSize("64M"), 64 << 20);
  assert.equal(parseByteSize("1.5GiB"), 1.5 * 2 ** 30);
  assert.equal(parseByteSize("10 kb"), 10_240);
  assert.equal(parseByteSize("7b"), 7);
  assert.equal(parseByteSize("0"), 0);
  assert.equal(parseByteSize("10m", 1000), 10_000_000);
});

test("what is no size is refused in docker's words", () => {
  for (const text of ["", "-1", "m", "1x", "1kib2", "1 2", "0x10"])
    assert.throws(() => parseByteSize(text), { code: "invalid", message: `invalid size: '${text}'` }, text);
});

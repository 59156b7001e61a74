import assert from "node:assert/strict";
import { test } from "node:test";
import { withRootId, withoutRootId } from "./file-capabilities.ts";

const plain = Buffer.from([1, 0, 0, 2, ...Array.from({ length: 16 }, (_, index) => index)]);

test("a file's capabilities are bound to a user namespace's root, and freed again", () => {
  const bound = withRootId(plain, 100_000);
  assert.equal(bound.length, 24);
  assert.equal(bound.readUInt32LE(0), 0x03000001);
  assert.equal(bound.readUInt32LE(20), 100_000);
  assert.deepEqual(withoutRootId(bound, 100_000), plain);
});

test("those of another namespace, and what is no such attribute, stay as they are", () => {
  const bound = withRootId(plain, 100_000);
  assert.equal(withoutRootId(bound, 5), bound);
  assert.equal(withRootId(bound, 5), bound);
  for (const odd of [Buffer.alloc(0), Buffer.from("x"), Buffer.alloc(20), Buffer.alloc(24)]) {
    assert.equal(withRootId(odd, 5), odd);
    assert.equal(withoutRootId(odd, 0), odd);
  }
});

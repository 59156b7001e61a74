import assert from "node:assert/strict";
import { lstatSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import {
  getXattr,
  listXattrs,
  makeDevice,
  makeNode,
  nodeTypes,
  removeXattr,
  setXattr,
  splitDevice,
} from "./file-metadata.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-metadata-"));
after(() => rmSync(folder, { recursive: true }));

test("device numbers survive packing, small and large", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 0, max: 0xffffffff }), (major, minor) => {
      assert.deepEqual(splitDevice(makeDevice(major, minor)), { major, minor });
    }),
  );
});

test("pipes and devices are made with their type and number", () => {
  makeNode(join(folder, "fifo"), nodeTypes.fifo | 0o600);
  assert.ok(statSync(join(folder, "fifo")).isFIFO());
  makeNode(join(folder, "null"), nodeTypes.character | 0o666, makeDevice(1, 3));
  const stats = statSync(join(folder, "null"), { bigint: true });
  assert.ok(stats.isCharacterDevice());
  assert.deepEqual(splitDevice(stats.rdev), { major: 1, minor: 3 });
  assert.throws(() => makeNode(join(folder, "null"), nodeTypes.fifo), { code: "already-exists" });
});

test("attributes keep every byte, long ones and empty ones too", () => {
  const path = join(folder, "file");
  writeFileSync(path, "");
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), (value) => {
      setXattr(path, "user.test", value);
      assert.deepEqual(getXattr(path, "user.test"), Buffer.from(value));
    }),
    { numRuns: 50 },
  );
  assert.deepEqual(listXattrs(path), ["user.test"]);
  removeXattr(path, "user.test");
  assert.equal(getXattr(path, "user.test"), undefined);
  assert.deepEqual(listXattrs(path), []);
});

test("an attribute belongs to the link itself, never to what it points at", () => {
  const target = join(folder, "target");
  const link = join(folder, "link");
  writeFileSync(target, "");
  symlinkSync(target, link);
  setXattr(link, "trusted.test", Buffer.from("link"));
  assert.equal(getXattr(target, "trusted.test"), undefined);
  assert.equal(getXattr(link, "trusted.test")?.toString(), "link");
  assert.ok(lstatSync(link).isSymbolicLink());
});

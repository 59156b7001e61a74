import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readJson, removeFolder, writeFileAtomic, writeFileAtomicSync } from "./files.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-files-"));
after(() => rmSync(folder, { recursive: true }));

test("a file is replaced whole, with the mode that was asked, and nothing beside it", async () => {
  const path = join(folder, "a.json");
  writeFileAtomicSync(path, "one", { mode: 0o600 });
  assert.equal(statSync(path).mode & 0o777, 0o600);
  await writeFileAtomic(path, Buffer.from("two"), { sync: false });
  assert.equal(readFileSync(path, "utf8"), "two");
  assert.deepEqual(readdirSync(folder), ["a.json"]);
});

test("readers see the old or the new content while many write", async () => {
  const path = join(folder, "b");
  const contents = Array.from({ length: 20 }, (_, index) => String(index % 10).repeat(100_000));
  writeFileAtomicSync(path, contents[0] as string);
  let isOver = false;
  const reads = (async () => {
    while (!isOver) {
      const text = readFileSync(path, "utf8");
      assert.ok(text.length === 100_000 && text === (text[0] as string).repeat(100_000));
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  await Promise.all(contents.map((content) => writeFileAtomic(path, content, { sync: false })));
  isOver = true;
  await reads;
});

test("a failed write leaves the old file and no other", async () => {
  const path = join(folder, "c", "d");
  await assert.rejects(writeFileAtomic(path, "x"));
  assert.throws(() => writeFileAtomicSync(path, "x"));
  writeFileSync(join(folder, "e"), "old");
  await assert.rejects(writeFileAtomic(join(folder, "e", "f"), "x"));
  assert.equal(readFileSync(join(folder, "e"), "utf8"), "old");
  chmodSync(join(folder, "e"), 0o600);
});

test("JSON that is not there is undefined, and damaged JSON is named", async () => {
  assert.equal(await readJson(join(folder, "none")), undefined);
  writeFileSync(join(folder, "bad.json"), '{"a":');
  await assert.rejects(readJson(join(folder, "bad.json")), /bad\.json is damaged/);
});

test("a folder goes with all that is in it, few files or many, and not what its links lead to", async () => {
  const kept = join(folder, "kept");
  mkdirSync(kept);
  writeFileSync(join(kept, "file"), "");
  for (const count of [3, 100]) {
    const doomed = join(folder, "doomed");
    mkdirSync(join(doomed, "inner"), { recursive: true });
    for (let index = 0; index < count; index++) writeFileSync(join(doomed, "inner", String(index)), "x");
    symlinkSync(kept, join(doomed, "link"));
    await removeFolder(doomed);
    assert.equal(existsSync(doomed), false);
    assert.deepEqual(readdirSync(kept), ["file"]);
  }
  await removeFolder(join(folder, "never there"));
});

import assert from "node:assert/strict";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { getXattr } from "#host/file-metadata.ts";
import { type TarEntryInit, encodeEntry, endOfArchive } from "./tar-writer.ts";
import { Unpacker } from "./unpack.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-unpack-"));
after(() => rmSync(folder, { recursive: true }));
let number = 0;

function newTarget(): string {
  // One folder deeper, so that what climbs out is seen.
  const target = join(folder, String(number++), "root");
  mkdirSync(target, { recursive: true });
  return target;
}

function unpack(
  target: string,
  entries: (TarEntryInit & { content?: string })[],
  kind: "layer" | "archive" = "layer",
): void {
  const unpacker = new Unpacker({ target, kind });
  unpacker.push(
    Buffer.concat([
      ...entries.map(({ content = "", ...entry }) => encodeEntry(entry, Buffer.from(content))),
      endOfArchive(),
    ]),
  );
  unpacker.finish();
}

test("types, modes, owners, times, links and attributes are kept", () => {
  const target = newTarget();
  const xattrs = new Map([
    ["security.capability", Buffer.from("0100000200040000000000000000000000000000", "hex")],
    ["user.x", Buffer.from([0, 255, 10])],
  ]);
  unpack(target, [
    { name: "d/", type: "directory", mode: 0o1777, uid: 5, gid: 6, mtime: 1000 },
    { name: "d/file", type: "file", mode: 0o4755, uid: 1, gid: 2, mtime: 2000.5, content: "hello", xattrs },
    { name: "d/hard", type: "link", linkname: "d/file" },
    { name: "soft", type: "symlink", linkname: "d/file", uid: 7, gid: 8 },
    { name: "null", type: "character", devmajor: 1, devminor: 3, mode: 0o666 },
    { name: "pipe", type: "fifo", mode: 0o600 },
    { name: `long/${"x".repeat(90)}/${"y".repeat(90)}`, type: "file", content: "deep" },
  ]);
  const d = statSync(join(target, "d"));
  assert.deepEqual([d.mode & 0o7777, d.uid, d.gid, d.mtimeMs], [0o1777, 5, 6, 1_000_000]);
  const file = statSync(join(target, "d/file"));
  assert.deepEqual([file.mode & 0o7777, file.uid, file.gid, file.mtimeMs, file.nlink], [0o4755, 1, 2, 2_000_500, 2]);
  assert.deepEqual(getXattr(join(target, "d/file"), "user.x"), Buffer.from([0, 255, 10]));
  assert.equal(getXattr(join(target, "d/file"), "security.capability")?.length, 20);
  assert.equal(readlinkSync(join(target, "soft")), "d/file");
  assert.equal(lstatSync(join(target, "soft")).uid, 7);
  assert.equal(statSync(join(target, "null")).rdev, (1 << 8) | 3);
  assert.ok(statSync(join(target, "pipe")).isFIFO());
  assert.equal(readFileSync(join(target, `long/${"x".repeat(90)}/${"y".repeat(90)}`), "utf8"), "deep");
});

test("names and links that leave the root are refused", () => {
  const cases: (TarEntryInit & { content?: string })[][] = [
    [{ name: "../evil", type: "file", content: "x" }],
    [{ name: "a/../../evil", type: "file", content: "x" }],
    [{ name: "up", type: "symlink", linkname: "../../evil" }],
    [{ name: "hard", type: "link", linkname: "../evil" }],
  ];
  for (const entries of cases) {
    const target = newTarget();
    writeFileSync(join(target, "../outside"), "safe");
    assert.throws(() => unpack(target, entries), { code: "invalid" });
    assert.deepEqual(readdirSync(join(target, "..")).sort(), ["outside", "root"]);
  }
});

test("a folder that is a link is followed inside the root only", () => {
  const target = newTarget();
  unpack(target, [
    { name: "etc", type: "symlink", linkname: "/" },
    { name: "etc/passwd", type: "file", content: "inside" },
  ]);
  assert.equal(readFileSync(join(target, "passwd"), "utf8"), "inside");
});

test("an archive that ends too early, or is none, is refused", () => {
  const whole = Buffer.concat([encodeEntry({ name: "a", type: "file" }, Buffer.alloc(2000)), endOfArchive()]);
  for (const bytes of [whole.subarray(0, 700), whole.subarray(0, 300), Buffer.alloc(600, "garbage")]) {
    const unpacker = new Unpacker({ target: newTarget(), kind: "layer" });
    assert.throws(
      () => {
        unpacker.push(Buffer.from(bytes));
        unpacker.finish();
      },
      { code: "invalid" },
    );
  }
});

test("limits on bytes and entries hold", () => {
  const limits = { maxBytes: 100, maxEntries: 3 };
  const push = (...names: [string, number][]): void => {
    const unpacker = new Unpacker({ target: newTarget(), kind: "layer", limits });
    for (const [name, size] of names) unpacker.push(encodeEntry({ name, type: "file" }, Buffer.alloc(size)));
  };
  assert.throws(() => push(["a", 101]), { code: "too-large" });
  assert.throws(() => push(["a", 1], ["b", 1], ["c", 1], ["d", 1]), { code: "too-large" });
  assert.doesNotThrow(() => push(["a", 50], ["b", 50]));
});

test("no archive, however made, writes outside the root", () => {
  const part = fc.constantFrom("a", "b", "..", ".", "c", ".wh.a", ".wh..wh..opq", "");
  const name = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
  const entry = fc.record({
    name,
    type: fc.constantFrom("file", "directory", "symlink", "link", "fifo"),
    linkname: fc.oneof(
      name,
      name.map((text) => `/${text}`),
    ),
  });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 8 }), fc.integer({ min: 1, max: 600 }), (entries, chunk) => {
      const target = newTarget();
      const parent = join(target, "..");
      const bytes = Buffer.concat([
        ...entries.map((each) =>
          encodeEntry(each as TarEntryInit, each.type === "file" ? Buffer.from("x") : undefined),
        ),
        endOfArchive(),
      ]);
      const unpacker = new Unpacker({ target, kind: "layer" });
      try {
        for (let at = 0; at < bytes.length; at += chunk) unpacker.push(Buffer.from(bytes.subarray(at, at + chunk)));
        unpacker.finish();
      } catch (error) {
        assert.ok(error instanceof Error);
      }
      assert.deepEqual(readdirSync(parent), ["root"]);
      rmSync(parent, { recursive: true });
    }),
    { numRuns: 300 },
  );
  assert.ok(!existsSync("/evil"));
});

test("flipped bytes never hang or crash the reader in another way than by refusing", () => {
  const good = Buffer.concat([
    encodeEntry(
      { name: `${"n".repeat(120)}`, type: "file", xattrs: new Map([["user.a", Buffer.from("b")]]) },
      Buffer.from("content"),
    ),
    endOfArchive(),
  ]);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 }), (flips) => {
      const bytes = Buffer.from(good);
      for (const [at, value] of flips) bytes[at] = value;
      const target = newTarget();
      const unpacker = new Unpacker({ target, kind: "layer" });
      try {
        unpacker.push(bytes);
        unpacker.finish();
      } catch (error) {
        assert.ok(error instanceof Error && "code" in error, String(error));
      }
      rmSync(join(target, ".."), { recursive: true });
    }),
    { numRuns: 300 },
  );
});

test("what GNU tar writes is unpacked as GNU tar would", () => {
  const source = newTarget();
  mkdirSync(join(source, "d/e"), { recursive: true });
  writeFileSync(join(source, "d/e", "ä".repeat(40)), "umlauts");
  writeFileSync(join(source, "big"), Buffer.alloc(100_000, "z"));
  for (const format of ["gnu", "pax", "ustar"]) {
    const tar = execFileSync("tar", ["--format", format, "-C", source, "-cf", "-", "."], { maxBuffer: 1 << 24 });
    const target = newTarget();
    const unpacker = new Unpacker({ target, kind: "archive" });
    unpacker.push(tar);
    unpacker.finish();
    assert.equal(readFileSync(join(target, "d/e", "ä".repeat(40)), "utf8"), "umlauts");
    assert.equal(statSync(join(target, "big")).size, 100_000);
  }
});

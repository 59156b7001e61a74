import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { GantryError } from "#base/errors.ts";
import { type TarContentSink, TarReader } from "./tar-reader.ts";
import { encodeEntry, endOfArchive } from "./tar-writer.ts";
import { Unpacker } from "./unpack.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-sparse-"));
after(() => rmSync(folder, { recursive: true }));

/** GNU tar's ways to write a sparse file. */
const forms = [
  ["--format=gnu"],
  ["--format=posix", "--sparse-version=0.0"],
  ["--format=posix", "--sparse-version=0.1"],
  ["--format=posix", "--sparse-version=1.0"],
];

/** A file of `size` bytes with four bytes of data at each of the places. */
function sparseFile(path: string, size: number, places: readonly number[]): void {
  const fd = openSync(path, "w");
  ftruncateSync(fd, size);
  for (const place of places) writeSync(fd, "data", place);
  closeSync(fd);
}

const source = join(folder, "source");
mkdirSync(source);
sparseFile(join(source, "holes-between"), 10 << 20, [0, 1 << 20, 5 << 20, (10 << 20) - 4]);
sparseFile(join(source, "hole-at-both-ends"), 3 << 20, [1 << 20]);
sparseFile(join(source, "nothing-but-a-hole"), 1 << 20, []);
sparseFile(
  join(source, "so-many-holes-that-the-map-goes-on"),
  100 << 16,
  Array.from({ length: 100 }, (_, at) => at << 16),
);
sparseFile(join(source, `long-name-${"x".repeat(120)}`), 1 << 20, [1 << 19]);
execFileSync("sh", ["-c", `cd ${source} && printf plain > plain`]);

const packed = forms.map((form) =>
  execFileSync("tar", ["-cS", ...form, "-C", source, "."], {
    maxBuffer: 64 << 20,
    stdio: ["ignore", "pipe", "ignore"],
  }),
);

test("what GNU tar writes of sparse files is the same file again, with its holes", () => {
  for (const [at, archive] of packed.entries()) {
    const form = (forms[at] as string[]).join(" ");
    assert.ok(archive.length < 2 << 20, `${form} is no sparse archive`);
    for (const step of [archive.length, 777]) {
      const target = join(folder, `target-${at}-${step}`);
      mkdirSync(target);
      const unpacker = new Unpacker({ target, kind: "layer" });
      for (let from = 0; from < archive.length; from += step) unpacker.push(archive.subarray(from, from + step));
      const { size } = unpacker.finish();
      execFileSync("diff", ["-r", source, target]);
      assert.equal(size, (10 << 20) + (3 << 20) + (1 << 20) + (100 << 16) + (1 << 20) + 5, form);
      assert.ok(statSync(join(target, "holes-between")).blocks * 512 < 1 << 20, `${form}: the holes are filled`);
    }
  }
});

/** Reads an archive, counts what comes, and checks that each file has the size that was promised. */
function read(archive: Buffer, step: number): { files: number; closed: number } {
  let files = 0;
  let closed = 0;
  const reader = new TarReader((entry): TarContentSink => {
    let size = 0;
    files++;
    return {
      write: (chunk) => (size += chunk.length),
      hole: (length) => {
        assert.ok(length > 0);
        size += length;
      },
      end: () => {
        closed++;
        assert.equal(size, entry.size);
      },
      abort: () => closed++,
    };
  });
  try {
    for (let from = 0; from < archive.length; from += step) reader.push(archive.subarray(from, from + step));
    reader.end();
  } catch (error) {
    assert.ok(error instanceof GantryError, String(error));
  } finally {
    reader.close();
  }
  return { files, closed };
}

test("damaged maps are refused, whatever is wrong with them, and no file stays open", () => {
  fc.assert(
    fc.property(
      fc.nat({ max: packed.length - 1 }),
      fc.array(fc.tuple(fc.nat({ max: 40_000 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 100, max: 5000 }),
      (form, changes, step) => {
        const damaged = Buffer.from(packed[form] as Buffer);
        for (const [at, value] of changes) damaged[at % damaged.length] = value;
        mendChecksums(damaged);
        const { files, closed } = read(damaged, step);
        assert.equal(closed, files);
      },
    ),
    { numRuns: 400 },
  );
});

/** Makes every block's checksum right that looks like a header, so that more than checksums is tried. */
function mendChecksums(archive: Buffer): void {
  for (let at = 0; at + 512 <= archive.length; at += 512) {
    const block = archive.subarray(at, at + 512);
    if (block.toString("latin1", 257, 262) !== "ustar") continue;
    block.fill(0x20, 148, 156);
    const sum = block.reduce((total, byte) => total + byte, 0);
    block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  }
}

const pax = (records: Record<string, string>): Buffer => {
  const data = Buffer.from(
    Object.entries(records)
      .map(([key, value]) => {
        const rest = ` ${key}=${value}\n`;
        const length = rest.length + String(rest.length + 3).length;
        return `${length}${rest}`;
      })
      .join(""),
  );
  const entry = encodeEntry({ name: "pax", type: "file" }, data);
  entry.write("x", 156, "latin1");
  mendChecksums(entry);
  return entry;
};

test("a map that lies about its file is refused", () => {
  const cases: [string, Record<string, string>, string][] = [
    ["pieces overlap", { size: "100", map: "0,4,2,4", numblocks: "2" }, "datadata"],
    ["a piece is outside", { size: "6", map: "0,4,4,4", numblocks: "2" }, "datadata"],
    ["more is stored", { size: "100", map: "0,4", numblocks: "1" }, "datadata"],
    ["less is stored", { size: "100", map: "0,4,8,4", numblocks: "2" }, "data"],
    ["the count is wrong", { size: "100", map: "0,4", numblocks: "3" }, "data"],
    ["no number", { size: "100", map: "0,x", numblocks: "1" }, "data"],
    ["negative", { size: "-1", map: "0,4", numblocks: "1" }, "data"],
    ["too large", { size: "99999999999999999", map: "0,4", numblocks: "1" }, "data"],
    ["the map has no end", { major: "1", minor: "0", realsize: "100" }, "9\n1\n"],
    ["the map has too many", { major: "1", minor: "0", realsize: "100" }, `999999999\n${"0\n".repeat(250)}`],
  ];
  for (const [what, records, content] of cases) {
    const keys = Object.fromEntries(Object.entries(records).map(([key, value]) => [`GNU.sparse.${key}`, value]));
    const archive = Buffer.concat([
      pax(keys),
      encodeEntry({ name: "f", type: "file" }, Buffer.from(content)),
      endOfArchive(),
    ]);
    const target = join(folder, what);
    mkdirSync(target);
    const unpacker = new Unpacker({ target, kind: "layer" });
    assert.throws(
      () => {
        unpacker.push(archive);
        unpacker.finish();
      },
      { code: "invalid" },
      what,
    );
    unpacker.close();
  }
});

test("a sparse file's size counts against the limit on bytes, though nothing is stored of it", () => {
  const target = join(folder, "limit");
  mkdirSync(target);
  const unpacker = new Unpacker({ target, kind: "layer", limits: { maxBytes: 5 << 20, maxEntries: 100 } });
  assert.throws(() => unpacker.push(packed[3] as Buffer), { code: "too-large" });
  unpacker.close();
  assert.equal(readFileSync(join(source, "plain"), "utf8"), "plain");
});

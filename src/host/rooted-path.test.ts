import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { RootedPaths, partsOf, resolveInRoot } from "./rooted-path.ts";

const outside = realpathSync(mkdtempSync(join(tmpdir(), "gantry-rooted-")));
const root = join(outside, "root");
mkdirSync(join(root, "usr/lib"), { recursive: true });
writeFileSync(join(root, "usr/lib/file"), "");
writeFileSync(join(outside, "secret"), "");
symlinkSync("usr/lib", join(root, "lib"));
symlinkSync("/usr", join(root, "absolute"));
symlinkSync("../../../../secret", join(root, "climber"));
symlinkSync("/../..", join(root, "up"));
symlinkSync("loop", join(root, "loop"));
after(() => rmSync(outside, { recursive: true }));

test("links are followed as a process inside sees them", () => {
  const paths = new RootedPaths(root);
  assert.equal(paths.resolve(["lib", "file"]), join(root, "usr/lib/file"));
  assert.equal(paths.resolve(["absolute", "lib", "file"]), join(root, "usr/lib/file"));
  assert.equal(paths.resolve(["up", "usr"]), join(root, "usr"));
  assert.equal(paths.resolve(["climber"]), join(root, "secret"));
  assert.equal(paths.locate(["lib"], false), join(root, "lib"), "the last part is not followed");
});

test("a loop and a file in the middle of a path are refused", () => {
  const paths = new RootedPaths(root);
  assert.throws(() => paths.resolve(["loop"]), { code: "invalid" });
  assert.throws(() => paths.locate(["loop", "x"], false), { code: "invalid" });
  assert.throws(() => paths.locate(["usr", "lib", "file", "x"], false), { code: "invalid" });
  assert.throws(() => paths.locate(["missing", "x"], false), { code: "not-found" });
});

test("what does not exist is taken as it is written, and a link at the end stays one when asked", () => {
  assert.equal(resolveInRoot(root, "/lib/none/../x/y"), join(root, "usr/lib/x/y"));
  assert.equal(resolveInRoot(root, "/climber"), join(root, "secret"));
  assert.equal(resolveInRoot(root, "/absolute/../lib", { followLast: false }), join(root, "lib"));
  assert.equal(resolveInRoot(root, "/"), root);
  assert.throws(() => resolveInRoot(root, "/loop/x"), { code: "invalid" });
});

test("folders are made inside, through links too", () => {
  const paths = new RootedPaths(root);
  paths.locate(["lib", "new", "x"], true);
  assert.ok(existsSync(join(root, "usr/lib/new")));
});

test("no name leads out", () => {
  const names = fc.constantFrom("..", ".", "lib", "up", "climber", "absolute", "usr", "file", "");
  fc.assert(
    fc.property(fc.array(names, { maxLength: 8 }), (parts) => {
      let found: string;
      try {
        found = new RootedPaths(root).resolve(partsOf(parts.join("/")));
      } catch {
        return;
      }
      assert.ok(found === root || found.startsWith(`${root}/`), found);
      if (existsSync(found)) assert.ok(realpathSync(found).startsWith(root));
    }),
    { numRuns: 500 },
  );
  assert.throws(() => partsOf("../x"), { code: "invalid" });
  assert.throws(() => partsOf("a/../../x"), { code: "invalid" });
  assert.deepEqual(partsOf("/a/./b/../c/"), ["a", "c"]);
});

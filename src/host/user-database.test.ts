import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { resolveUser } from "./user-database.ts";

const root = mkdtempSync(join(tmpdir(), "gantry-users-"));
mkdirSync(join(root, "etc"));
writeFileSync(
  join(root, "etc/passwd"),
  "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/sh\nbroken line\n1234:x:77:78::/num:/bin/sh\n",
);
writeFileSync(join(root, "etc/group"), "root:x:0:\nwww:x:34:\nlog:x:4:web,root\nssl:x:99:web\n");
after(() => rmSync(root, { recursive: true }));

test("a name has its own ids, home and further groups", () => {
  assert.deepEqual(resolveUser(root, "web"), {
    uid: 33,
    gid: 34,
    additionalGids: [4, 99],
    home: "/var/www",
    name: "web",
  });
  assert.deepEqual(resolveUser(root, ""), { uid: 0, gid: 0, additionalGids: [4], home: "/root", name: "root" });
  assert.equal(resolveUser(root, "33").name, "web");
});

test("a group that is given replaces the user's groups", () => {
  const user = resolveUser(root, "web:ssl");
  assert.deepEqual([user.uid, user.gid, user.additionalGids], [33, 99, []]);
  assert.equal(resolveUser(root, "5000:6000").gid, 6000);
  assert.deepEqual(resolveUser(root, "web:www", ["log", "7"]).additionalGids, [4, 7]);
});

test("a number that is a name means the name, one that is unknown means itself", () => {
  assert.equal(resolveUser(root, "1234").uid, 77);
  assert.deepEqual(resolveUser(root, "5000"), { uid: 5000, gid: 0, additionalGids: [], home: "/", name: "" });
});

test("unknown names and numbers out of range are refused in docker's words", () => {
  assert.throws(() => resolveUser(root, "nobody"), {
    message: "unable to find user nobody: no matching entries in passwd file",
  });
  assert.throws(() => resolveUser(root, "web:none"), {
    message: "unable to find group none: no matching entries in group file",
  });
  assert.throws(() => resolveUser(root, "4294967295"), /must be in range/);
});

test("files that are missing or links out of the root read as empty", () => {
  const bare = join(root, "bare");
  mkdirSync(join(bare, "etc"), { recursive: true });
  assert.equal(resolveUser(bare, "7:8").gid, 8);
  symlinkSync("../../etc/passwd", join(bare, "etc/passwd"));
  assert.throws(() => resolveUser(bare, "web"), { code: "invalid" });
});

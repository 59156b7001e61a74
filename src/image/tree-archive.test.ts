import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, test } from "node:test";
import { setXattr } from "#host/file-metadata.ts";
import { copyIn, copyOut, copyStat } from "./copy-archive.ts";
import * as isolated from "./isolated-copy.ts";
import { archiveTree } from "./tree-archive.ts";
import { Unpacker } from "./unpack.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-tree-"));
after(() => rmSync(folder, { recursive: true }));
let number = 0;

function newFolder(script = ""): string {
  const path = join(folder, String(number++));
  mkdirSync(path);
  if (script !== "") execFileSync("sh", ["-ec", script], { cwd: path });
  return path;
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(source));
}

const rich = `
  mkdir -p a/b empty
  echo hello > a/file; chown 3:4 a/file; chmod 6755 a/file
  ln a/file a/b/hard
  ln -s ../file a/b/soft
  mknod null c 1 3; mknod disk b 8 1; mkfifo pipe
  head -c 200000 /dev/urandom > big
  touch -d @1234567890 a/file
  touch "$(printf 'n%.0s' $(seq 150))" 'spaced ü name'
  chmod 1777 empty
`;

const listing = (path: string): string =>
  execFileSync("find", [".", "-mindepth", "1", "-printf", "%P %y %m %U %G %n %s %l\n"], { cwd: path })
    .toString()
    .split("\n")
    .sort()
    .join("\n");

test("GNU tar and our own reader make the same tree of what is written", async () => {
  const source = newFolder(rich);
  setXattr(join(source, "big"), "user.raw", Buffer.from([0, 10, 255]));
  const tar = await collect(archiveTree(source, { kind: "plain" }));
  const byTar = newFolder();
  execFileSync("tar", ["--xattrs", "--xattrs-include=*", "-xpf", "-"], { cwd: byTar, input: tar });
  assert.equal(listing(byTar), listing(source));
  const byUs = newFolder();
  const unpacker = new Unpacker({ target: byUs, kind: "archive" });
  unpacker.push(tar);
  unpacker.finish();
  assert.equal(listing(byUs), listing(source));
  assert.deepEqual(readFileSync(join(byUs, "big")), readFileSync(join(source, "big")));
  assert.deepEqual(await collect(archiveTree(byUs, { kind: "plain" })), tar, "the same tree gives the same bytes");
});

test("a copy out holds the file, the folder, or what the folder holds", async () => {
  const rootfs = newFolder("mkdir -p d/sub; echo x > d/f; ln -s d link; ln -s /etc/passwd abs");
  const names = async (path: string): Promise<string[]> =>
    execFileSync("tar", ["-tf", "-"], { input: await collect(copyOut({ rootfs, path, container: "c" }).tar) })
      .toString()
      .trim()
      .split("\n");
  assert.deepEqual(await names("/d"), ["d/", "d/f", "d/sub/"]);
  assert.deepEqual(await names("/d/."), ["./", "./f", "./sub/"]);
  assert.deepEqual(await names("d/f"), ["f"]);
  assert.deepEqual(await names("/link"), ["link"]);
  assert.deepEqual(await names("/link/"), ["link/", "link/f", "link/sub/"]);
  assert.throws(() => copyStat({ rootfs, path: "/no/such", container: "c" }), {
    code: "not-found",
    message: "Could not find the file /no/such in container c",
  });
  const stat = copyStat({ rootfs, path: "/link", container: "c" });
  assert.equal(stat.linkTarget, "/d");
  assert.equal(stat.mode, 2 ** 27 + 0o777);
  assert.equal(copyStat({ rootfs, path: "/abs", container: "c" }).linkTarget, "/etc/passwd");
  assert.equal(copyStat({ rootfs, path: "/", container: "c" }).name, "/");
});

test("a copy in follows links inside the root, and keeps folders and files apart when asked", async () => {
  const rootfs = newFolder("mkdir real folder; ln -s /real link; echo old > file");
  const tar = await collect(archiveTree(newFolder("mkdir x; echo 1 > x/f"), { kind: "plain" }));
  const from = async function* (bytes: Buffer): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += 700) yield bytes.subarray(at, at + 700);
  };
  await copyIn({ rootfs, path: "/link", container: "c" }, from(tar), { owner: { uid: 9, gid: 8 } });
  assert.equal(readFileSync(join(rootfs, "real/x/f"), "utf8"), "1\n");
  assert.match(listing(rootfs), /real\/x\/f f 644 9 8/);
  await assert.rejects(copyIn({ rootfs, path: "/none", container: "c" }, from(tar)), { code: "not-found" });
  await assert.rejects(copyIn({ rootfs, path: "/file", container: "c" }, from(tar)), {
    code: "invalid",
    message: "extraction point is not a directory",
  });
  const clash = await collect(archiveTree(newFolder("echo new > folder"), { kind: "plain" }));
  await assert.rejects(copyIn({ rootfs, path: "/", container: "c" }, from(clash), { noOverwriteDirNonDir: true }), {
    code: "invalid",
    message: 'cannot overwrite directory "/folder" with non-directory "/"',
  });
  writeFileSync(join(rootfs, "x"), "");
  await assert.rejects(copyIn({ rootfs, path: "/", container: "c" }, from(tar), { noOverwriteDirNonDir: true }), {
    message: 'cannot overwrite non-directory "/x" with directory "/"',
  });
});

test("a copy in a thread of its own sees the container's root as /, and no link leads out", async () => {
  const rootfs = newFolder(
    "mkdir d; head -c 300000 /dev/urandom > d/big; ln -s /outside-of-it away; mkdir -p outside-of-it",
  );
  const place = { rootfs, path: "/d", container: "c" };
  const { stat, tar } = await isolated.copyOut(place);
  assert.equal(stat.name, "d");
  assert.deepEqual(await collect(tar), await collect(copyOut(place).tar));
  const given = await collect(archiveTree(newFolder("echo 1 > f; head -c 500000 /dev/zero > g"), { kind: "plain" }));
  const chunks = async function* (): AsyncGenerator<Buffer> {
    for (let at = 0; at < given.length; at += 60_000) yield given.subarray(at, at + 60_000);
  };
  await isolated.copyIn({ ...place, path: "/away" }, chunks());
  assert.equal(readFileSync(join(rootfs, "outside-of-it/f"), "utf8"), "1\n");
  // Compressed, as dockerd takes it; with our programs, not the container's.
  for (const program of ["gzip", "bzip2", "xz"]) {
    const packed = execFileSync(program, ["-c"], { input: given });
    const target = join(rootfs, program);
    mkdirSync(target);
    await isolated.copyIn({ ...place, path: `/${program}` }, Readable.from([packed]));
    assert.equal(readFileSync(join(target, "f"), "utf8"), "1\n");
  }
  await assert.rejects(isolated.copyOut({ ...place, path: "/none" }), {
    code: "not-found",
    message: "Could not find the file /none in container c",
  });
  await assert.rejects(isolated.copyIn({ ...place, path: "/none" }, chunks()), { code: "not-found" });
  // An archive that nobody reads on ends its thread.
  const unread = await isolated.copyOut(place);
  await unread.tar.next();
  await unread.tar.return(undefined);
});

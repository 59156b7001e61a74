/** Mounts of every kind, as `--mount` and `-v` ask for them, with the real docker CLI. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { listMounts, mount, setPropagation, unmount } from "#host/mount.ts";
import { busyboxTar } from "./busybox-tar.ts";
import { startDaemon, type TestDaemon } from "./daemon.ts";
import { DockerCli } from "./docker-cli.ts";

let daemon: TestDaemon;
let cli: DockerCli;
/** A folder of the machine with another file system mounted in it. */
const outer = mkdtempSync(join(tmpdir(), "gantry-mounts-"));
const inner = join(outer, "inner");

before(async () => {
  writeFileSync(join(outer, "file"), "");
  mkdirSync(inner);
  mount({ source: "tmpfs", target: inner, type: "tmpfs" });
  daemon = await startDaemon(14);
  cli = new DockerCli(daemon.host);
  busyboxTar(join(cli.folder, "bb.tar"));
  await cli.ok("import", join(cli.folder, "bb.tar"), "bb:1");
  await cli.ok("run", "--name", "layered", "bb:1", "sh", "-c", "mkdir -p /data/sub; echo content > /data/sub/file");
  await cli.ok("commit", "layered", "content:1");
  await cli.ok("rm", "layered");
});

after(async () => {
  await cli.shell("docker rm -fv $(docker ps -aq); docker volume prune -af");
  cli.dispose();
  await daemon.stop();
  unmount(inner);
  rmSync(outer, { recursive: true });
});

/** Runs a shell in a container with these options; its output, or the error's text. */
async function inContainer(script: string, ...options: string[]): Promise<string> {
  const { out, err } = await cli.run(["run", "--rm", "--network", "none", ...options, "bb:1", "sh", "-c", script]);
  return (out + err).trim();
}

test("an image is mounted read-only, with the warning that docker gives", async () => {
  const shown = "type=image,source=content:1,target=/image";
  const { out, err } = await cli.run([
    "run",
    "--rm",
    "--mount",
    shown,
    "bb:1",
    "sh",
    "-c",
    "cat /image/data/sub/file; touch /image/x",
  ]);
  assert.equal(out, "content\n");
  assert.match(err, /Image mount is an experimental feature/);
  assert.match(err, /touch: \/image\/x: Read-only file system/);
  assert.match(await inContainer("cat /image/file", "--mount", `${shown},image-subpath=data/sub`), /^content$/m);
});

test("nothing of a container's own is in a mounted image, and nothing stays mounted", async () => {
  const listing = await inContainer("ls -a /image", "--mount", "type=image,source=content:1,target=/image");
  assert.doesNotMatch(listing, /dockerenv/);
  const left = listMounts().filter(({ target }) => /snapshots\/[0-9a-f]{64}-\d+|mount-sources/.test(target));
  assert.deepEqual(left, []);
});

test("inspect tells of a mounted image, which outlives its name and a restart", async () => {
  const mounted = "type=image,source=content:1,target=/image";
  await cli.ok("run", "-d", "--name", "holds", "--mount", mounted, "bb:1", "sleep", "100");
  const [shown] = JSON.parse(await cli.ok("inspect", "holds", "--format", "{{json .Mounts}}")) as Record<
    string,
    unknown
  >[];
  assert.deepEqual(
    { ...shown, Source: "" },
    {
      Type: "image",
      Name: "content:1",
      Source: "",
      Destination: "/image",
      Mode: "",
      RW: false,
      Propagation: "rprivate",
    },
  );
  await cli.ok("rmi", "content:1");
  await cli.ok("restart", "-t", "0", "holds");
  assert.equal(await cli.ok("exec", "holds", "cat", "/image/data/sub/file"), "content");
  await cli.ok("stop", "-t", "0", "holds");
  assert.equal(await cli.ok("cp", "holds:/image/data/sub/file", "-").then((tar) => tar.includes("content")), true);
  await cli.ok("rm", "-f", "holds");
});

test("an image mount that cannot be is refused", async () => {
  const refusal = async (wanted: string): Promise<string> => inContainer("true", "--pull", "never", "--mount", wanted);
  assert.match(await refusal("type=image,source=nosuch:1,target=/x"), /No such image: nosuch:1/);
  assert.match(
    await refusal("type=image,source=bb:1,target=/x,image-subpath=../etc"),
    /invalid mount config for type "image": subpath must be a relative path within the volume/,
  );
  assert.match(
    await refusal("type=image,source=bb:1,target=/x,image-subpath=nosuch"),
    /cannot access path .*nosuch: no such file or directory/,
  );
});

test("a part of a volume is mounted, and no link in the volume leads out of it", async () => {
  await inContainer(
    "mkdir -p /v/a/b; echo deep > /v/a/b/file; ln -s /etc /v/absolute; ln -s ../../.. /v/up; ln -s a/b /v/inside",
    "-v",
    "parts:/v",
  );
  const part = (subpath: string): string[] => [
    "--mount",
    `type=volume,source=parts,target=/part,volume-subpath=${subpath}`,
  ];
  assert.equal(await inContainer("cat /part/file", ...part("a/b")), "deep");
  assert.equal(await inContainer("cat /part/file", ...part("inside")), "deep");
  assert.equal(await inContainer("cat /part", ...part("a/b/file")), "deep");
  assert.match(await inContainer("ls /part", ...part("absolute")), /path concatenation escapes the base directory/);
  assert.match(await inContainer("ls /part", ...part("up/etc")), /path concatenation escapes the base directory/);
  assert.match(
    await inContainer("ls /part", ...part("nosuch")),
    /cannot access path .*parts\/_data\/nosuch: no such file or directory/,
  );
  assert.match(
    await inContainer("true", "--mount", "type=volume,target=/part,volume-subpath=a"),
    /must not set Subpath when using anonymous volumes/,
  );
  await cli.ok("volume", "rm", "parts");
});

test("a read-only mount is so in what is mounted below it, unless it is asked otherwise", async () => {
  const write = "touch /m/file; touch /m/inner/file";
  assert.match(
    await inContainer(write, "-v", `${outer}:/m:ro`),
    /\/m\/file: Read-only.*\n.*\/m\/inner\/file: Read-only/,
  );
  const onlyTop = ["--mount", `type=bind,source=${outer},target=/m,readonly,bind-recursive=writable`];
  assert.match(await inContainer(write, ...onlyTop), /^touch: \/m\/file: Read-only file system$/);
  assert.equal(
    await inContainer("ls /m/inner", "--mount", `type=bind,source=${outer},target=/m,bind-recursive=disabled`),
    "",
  );
});

test("a mount made after the daemon's start is seen, and mounts travel only where docker lets them", async () => {
  const late = mkdtempSync(join(tmpdir(), "gantry-late-"));
  mount({ source: "tmpfs", target: late, type: "tmpfs" });
  try {
    setPropagation(late, "private");
    writeFileSync(join(late, "file"), "late");
    mkdirSync(join(late, "x"));
    assert.equal(await inContainer("cat /l/file", "-v", `${late}:/l`), "late");
    assert.equal(await inContainer("cat /l", "-v", `${join(late, "file")}:/l:ro`), "late");
    const refused = (words: string): RegExp =>
      new RegExp(`path ${late} is mounted on ${late} but it is not a ${words} mount`);
    assert.match(await inContainer("true", "-v", `${late}:/l:rshared`), refused("shared"));
    assert.match(await inContainer("true", "-v", `${late}:/l:rslave`), refused("shared or slave"));
    setPropagation(late, "shared");
    const script = "mount -t tmpfs t /l/x && echo inner > /l/x/file";
    assert.equal(await inContainer(script, "--privileged", "-v", `${late}:/l:rshared`), "");
    assert.equal(readFileSync(join(late, "x/file"), "utf8"), "inner\n");
  } finally {
    while (unmount(join(late, "x"))) continue;
    unmount(late);
    rmSync(late, { recursive: true });
  }
});

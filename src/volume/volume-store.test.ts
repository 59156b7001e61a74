import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { getXattr, setXattr } from "#host/file-metadata.ts";
import { isMounted, listMounts, unmount } from "#host/mount.ts";
import { parseDriverOptions } from "./mount-options.ts";
import { VolumeStore, anonymousLabel } from "./volume-store.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-volume-"));
after(() => {
  for (const { target } of listMounts()) if (target.startsWith(folder)) unmount(target);
  rmSync(folder, { recursive: true });
});
let number = 0;

async function newStore(users: Record<string, string[]> = {}): Promise<VolumeStore> {
  const store = new VolumeStore({
    root: join(folder, String(number++)),
    users: (name) => users[name] ?? [],
    now: () => Date.UTC(2026, 0, 2),
  });
  await store.start();
  return store;
}

test("a named volume has docker's shape, is made once, and is there after a restart", async () => {
  const store = await newStore();
  const made = await store.ensure({ Name: "data", Labels: { a: "b" } });
  assert.deepEqual(made, {
    created: true,
    volume: {
      CreatedAt: "2026-01-02T00:00:00Z",
      Driver: "local",
      Labels: { a: "b" },
      Mountpoint: join(store.root, "data/_data"),
      Name: "data",
      Options: null,
      Scope: "local",
    },
  });
  assert.equal((await store.ensure({ Name: "data", Labels: { other: "" } })).created, false);
  const again = new VolumeStore({ root: store.root, users: () => [] });
  await again.start();
  assert.deepEqual(again.inspect("data"), made.volume);
});

test("an anonymous volume has a long name and docker's label", async () => {
  const volume = await (await newStore()).create({});
  assert.match(volume.Name, /^[a-f0-9]{64}$/);
  assert.deepEqual(volume.Labels, { [anonymousLabel]: "" });
});

test("bad names, drivers and options are refused in docker's words", async () => {
  const store = await newStore();
  const cases: [Parameters<VolumeStore["create"]>[0], string, RegExp][] = [
    [{ Name: "a" }, "invalid", /^create a: volume name is too short, names should be at least two/],
    [{ Name: "../x" }, "invalid", /^create \.\.\/x: "\.\.\/x" includes invalid characters for a local volume name/],
    [
      { Name: "xx", Driver: "nope" },
      "not-found",
      /^create xx: error looking up volume plugin nope: plugin "nope" not found$/,
    ],
    [{ Name: "xx", DriverOpts: { foo: "1" } }, "invalid", /^create xx: invalid option: "foo"$/],
    [{ Name: "xx", DriverOpts: { type: "tmpfs" } }, "invalid", /^create xx: missing required option: "device"$/],
    [{ Name: "xx", DriverOpts: { device: "tmpfs" } }, "invalid", /^create xx: missing required option: "type"$/],
  ];
  for (const [body, code, message] of cases) await assert.rejects(store.create(body), { code, message });
  assert.throws(() => store.inspect("none"), { code: "not-found", message: "get none: no such volume" });
  assert.throws(() => store.list({ color: ["red"] }), { code: "invalid", message: "invalid filter 'color'" });
  assert.deepEqual(readdirSync(store.root), []);
});

test("a volume in use stays; one that is removed leaves nothing", async () => {
  const users: Record<string, string[]> = { used: ["c1", "c2"] };
  const store = await newStore(users);
  await store.create({ Name: "used" });
  await assert.rejects(store.remove("used"), {
    code: "conflict",
    message: "remove used: volume is in use - [c1, c2]",
  });
  users["used"] = [];
  assert.equal(await store.remove("used"), true);
  assert.deepEqual(readdirSync(store.root), []);
  await assert.rejects(store.remove("used"), { code: "not-found", message: "get used: no such volume" });
  assert.equal(await store.remove("used", true), false);
});

test("filters choose by use, name and label, and prune takes anonymous ones unless told all", async () => {
  const store = await newStore({ keep: ["c1"] });
  await store.create({ Name: "keep" });
  await store.create({ Name: "free", Labels: { tier: "x" } });
  const { Name } = await store.create({});
  writeFileSync(join(store.mountpoint(Name), "f"), "12345");
  const names = (filters: Record<string, string[]>): string[] => store.list(filters).map((volume) => volume.Name);
  assert.deepEqual(names({ dangling: ["false"] }), ["keep"]);
  // No part of a random hexadecimal name matches these.
  assert.deepEqual(names({ name: ["fr", "ke"] }), ["free", "keep"]);
  assert.deepEqual(names({ label: ["tier=x"] }), ["free"]);
  assert.deepEqual(await store.prune(), { deleted: [Name], spaceReclaimed: 5 });
  assert.deepEqual((await store.prune({ all: ["true"], "label!": ["tier"] })).deleted, []);
  assert.deepEqual((await store.prune({ all: ["1"] })).deleted, ["free"]);
  assert.deepEqual(names({}), ["keep"]);
});

test("driver options are mounted while somebody uses the volume", async () => {
  const store = await newStore();
  await store.create({ Name: "ram", DriverOpts: { type: "tmpfs", device: "tmpfs", o: "size=1m,uid=7,noexec" } });
  const where = await store.acquire("ram", "c1");
  await store.acquire("ram", "c2");
  assert.ok(isMounted(where));
  assert.equal(lstatSync(where).uid, 7);
  await store.release("ram", "c1");
  assert.ok(isMounted(where));
  // A restart of ours: the container that still runs takes it again, then what nobody took goes.
  const again = new VolumeStore({ root: store.root, users: () => [] });
  await again.start();
  await again.acquire("ram", "c2");
  await again.releaseUnused();
  assert.ok(isMounted(where));
  await again.release("ram", "c2");
  assert.ok(!isMounted(where));
});

test("removing a volume that shows another folder leaves that folder alone", async () => {
  const store = await newStore();
  const elsewhere = join(folder, "elsewhere");
  mkdirSync(elsewhere);
  writeFileSync(join(elsewhere, "precious"), "x");
  await store.create({ Name: "bound", DriverOpts: { type: "none", device: elsewhere, o: "bind" } });
  const where = await store.acquire("bound", "c1");
  assert.equal(readFileSync(join(where, "precious"), "utf8"), "x");
  await store.remove("bound");
  assert.ok(existsSync(join(elsewhere, "precious")));
});

test("what cannot be mounted is said in docker's words", async () => {
  const store = await newStore();
  await store.create({ Name: "gone", DriverOpts: { type: "none", device: "/no/such/folder", o: "bind" } });
  await assert.rejects(store.acquire("gone", "c1"), {
    message: `error while mounting volume '${store.mountpoint("gone")}': failed to mount local volume: mount /no/such/folder:${store.mountpoint("gone")}, flags: 0x1000: no such file or directory`,
  });
  await store.create({ Name: "net", DriverOpts: { type: "nfs", device: ":/x", o: "addr=127.0.0.1" } });
  if (!readFileSync("/proc/filesystems", "utf8").includes("\tnfs\n"))
    await assert.rejects(store.acquire("net", "c1"), { message: /no such device: this kernel has no nfs file system/ });
});

test("mount options are split into flags and data as mount(8) does", () => {
  assert.deepEqual(parseDriverOptions({ type: "tmpfs", device: "t", o: "ro,rw,nosuid,size=1m" }), {
    type: "tmpfs",
    source: "t",
    flags: 2,
    data: "size=1m",
  });
});

test("an empty volume is filled from the image with everything kept, a full one is not", async () => {
  const store = await newStore();
  await store.create({ Name: "data" });
  const image = join(folder, "image");
  mkdirSync(join(image, "sub"), { recursive: true });
  writeFileSync(join(image, "sub/file"), "content");
  execFileSync(
    "sh",
    [
      "-c",
      "ln sub/file hard; ln -s sub/file soft; mkfifo pipe; chown 5:6 sub/file; chmod 4750 sub/file; chmod 1777 .; chown 3:4 .",
    ],
    { cwd: image },
  );
  setXattr(join(image, "sub/file"), "user.mark", Buffer.from([0, 1, 255]));
  // Times pass through floating point: these are exact in it.
  execFileSync("find", [".", "-exec", "touch", "-h", "-d", "@1600000000.5", "{}", "+"], { cwd: image });
  assert.equal(await store.copyUp("data", image), true);
  const where = store.mountpoint("data");
  const list = (at: string): string =>
    execFileSync("find", [".", "-printf", "%P %y %m %U %G %n %s %T@ %l\\n"], { cwd: at })
      .toString()
      .split("\n")
      .sort()
      .join("\n");
  assert.equal(list(where), list(image));
  assert.deepEqual(getXattr(join(where, "sub/file"), "user.mark"), Buffer.from([0, 1, 255]));
  assert.equal(await store.copyUp("data", image), false);
});

test("a copy that a crash cut off is undone at the next start", async () => {
  const store = await newStore();
  await store.create({ Name: "data" });
  writeFileSync(join(store.mountpoint("data"), "half"), "");
  writeFileSync(join(store.root, "data/filling"), "");
  mkdirSync(join(store.root, ".tmp-abc/_data"), { recursive: true });
  const again = new VolumeStore({ root: store.root, users: () => [] });
  await again.start();
  assert.deepEqual(readdirSync(again.mountpoint("data")), []);
  assert.deepEqual(readdirSync(again.root), ["data"]);
});

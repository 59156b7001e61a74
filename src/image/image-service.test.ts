import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { IdRange } from "#base/id-mapping.ts";
import { asFileOwner } from "#host/file-credentials.ts";
import { digestOf } from "./digest.ts";
import { ImageService } from "./image-service.ts";
import { type ImageConfig, mediaTypes } from "./oci.ts";
import { encodeEntry, endOfArchive } from "./tar-writer.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-image-"));
after(() => rmSync(folder, { recursive: true }));
let number = 0;

async function withService(work: (service: ImageService, root: string) => Promise<void>): Promise<void> {
  const root = join(folder, String(number++));
  const service = new ImageService(root);
  await service.start();
  try {
    await work(service, root);
  } finally {
    for (const id of await service.snapshots.list()) await service.snapshots.remove(id);
    await service.stop();
  }
}

const config = (diffIds: string[]): ImageConfig => ({
  architecture: "amd64",
  os: "linux",
  rootfs: { type: "layers", diff_ids: diffIds },
});

async function addLayer(
  service: ImageService,
  ...entries: Buffer[]
): Promise<{ diffId: string; blob: { mediaType: string; digest: string; size: number } }> {
  const tar = Buffer.concat([...entries, endOfArchive()]);
  return { diffId: digestOf(tar), blob: { mediaType: mediaTypes.layer, ...(await service.content.put(tar)) } };
}

test("the built-in image is made once, is found by its names, and is there after a restart", async () => {
  await withService(async (service, root) => {
    assert.equal(await service.ensureHello(), true);
    assert.equal(await service.ensureHello(), false);
    const image = service.images.resolve("gantry/hello");
    assert.deepEqual(image.tags, ["docker.io/gantry/hello:latest"]);
    assert.equal(service.images.resolve(image.id.slice(7, 19)).id, image.id);
    assert.ok(service.images.size(image) > 1_000_000);
    const again = new ImageService(root);
    await again.start();
    assert.equal(again.images.resolve("gantry/hello:latest").id, image.id);
    await again.stop();
  });
});

test("a snapshot shows the image's files and keeps what is written to itself", async () => {
  await withService(async (service) => {
    await service.ensureHello();
    const image = service.images.resolve("gantry/hello");
    const snapshot = await service.snapshots.prepare("c1", image.chain);
    const merged = await service.snapshots.mount(snapshot);
    assert.equal(await service.snapshots.mount(snapshot), merged);
    assert.ok(lstatSync(join(merged, "bin/sh")).isSymbolicLink());
    assert.equal(lstatSync(join(merged, "tmp")).mode & 0o7777, 0o1777);
    writeFileSync(join(merged, "new"), "12345");
    assert.equal(await service.snapshots.usage("c1"), 5);
    await service.snapshots.remove("c1");
    assert.equal(existsSync(merged), false);
  });
});

test("a snapshot with mapped ids shares the layers with others, and has on disk what an image would have", async () => {
  await withService(async (service, root) => {
    await service.ensureHello();
    const { chain } = service.images.resolve("gantry/hello");
    const range = (hostId: number): IdRange[] => [{ containerId: 0, hostId, length: 65_536 }];
    const mapping = { uids: range(70_000_000), gids: range(80_000_000) };
    const owner = { uid: 70_000_005, gid: 80_000_006 };
    const mapped = await service.snapshots.prepare("mapped", chain, { mapping });
    const plain = await service.snapshots.mount(await service.snapshots.prepare("plain", chain));
    const merged = await service.snapshots.mount(mapped);
    const ownerOf = (path: string): number[] => [lstatSync(path).uid, lstatSync(path).gid];
    assert.deepEqual(ownerOf(join(merged, "bin")), [70_000_000, 80_000_000]);
    assert.deepEqual(ownerOf(join(plain, "bin")), [0, 0]);
    asFileOwner(owner, () => writeFileSync(join(merged, "new"), "12345"));
    assert.deepEqual(ownerOf(join(merged, "new")), [owner.uid, owner.gid]);
    assert.deepEqual(ownerOf(join(service.snapshots.paths(mapped).upper, "new")), [5, 6]);
    assert.deepEqual(await service.snapshots.changes("mapped"), [{ Path: "/new", Kind: 1 }]);
    service.snapshots.unmount("mapped");
    assert.equal(existsSync(join(merged, "new")), false);
    assert.equal(await service.snapshots.mount(mapped), merged);
    assert.ok(existsSync(join(merged, "new")));
    await service.snapshots.remove("mapped");
    assert.deepEqual(readdirSync(join(root, "roots")), []);
  });
});

test("what passes with the machine's next start is never synced, and can be mounted again until then", async () => {
  await withService(async (service) => {
    await service.ensureHello();
    const snapshot = await service.snapshots.prepare("c1", service.images.resolve("gantry/hello").chain);
    for (const text of ["once", "again"]) {
      const merged = await service.snapshots.mount(snapshot, { passing: true });
      const mounted = readFileSync("/proc/mounts", "utf8")
        .split("\n")
        .find((line) => line.split(" ")[1] === merged);
      assert.match(mounted ?? "", /[,=]volatile/);
      writeFileSync(join(merged, text), text);
      await service.snapshots.unmountLater("c1");
    }
    const merged = await service.snapshots.mount(snapshot);
    assert.equal(readFileSync(join(merged, "once"), "utf8"), "once");
    await service.snapshots.remove("c1");
    assert.equal(existsSync(merged), false);
  });
});

test("whiteouts and opaque folders hide what is below", async () => {
  await withService(async (service) => {
    const below = await addLayer(
      service,
      encodeEntry({ name: "a/", type: "directory" }),
      encodeEntry({ name: "a/one", type: "file" }, Buffer.from("1")),
      encodeEntry({ name: "b/", type: "directory" }),
      encodeEntry({ name: "b/two", type: "file" }, Buffer.from("2")),
    );
    const above = await addLayer(
      service,
      encodeEntry({ name: "a/", type: "directory" }),
      encodeEntry({ name: "a/.wh.one", type: "file" }),
      encodeEntry({ name: "b/", type: "directory" }),
      encodeEntry({ name: "b/.wh..wh..opq", type: "file" }),
      encodeEntry({ name: "b/three", type: "file" }, Buffer.from("3")),
    );
    const image = await service.images.create({
      config: config([below.diffId, above.diffId]),
      layers: [below.blob, above.blob],
    });
    const merged = await service.snapshots.mount(await service.snapshots.prepare("c1", image.chain));
    assert.deepEqual(readdirSync(join(merged, "a")), []);
    assert.deepEqual(readdirSync(join(merged, "b")), ["three"]);
  });
});

test("an image of 127 layers can be mounted", async () => {
  await withService(async (service) => {
    const layers = [];
    for (let n = 0; n < 127; n++)
      layers.push(await addLayer(service, encodeEntry({ name: `f${n}`, type: "file" }, Buffer.from(String(n)))));
    const image = await service.images.create({
      config: config(layers.map((layer) => layer.diffId)),
      layers: layers.map((layer) => layer.blob),
    });
    const merged = await service.snapshots.mount(await service.snapshots.prepare("c1", image.chain));
    assert.equal(readdirSync(merged).filter((name) => name.startsWith("f")).length, 127);
    assert.equal(readFileSync(join(merged, "f126"), "utf8"), "126");
  });
});

test("shared layers are unpacked once and stay until the last image is gone", async () => {
  await withService(async (service) => {
    const base = await addLayer(service, encodeEntry({ name: "base", type: "file" }, Buffer.alloc(1000)));
    const more = await addLayer(service, encodeEntry({ name: "more", type: "file" }, Buffer.alloc(10)));
    const one = await service.images.create({
      config: config([base.diffId]),
      layers: [base.blob],
      tag: "docker.io/library/one:latest",
    });
    const two = await service.images.create({
      config: config([base.diffId, more.diffId]),
      layers: [base.blob, more.blob],
    });
    assert.equal(service.layers.list().length, 2);
    assert.equal(service.images.sharedSize(two), 1000);
    assert.deepEqual(await service.images.remove(two.id), [two.chain[1]]);
    assert.ok(service.layers.get(one.chain[0] as string));
    await service.images.remove(one.id);
    assert.deepEqual(service.layers.list(), []);
    assert.deepEqual(readdirSync(join(service.content.root, "blobs/sha256")), []);
  });
});

test("a layer that is not what its config says is refused and leaves nothing", async () => {
  await withService(async (service, root) => {
    const layer = await addLayer(service, encodeEntry({ name: "x", type: "file" }));
    await assert.rejects(
      service.images.create({ config: config([`sha256:${"0".repeat(64)}`]), layers: [layer.blob] }),
      { code: "invalid", message: /don't match image configuration/ },
    );
    assert.deepEqual(readdirSync(join(root, "layers")), ["l"]);
    assert.equal(service.images.list().length, 0);
  });
});

test("content that is not what was announced is refused and leaves nothing", async () => {
  await withService(async (service) => {
    const digest = digestOf("right");
    await assert.rejects(service.content.ingest([Buffer.from("wrong")], { expected: digest, size: 5 }), {
      code: "invalid",
    });
    await assert.rejects(service.content.ingest([Buffer.from("too long")], { expected: digest, size: 5 }), {
      code: "invalid",
    });
    assert.deepEqual(readdirSync(join(service.content.root, "ingest")), []);
    assert.deepEqual(readdirSync(join(service.content.root, "blobs/sha256")), []);
  });
});

test("unknown and ambiguous names are refused in docker's words", async () => {
  await withService(async (service) => {
    assert.throws(() => service.images.resolve("nothing"), {
      code: "not-found",
      message: "No such image: nothing:latest",
    });
    assert.throws(() => service.images.resolve("Bad"), { code: "invalid" });
    assert.throws(() => service.images.resolve("abc123"), {
      code: "not-found",
      message: "No such image: abc123:latest",
    });
  });
});

test("a name moves to the image it is given to last", async () => {
  await withService(async (service) => {
    const a = await addLayer(service, encodeEntry({ name: "a", type: "file" }));
    const b = await addLayer(service, encodeEntry({ name: "b", type: "file" }));
    const tag = "docker.io/library/x:latest";
    const first = await service.images.create({ config: config([a.diffId]), layers: [a.blob], tag });
    const second = await service.images.create({ config: config([b.diffId]), layers: [b.blob], tag });
    assert.equal(service.images.resolve("x").id, second.id);
    assert.deepEqual(service.images.byId(first.id)?.tags, []);
  });
});

test("a container's changes are listed as docker does, and its layer holds them for others", async () => {
  await withService(async (service) => {
    const below = await addLayer(
      service,
      encodeEntry({ name: "d/", type: "directory" }),
      encodeEntry({ name: "d/gone", type: "file" }, Buffer.from("1")),
      encodeEntry({ name: "d/kept", type: "file" }, Buffer.from("2")),
      encodeEntry({ name: "e/", type: "directory" }),
      encodeEntry({ name: "e/one", type: "file" }),
      encodeEntry({ name: "e/two", type: "file" }),
    );
    const image = await service.images.create({ config: config([below.diffId]), layers: [below.blob] });
    const merged = await service.snapshots.mount(await service.snapshots.prepare("c1", image.chain));
    assert.deepEqual(await service.snapshots.changes("c1"), []);
    execFileSync(
      "sh",
      [
        "-ec",
        "rm d/gone; echo new > d/kept; rm -r e; mkdir e; echo > e/two; mkdir n; ln d/kept n/hard; echo > etc/hosts",
      ],
      { cwd: merged },
    );
    assert.deepEqual(
      (await service.snapshots.changes("c1")).map(({ Path, Kind }) => `${"CAD"[Kind]} ${Path}`),
      ["C /d", "D /d/gone", "C /d/kept", "C /e", "D /e/one", "C /e/two", "C /etc", "C /etc/hosts", "A /n", "A /n/hard"],
    );
    const layer = await service.content.ingest(await service.snapshots.layerArchive("c1"));
    const committed = await service.images.create({
      config: config([below.diffId, layer.digest]),
      layers: [below.blob, { mediaType: mediaTypes.layer, ...layer }],
      parent: image.id,
    });
    const again = await service.snapshots.mount(await service.snapshots.prepare("c2", committed.chain));
    assert.deepEqual(readdirSync(join(again, "d")), ["kept"]);
    assert.deepEqual(readdirSync(join(again, "e")), ["two"]);
    assert.equal(lstatSync(join(again, "n/hard")).ino, lstatSync(join(again, "d/kept")).ino);
    assert.deepEqual(await service.snapshots.changes("c2"), []);
  });
});

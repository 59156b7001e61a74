import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import type { ProgressMessage } from "#api/docker/object-types.ts";
import { loadImages } from "./archive-load.ts";
import { saveImages } from "./archive-save.ts";
import { digestOf, hexOf } from "./digest.ts";
import { type ImageUser, pruneImages, removeImage } from "./image-removal.ts";
import { ImageService } from "./image-service.ts";
import { imageHistory, imageInspect, imageSummary } from "./image-views.ts";
import { mediaTypes } from "./oci.ts";
import { encodeEntry, endOfArchive } from "./tar-writer.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-archive-"));
after(() => rmSync(folder, { recursive: true }));
let number = 0;

async function withServices(count: number, work: (...services: ImageService[]) => Promise<void>): Promise<void> {
  const services = Array.from({ length: count }, () => new ImageService(join(folder, String(number++))));
  for (const service of services) await service.start();
  try {
    await work(...services);
  } finally {
    for (const service of services) {
      for (const id of await service.snapshots.list()) await service.snapshots.remove(id);
      await service.stop();
    }
  }
}

const layerTar = (name: string, content = name): Buffer =>
  Buffer.concat([encodeEntry({ name, type: "file" }, Buffer.from(content)), endOfArchive()]);

async function makeImage(
  service: ImageService,
  files: string[],
  options: { tag?: string; parent?: string; compression?: "gzip" | "zstd" } = {},
): Promise<string> {
  const tars = files.map((file) => layerTar(file));
  const layers = [];
  for (const tar of tars) {
    const { compression } = options;
    const bytes = compression === "gzip" ? gzipSync(tar) : compression === "zstd" ? zstdCompressSync(tar) : tar;
    const mediaType =
      compression === "gzip" ? mediaTypes.layerGzip : compression === "zstd" ? mediaTypes.layerZstd : mediaTypes.layer;
    layers.push({ mediaType, ...(await service.content.put(bytes)) });
  }
  const image = await service.images.create({
    config: {
      created: "2026-01-01T00:00:00Z",
      architecture: "amd64",
      os: "linux",
      config: { Cmd: ["x"], Labels: { n: files.join() } },
      rootfs: { type: "layers", diff_ids: tars.map((tar) => digestOf(tar)) },
      history: [...files.map((file) => ({ created_by: `ADD ${file}` })), { created_by: "CMD", empty_layer: true }],
    },
    layers,
    ...(options.tag === undefined ? {} : { tag: `docker.io/library/${options.tag}` }),
    ...(options.parent === undefined ? {} : { parent: options.parent as never }),
  });
  return image.id;
}

async function* chunks(bytes: Buffer, size = 1000): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const collect = async (source: AsyncIterable<Uint8Array>): Promise<Buffer> =>
  Buffer.concat(await Array.fromAsync(source));

async function load(service: ImageService, bytes: Buffer): Promise<string> {
  let text = "";
  await loadImages(service.images, chunks(bytes), {
    quiet: true,
    progress: (message: ProgressMessage) => {
      text += message.stream ?? "";
    },
  });
  return text;
}

test("what is saved by name comes back named, by id unnamed, with the same ids and manifests", async () => {
  await withServices(2, async (from, to) => {
    assert.ok(from && to);
    const one = await makeImage(from, ["base", "one"], { tag: "one:1", compression: "gzip" });
    const two = await makeImage(from, ["base", "two"], { compression: "zstd" });
    await from.images.tag(one as never, "docker.io/library/one:2");
    const tar = await collect(saveImages(from.images, ["one", two]).tar);
    assert.equal(await load(to, tar), `Loaded image: one:1\nLoaded image: one:2\nLoaded image ID: ${two}\n`);
    assert.deepEqual(
      to.images.list().map((image) => [image.id, image.manifest.digest, image.tags.length]),
      from.images.list().map((image) => [image.id, image.manifest.digest, image.tags.length]),
    );
    assert.deepEqual(to.images.resolve(two).tags, []);
    assert.deepEqual(readdirSync(join(to.content.root, "ingest")), []);
    const names = execFileSync("tar", ["-tf", "-"], { input: tar }).toString();
    for (const name of ["manifest.json", "index.json", "oci-layout"]) assert.ok(names.includes(`\n${name}\n`));
    assert.throws(() => saveImages(from.images, ["none"]), { code: "not-found", message: "No such image: none" });
    assert.equal(await load(to, gzipSync(tar)), `Loaded image: one:1\nLoaded image: one:2\nLoaded image ID: ${two}\n`);
  });
});

test("an archive of an old docker, with layer.tar files and links, is loaded", async () => {
  await withServices(1, async (service) => {
    assert.ok(service);
    const tar = layerTar("f");
    const config = Buffer.from(
      JSON.stringify({
        architecture: "amd64",
        os: "linux",
        rootfs: { type: "layers", diff_ids: [digestOf(tar), digestOf(tar)] },
      }),
    );
    const configName = `${hexOf(digestOf(config))}.json`;
    const archive = Buffer.concat([
      encodeEntry({ name: "aa/layer.tar", type: "file" }, tar),
      encodeEntry({ name: "bb/layer.tar", type: "symlink", linkname: "../aa/layer.tar" }),
      encodeEntry({ name: configName, type: "file" }, config),
      encodeEntry(
        { name: "manifest.json", type: "file" },
        Buffer.from(
          JSON.stringify([{ Config: configName, RepoTags: ["old:1"], Layers: ["aa/layer.tar", "bb/layer.tar"] }]),
        ),
      ),
      endOfArchive(),
    ]);
    assert.equal(await load(service, archive), "Loaded image: old:1\n");
    assert.equal(service.images.resolve("old:1").id, digestOf(config));
  });
});

test("skopeo's and our own OCI layouts are loaded", async () => {
  await withServices(2, async (from, to) => {
    assert.ok(from && to);
    const id = await makeImage(from, ["a"], { tag: "laid:out" });
    const scratch = join(folder, "layout");
    mkdirSync(scratch);
    execFileSync("tar", ["-xf", "-"], {
      cwd: scratch,
      input: await collect(saveImages(from.images, ["laid:out"]).tar),
    });
    rmSync(join(scratch, "manifest.json"));
    const tar = execFileSync("tar", ["-cf", "-", "."], { cwd: scratch, maxBuffer: 1 << 26 });
    assert.equal(await load(to, tar), "Loaded image: laid:out\n");
    assert.equal(to.images.resolve("laid:out").id, id);
    // One flipped byte in a blob: refused, nothing entered.
    const blob = join(scratch, "blobs/sha256", hexOf(id));
    writeFileSync(blob, "{}");
    await assert.rejects(load(to, execFileSync("tar", ["-cf", "-", "."], { cwd: scratch })), {
      code: "invalid",
      message: /does not match/,
    });
  });
});

test("layers in xz and bzip2, and sparse ones, are loaded, and pushed on in a form that others read", async () => {
  for (const [program, options] of [
    ["xz", []],
    ["bzip2", []],
    ["tar", ["--format=gnu"]],
    ["tar", ["--format=posix"]],
  ] as const) {
    await withServices(1, async (service) => {
      const work = join(folder, `packed-${number++}`);
      mkdirSync(work);
      const plain = layerTar("file", `${program}${"\0".repeat(1 << 20)}end`);
      writeFileSync(
        join(work, "layer.tar"),
        program === "tar" ? plain : execFileSync(program, ["-c"], { input: plain }),
      );
      if (program === "tar")
        execFileSync("sh", ["-c", `cd ${work} && cp --sparse=always layer.tar s && mv s layer.tar`]);
      const config = JSON.stringify({
        architecture: "amd64",
        os: "linux",
        rootfs: { type: "layers", diff_ids: [digestOf(plain)] },
      });
      writeFileSync(join(work, "config.json"), config);
      writeFileSync(
        join(work, "manifest.json"),
        JSON.stringify([{ Config: "config.json", RepoTags: ["packed:1"], Layers: ["layer.tar"] }]),
      );
      const packed = execFileSync("tar", ["-cS", ...options, "-C", work, "."], { maxBuffer: 64 << 20 });
      if (program === "tar") assert.ok(packed.length < 1 << 20);
      const [loaded] = await loadImages(service.images, chunks(packed), { progress: () => {} });
      assert.equal(loaded?.image.id, digestOf(Buffer.from(config)));
      const [layer] = loaded.image.layers;
      assert.deepEqual([layer?.mediaType, layer?.digest], [mediaTypes.layer, digestOf(plain)]);
      const root = await service.snapshots.mount(await service.snapshots.prepare("c", loaded.image.chain));
      assert.equal(readFileSync(join(root, "file"), "utf8").replaceAll("\0", ""), `${program}end`);
    });
  }
});

test("broken archives are refused with an error of ours and leave nothing", async () => {
  await withServices(2, async (from, to) => {
    assert.ok(from && to);
    await makeImage(from, ["a", "b"], { tag: "x:1" });
    const good = await collect(saveImages(from.images, ["x:1"]).tar);
    for (const bytes of [
      Buffer.from("no tar at all".repeat(100)),
      good.subarray(0, 2000),
      Buffer.concat([layerTar("x")]),
      Buffer.from([0x1f, 0x8b, 0, 0, 0, 0, 0]),
    ])
      await assert.rejects(load(to, Buffer.from(bytes)), { code: "invalid" });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        async (flips) => {
          const bytes = Buffer.from(good);
          for (const [at, value] of flips) bytes[at] = value;
          try {
            await load(to, bytes);
          } catch (error) {
            assert.ok((error as Error).name === "GantryError", String((error as Error).stack));
          }
          for (const image of to.images.list()) await to.images.remove(image.id);
          await to.images.collect();
          assert.deepEqual(readdirSync(join(to.content.root, "blobs/sha256")), []);
          assert.deepEqual(readdirSync(join(to.content.root, "ingest")), []);
        },
      ),
      { numRuns: 60 },
    );
  });
});

test("removing goes by names first, in docker's words", async () => {
  await withServices(1, async (service) => {
    assert.ok(service);
    const { images } = service;
    const users: Record<string, ImageUser[]> = {};
    const options = { users: (id: string) => users[id] ?? [] };
    const id = await makeImage(service, ["a"], { tag: "a:1" });
    await images.tag(id as never, "docker.io/library/a:2");
    assert.deepEqual(await removeImage(images, "a:2", options), [{ Untagged: "a:2" }]);
    await images.tag(id as never, "docker.io/library/b:1");
    const short = id.slice(7, 19);
    await assert.rejects(removeImage(images, short, options), {
      code: "conflict",
      message: `conflict: unable to delete ${short} (must be forced) - image is referenced in multiple repositories`,
    });
    users[id] = [{ id: "c".repeat(64), running: false, reference: "a:1" }];
    assert.deepEqual(await removeImage(images, "b:1", options), [{ Untagged: "b:1" }]);
    await assert.rejects(removeImage(images, "a:1", options), {
      message: `conflict: unable to remove repository reference "a:1" (must force) - container cccccccccccc is using its referenced image ${short}`,
    });
    await assert.rejects(removeImage(images, id, options), {
      message: `conflict: unable to delete ${short} (must be forced) - image is being used by stopped container cccccccccccc`,
    });
    users[id] = [{ id: "d".repeat(64), running: true, reference: "a:1" }];
    await assert.rejects(removeImage(images, id, { ...options, force: true }), {
      message: `conflict: unable to delete ${short} (cannot be forced) - image is being used by running container dddddddddddd`,
    });
    // By name and by force the name goes, and the image stays for its container.
    assert.deepEqual(await removeImage(images, "a:1", { ...options, force: true }), [{ Untagged: "a:1" }]);
    users[id] = [];
    const chain = images.resolve(id).chain;
    assert.deepEqual(await removeImage(images, short, options), [{ Deleted: id }, { Deleted: chain[0] }]);
    await assert.rejects(removeImage(images, "a:1", options), { code: "not-found", message: "No such image: a:1" });
  });
});

test("untagged parents go with their last child, and prune takes what has no name", async () => {
  await withServices(1, async (service) => {
    assert.ok(service);
    const { images } = service;
    const options = { users: () => [] };
    const parent = await makeImage(service, ["p"]);
    const child = await makeImage(service, ["p", "c"], { tag: "child:1", parent });
    await assert.rejects(removeImage(images, parent, { ...options, force: true }), {
      message: /has dependent child images$/,
    });
    const deleted = await removeImage(images, "child:1", options);
    assert.deepEqual(
      deleted.filter((entry) => "Deleted" in entry && [parent, child].includes(entry.Deleted)).length,
      2,
    );
    assert.deepEqual(service.layers.list(), []);
    await makeImage(service, ["x"]);
    await makeImage(service, ["y"], { tag: "y:1" });
    const pruned = await pruneImages(images, { ...options, danglingOnly: true, wanted: () => true });
    assert.equal(pruned.spaceReclaimed, 1);
    assert.deepEqual(
      images.list().map((image) => image.tags),
      [["docker.io/library/y:1"]],
    );
    await pruneImages(images, { ...options, danglingOnly: false, wanted: () => true });
    assert.deepEqual(images.list(), []);
  });
});

test("layers stay while a container stands on them, though its image is gone", async () => {
  await withServices(1, async (service) => {
    assert.ok(service);
    const id = await makeImage(service, ["a"], { tag: "a:1" });
    const { chain } = service.images.resolve(id);
    await service.snapshots.prepare("c1", chain);
    await service.images.remove(id as never);
    assert.equal(service.layers.list().length, 1);
    await service.snapshots.remove("c1");
    await service.images.collect();
    assert.deepEqual(service.layers.list(), []);
  });
});

test("inspect, list and history have docker's shape", async () => {
  await withServices(1, async (service) => {
    assert.ok(service);
    const { images, layers } = service;
    const base = await makeImage(service, ["b"], { tag: "base:1" });
    const image = images.resolve(await makeImage(service, ["b", "cc"], { tag: "top:1", parent: base }));
    const inspect = imageInspect(images, layers, image);
    assert.deepEqual(
      [inspect.RepoTags, inspect.Size, inspect.Config.Cmd, inspect.Created],
      [["top:1"], 3, ["x"], "2026-01-01T00:00:00Z"],
    );
    assert.deepEqual(inspect.RootFS.Layers?.length, 2);
    assert.equal(imageSummary(images, image, { sharedSize: true }).SharedSize, 1);
    assert.deepEqual(
      imageHistory(images, layers, image).map(({ Id, CreatedBy, Size, Tags }) => [Id, CreatedBy, Size, Tags]),
      [
        [image.id, "CMD", 0, ["top:1"]],
        [base, "ADD cc", 2, ["base:1"]],
        ["<missing>", "ADD b", 1, null],
      ],
    );
  });
});

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { applyChanges } from "./config-changes.ts";
import { commitImage, importImage, targetName } from "./image-import.ts";
import { decompressed } from "./decompress.ts";
import { ImageService } from "./image-service.ts";
import { encodeEntry, endOfArchive } from "./tar-writer.ts";

test("changes are applied as a Dockerfile's instructions", () => {
  const before = { Env: ["A=1", "B=2"], Cmd: ["old"] };
  const after = applyChanges(before, [
    'CMD ["a", "b c"]',
    "ENTRYPOINT run me",
    'ENV A=3 C="x y"',
    "ENV OLD form of it",
    "EXPOSE 80 53/udp 9000-9001",
    'LABEL k=v "q r"=s',
    "USER web",
    "WORKDIR /srv",
    "WORKDIR app",
    'VOLUME ["/a b", "/c"]',
    "STOPSIGNAL SIGINT",
    "ONBUILD RUN x",
    "HEALTHCHECK --interval=1m30s --retries=3 CMD curl x",
  ]);
  assert.deepEqual(after, {
    Env: ["A=3", "B=2", "C=x y", "OLD=form of it"],
    Cmd: ["a", "b c"],
    Entrypoint: ["/bin/sh", "-c", "run me"],
    ExposedPorts: { "80/tcp": {}, "53/udp": {}, "9000/tcp": {}, "9001/tcp": {} },
    Labels: { k: "v", "q r": "s" },
    User: "web",
    WorkingDir: "/srv/app",
    Volumes: { "/a b": {}, "/c": {} },
    StopSignal: "SIGINT",
    OnBuild: ["RUN x"],
    Healthcheck: { Interval: 90e9, Retries: 3, Test: ["CMD-SHELL", "curl x"] },
  });
  assert.deepEqual(before.Env, ["A=1", "B=2"]);
  for (const [line, message] of [
    ["RUN x", "RUN is not a valid change command"],
    ["JUMP x", "JUMP is not a valid change command"],
    ["ENV A", "ENV must have two arguments"],
    ["EXPOSE x", "invalid containerPort: x"],
    ["USER", "USER requires exactly one argument"],
  ] as const)
    assert.throws(() => applyChanges({}, [line]), { code: "invalid", message });
});

test("repository and tag make a name, or an error in docker's words", () => {
  assert.equal(targetName("a/b", "1"), "docker.io/a/b:1");
  assert.equal(targetName("localhost:5000/a", undefined), "localhost:5000/a:latest");
  assert.equal(targetName("localhost:5000/a:2", ""), "localhost:5000/a:2");
  assert.equal(targetName("", "x"), undefined);
  assert.throws(() => targetName("a", "x@y"), { code: "invalid", message: "invalid reference format" });
  assert.throws(() => targetName("A", "x"), { message: /must be lowercase/ });
});

test("an imported root file system becomes a container, and its changes an image", async () => {
  const root = mkdtempSync(join(tmpdir(), "gantry-import-"));
  const service = new ImageService(root);
  await service.start();
  try {
    const tar = Buffer.concat([encodeEntry({ name: "file", type: "file" }, Buffer.from("one")), endOfArchive()]);
    const imported = await importImage(
      service,
      (async function* () {
        yield gzipSync(tar);
      })(),
      { changes: ["CMD sh"], tag: "docker.io/library/base:latest" },
    );
    assert.deepEqual(imported.config.config, { Cmd: ["/bin/sh", "-c", "sh"] });
    assert.equal(imported.config.history?.[0]?.comment, "Imported from -");
    const merged = await service.snapshots.mount(await service.snapshots.prepare("c1", imported.chain));
    const unchanged = await commitImage(service, { snapshotId: "c1", base: imported, config: {}, createdBy: "sh" });
    assert.deepEqual(unchanged.chain, imported.chain);
    writeFileSync(join(merged, "file"), "two");
    const tag = "docker.io/library/made:1";
    const made = await commitImage(service, {
      snapshotId: "c1",
      base: imported,
      config: { Cmd: ["x"] },
      createdBy: "sh",
      comment: "c",
      author: "a",
      tag,
    });
    assert.equal(made.parent, imported.id);
    assert.equal(made.chain.length, 2);
    assert.deepEqual(made.config.history?.[1]?.comment, "c");
    const again = await service.snapshots.mount(await service.snapshots.prepare("c2", made.chain));
    assert.equal(readFileSync(join(again, "file"), "utf8"), "two");
  } finally {
    for (const id of await service.snapshots.list()) await service.snapshots.remove(id);
    await service.stop();
    rmSync(root, { recursive: true });
  }
});

test("archives are read whatever they are compressed with, and broken ones are refused", async () => {
  const plain = Buffer.concat([encodeEntry({ name: "f", type: "file" }, Buffer.alloc(50_000, "x")), endOfArchive()]);
  const read = async (bytes: Buffer): Promise<Buffer> =>
    Buffer.concat(
      await Array.fromAsync(
        decompressed(
          (async function* () {
            for (let at = 0; at < bytes.length; at += 3) yield bytes.subarray(at, at + 3);
          })(),
        ),
      ),
    );
  for (const program of ["xz", "bzip2", "gzip", "zstd"]) {
    const packed = execFileSync(program, ["-c"], { input: plain });
    assert.deepEqual(await read(packed), plain, program);
    await assert.rejects(read(packed.subarray(0, packed.length - 10)), { code: "invalid" }, program);
  }
  assert.deepEqual(await read(Buffer.from("ab")), Buffer.from("ab"));
});

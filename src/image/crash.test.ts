import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ImageService } from "./image-service.ts";

test("SIGKILL at any point loses no image that was acknowledged and leaves nothing half-made", async () => {
  const root = mkdtempSync(join(tmpdir(), "gantry-crash-"));
  const expected = new Set<string>();
  const doubtful = new Set<string>();
  try {
    for (let round = 0; round < 6; round++) {
      const child = spawn(process.execPath, ["--no-warnings", join(import.meta.dirname, "crash-writer.ts"), root], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      let said = "";
      child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
      await new Promise<void>((resolve) => child.stdout.once("data", () => resolve()));
      await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 300));
      child.kill("SIGKILL");
      await new Promise((resolve) => child.once("close", resolve));
      for (const line of said.split("\n").slice(0, -1)) {
        const [word, id] = line.split(" ") as [string, string];
        if (word === "made") expected.add(id);
        else {
          expected.delete(id);
          doubtful.add(id);
        }
      }
      const service = new ImageService(root);
      await service.start();
      for (const id of await service.snapshots.list()) await service.snapshots.remove(id);
      await service.images.collect();
      const here = new Set(service.images.list().map((image) => image.id as string));
      for (const id of expected) assert.ok(here.has(id), `${id} was acknowledged`);
      const blobs = readdirSync(join(root, "oci/blobs/sha256"));
      for (const name of blobs) {
        const bytes = readFileSync(join(root, "oci/blobs/sha256", name));
        assert.equal(createHash("sha256").update(bytes).digest("hex"), name);
      }
      const needed = new Set(
        service.images
          .list()
          .flatMap((image) => [image.id, image.manifest.digest, ...image.layers.map((layer) => layer.digest)]),
      );
      assert.deepEqual(blobs.map((name) => `sha256:${name}`).sort(), [...needed].sort());
      assert.deepEqual(readdirSync(join(root, "oci/ingest")), []);
      const layers = readdirSync(join(root, "layers")).filter((name) => name !== "l");
      assert.deepEqual(
        layers.map((name) => `sha256:${name}`).sort(),
        [...new Set(service.images.list().flatMap((image) => image.chain))].sort(),
      );
      assert.deepEqual(
        readdirSync(join(root, "snapshots")).filter((name) => !name.startsWith("tmp-")),
        [],
      );
      for (const id of here) if (!expected.has(id) && !doubtful.has(id)) expected.add(id);
      for (const id of doubtful) if (here.has(id)) await service.images.remove(id as never);
      await service.stop();
    }
    assert.ok(expected.size > 3, "the writer got somewhere");
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test("a layer that was not on the disk when the power went is unpacked again", async () => {
  const root = mkdtempSync(join(tmpdir(), "gantry-power-"));
  try {
    const first = new ImageService(root);
    await first.start();
    await first.ensureHello();
    const { chain } = first.images.resolve("gantry/hello");
    await first.stop();
    const folder = join(root, "layers", (chain[0] as string).slice(7));
    const file = join(folder, "layer.json");
    const layer = JSON.parse(readFileSync(file, "utf8")) as { bootId?: string };
    assert.ok(layer.bootId);
    // As after a power cut: another boot, and files without their content.
    writeFileSync(file, JSON.stringify({ ...layer, bootId: "another" }));
    writeFileSync(join(folder, "diff/bin/busybox"), "");
    const second = new ImageService(root);
    await second.start();
    assert.ok(second.images.resolve("gantry/hello"));
    assert.ok(readFileSync(join(folder, "diff/bin/busybox")).length > 100_000);
    const settled = Date.now() + 10_000;
    while (second.layers.list()[0]?.bootId !== undefined && Date.now() < settled)
      await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(second.layers.list()[0]?.bootId, undefined);
    await second.stop();
    assert.equal(
      execFileSync("ls", [join(root, "layers/l")])
        .toString()
        .trim()
        .split("\n").length,
      1,
    );
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { silentLogger } from "#base/log.ts";
import { digestOf } from "#image/digest.ts";
import { pullImage } from "#image/image-pull.ts";
import { pushImage } from "#image/image-push.ts";
import { ImageService } from "#image/image-service.ts";
import { mediaTypes } from "#image/oci.ts";
import { parseReference } from "#image/reference.ts";
import { RegistryClient } from "#image/registry-client.ts";
import { defaultRegistryConfig } from "#image/registry-config.ts";
import { HttpServer } from "#web/server.ts";
import { RegistryServer } from "./registry-server.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-distribution-"));
const registry = new RegistryServer({ root: join(folder, "registry") });
const server = new HttpServer({ name: "registry", log: silentLogger, handler: registry.handler });
let host = "";

before(async () => {
  await registry.start();
  const port = await server.listen({ host: "127.0.0.1", port: 0 });
  host = `127.0.0.1:${port}`;
});
after(async () => {
  await server.stop(1000);
  await registry.stop();
  rmSync(folder, { recursive: true });
});

const call = (method: string, path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(path.startsWith("http") ? path : `http://${host}${path}`, { method, ...init });
const location = (response: Response): string =>
  new URL(response.headers.get("location") as string, `http://${host}`).href;

async function codeOf(response: Response): Promise<string> {
  const { errors } = (await response.json()) as { errors: { code: string }[] };
  return `${response.status} ${errors[0]?.code}`;
}

async function pushBlob(name: string, content: string): Promise<string> {
  const digest = digestOf(content);
  const begun = await call("POST", `/v2/${name}/blobs/uploads/`);
  assert.equal(begun.status, 202);
  const done = await call("PUT", `${location(begun)}?digest=${digest}`, { body: content });
  assert.equal(done.status, 201);
  return digest;
}

const manifestOf = (config: string, more: object = {}): string =>
  JSON.stringify({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, digest: config, size: 2 },
    layers: [],
    ...more,
  });

const putManifest = (name: string, reference: string, body: string): Promise<Response> =>
  call("PUT", `/v2/${name}/manifests/${reference}`, { body, headers: { "content-type": mediaTypes.manifest } });

test("our own client pushes, mounts and pulls", async () => {
  const client = new RegistryClient({ ...defaultRegistryConfig, certsDir: folder });
  const from = new ImageService(join(folder, "from"));
  const to = new ImageService(join(folder, "to"));
  await from.start();
  await to.start();
  try {
    await from.ensureHello();
    const { id } = from.images.resolve("gantry/hello");
    const statuses: string[] = [];
    const progress = ({ status = "" }: { status?: string }): void => void statuses.push(status);
    for (const name of ["team/hello:1", "other/hello:2"]) {
      await from.images.tag(id, `${host}/${name}`);
      await pushImage({ images: from.images, client }, parseReference(`${host}/${name}`), { progress });
    }
    assert.ok(statuses.includes("Pushed"));
    assert.ok(statuses.includes("Mounted from team/hello"));
    const pulled = await pullImage({ images: to.images, client }, parseReference(`${host}/other/hello:2`));
    assert.equal(pulled.id, id);
  } finally {
    await client.close();
    await from.stop();
    await to.stop();
  }
});

test("a blob comes in chunks, in order, and can be read in part", async () => {
  const begun = await call("POST", "/v2/a/b/blobs/uploads/");
  const first = await call("PATCH", location(begun), { body: "hello ", headers: { "content-range": "0-5" } });
  assert.deepEqual([first.status, first.headers.get("range")], [202, "0-5"]);
  const wrong = await call("PATCH", location(first), { body: "x", headers: { "content-range": "9-9" } });
  assert.equal(wrong.status, 416);
  assert.equal((await call("GET", location(first))).headers.get("range"), "0-5");
  const digest = digestOf("hello world");
  const done = await call("PUT", `${location(first)}?digest=${digest}`, {
    body: "world",
    headers: { "content-range": "6-10" },
  });
  assert.deepEqual([done.status, done.headers.get("docker-content-digest")], [201, digest]);
  assert.equal(await (await call("GET", location(done))).text(), "hello world");
  const part = await call("GET", location(done), { headers: { range: "bytes=6-" } });
  assert.deepEqual(
    [part.status, await part.text(), part.headers.get("content-range")],
    [206, "world", "bytes 6-10/11"],
  );
  const head = await call("HEAD", location(done));
  assert.deepEqual([head.status, head.headers.get("content-length")], [200, "11"]);
  assert.equal(await codeOf(await call("GET", `/v2/stranger/blobs/${digest}`)), "404 BLOB_UNKNOWN");
});

test("manifests, tags, referrers and their removal", async () => {
  const config = await pushBlob("m", "{}");
  const manifest = manifestOf(config);
  const put = await putManifest("m", "v1", manifest);
  assert.equal(put.status, 201);
  for (const tag of ["v2", "v3"]) await putManifest("m", tag, manifest);
  assert.equal(await (await call("GET", "/v2/m/manifests/v1")).text(), manifest);
  const first = await call("GET", "/v2/m/tags/list?n=2");
  assert.deepEqual(await first.json(), { name: "m", tags: ["v1", "v2"] });
  assert.equal(first.headers.get("link"), '</v2/m/tags/list?n=2&last=v2>; rel="next"');
  const digest = digestOf(manifest);
  const signed = manifestOf(config, {
    subject: { mediaType: mediaTypes.manifest, digest, size: manifest.length },
    artifactType: "test/sig",
  });
  assert.equal((await putManifest("m", digestOf(signed), signed)).headers.get("oci-subject"), digest);
  const referrers = (await (await call("GET", `/v2/m/referrers/${digest}?artifactType=test/sig`)).json()) as {
    manifests: unknown[];
  };
  assert.equal(referrers.manifests.length, 1);
  assert.equal((await call("DELETE", "/v2/m/manifests/v3")).status, 202);
  assert.equal(await codeOf(await call("GET", "/v2/m/manifests/v3")), "404 MANIFEST_UNKNOWN");
  assert.equal((await call("DELETE", `/v2/m/manifests/${digest}`)).status, 202);
  assert.equal(await codeOf(await call("GET", "/v2/m/manifests/v1")), "404 MANIFEST_UNKNOWN");
  assert.equal((await call("DELETE", `/v2/m/blobs/${config}`)).status, 202);
  assert.equal((await call("HEAD", `/v2/m/blobs/${config}`)).status, 404);
});

test("bad requests get the specified codes and leave nothing", async () => {
  const before = readdirSync(join(folder, "registry/content/blobs/sha256"));
  const begun = await call("POST", "/v2/bad/blobs/uploads/");
  const zero = `sha256:${"0".repeat(64)}`;
  assert.equal(
    await codeOf(await call("PUT", `${location(begun)}?digest=${zero}`, { body: "x" })),
    "400 DIGEST_INVALID",
  );
  assert.equal(
    await codeOf(await call("PUT", `${location(begun)}?digest=${zero}`, { body: "x" })),
    "404 BLOB_UPLOAD_UNKNOWN",
  );
  assert.equal(await codeOf(await call("GET", "/v2/Bad/tags/list")), "400 NAME_INVALID");
  assert.equal(await codeOf(await call("GET", "/v2/..%2f..%2fetc/tags/list")), "400 NAME_INVALID");
  assert.equal(await codeOf(await call("GET", "/v2/none/tags/list")), "404 NAME_UNKNOWN");
  assert.equal(await codeOf(await putManifest("bad", "v1", "{")), "400 MANIFEST_INVALID");
  assert.equal(await codeOf(await putManifest("bad", "v1", manifestOf(zero))), "404 MANIFEST_BLOB_UNKNOWN");
  assert.equal(await codeOf(await putManifest("bad", "v1", " ".repeat(5 << 20))), "413 MANIFEST_INVALID");
  assert.equal(await codeOf(await call("GET", "/v2/bad/blobs/sha256:x")), "400 DIGEST_INVALID");
  assert.equal((await call("PATCH", "/v2/")).status, 405);
  assert.deepEqual(readdirSync(join(folder, "registry/content/blobs/sha256")), before);
  assert.deepEqual(readdirSync(join(folder, "registry/content/ingest")), []);
});

test("what was pushed is there after a restart", async () => {
  const config = await pushBlob("keep/me", "{}");
  await putManifest("keep/me", "v1", manifestOf(config));
  const again = new RegistryServer({ root: join(folder, "registry") });
  await again.start();
  assert.deepEqual(again.store.get("keep/me")?.tags, { v1: digestOf(manifestOf(config)) });
  assert.ok(again.store.names().includes("keep/me"));
});

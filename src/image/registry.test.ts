import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import bcrypt from "bcryptjs";
import type { ProgressMessage } from "#api/docker/object-types.ts";
import { digestOf } from "./digest.ts";
import { choosePlatform, pullAllTags, pullImage } from "./image-pull.ts";
import { pushImage } from "./image-push.ts";
import { ImageService } from "./image-service.ts";
import { mediaTypes } from "./oci.ts";
import { parseReference } from "./reference.ts";
import { parseChallenges, userAndPassword } from "./registry-auth.ts";
import { RegistryClient } from "./registry-client.ts";
import {
  type RegistryConfig,
  certificatesOf,
  defaultRegistryConfig,
  endpointsOf,
  registryConfigOf,
} from "./registry-config.ts";
import { distributionOf, searchRegistry } from "./registry-search.ts";
import { encodeEntry, endOfArchive } from "./tar-writer.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-registry-"));
const started: ChildProcess[] = [];
const closers: (() => Promise<unknown> | void)[] = [];
after(async () => {
  for (const close of closers.reverse()) await close();
  for (const child of started) child.kill("SIGKILL");
  rmSync(folder, { recursive: true });
});

const config: RegistryConfig = {
  ...defaultRegistryConfig,
  certsDir: join(folder, "certs.d"),
  timeouts: { connect: 1000, headers: 1000, idle: 500, retry: 10 },
};

function newClient(changes: Partial<RegistryConfig> = {}): RegistryClient {
  const client = new RegistryClient({ ...config, ...changes });
  closers.push(() => client.close());
  return client;
}

let number = 0;
async function newService(): Promise<ImageService> {
  const service = new ImageService(join(folder, `images-${number++}`));
  await service.start();
  closers.push(() => service.stop());
  return service;
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Debian's docker-registry on a free port of loopback; returns `127.0.0.1:port`. */
async function startRegistry(name: string, more = "", certificate?: string): Promise<string> {
  const port = await freePort();
  const file = join(folder, `${name}.yml`);
  writeFileSync(
    file,
    `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${join(folder, name)} } }\nhttp:\n  addr: 127.0.0.1:${port}\n${more}`,
  );
  const child = spawn("docker-registry", ["serve", file], { stdio: "ignore" });
  started.push(child);
  for (let tries = 0; tries < 100; tries++) {
    const reached = await fetch(`http://127.0.0.1:${port}/v2/`).then(
      () => true,
      (error: Error) => certificate !== undefined && !/ECONNREFUSED/.test(String(error.cause)),
    );
    if (reached) return `127.0.0.1:${port}`;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("docker-registry did not start");
}

const layerTar = (name: string, content: Buffer): Buffer =>
  Buffer.concat([encodeEntry({ name, type: "file" }, content), endOfArchive()]);

async function addImage(service: ImageService, tag: string, ...contents: Buffer[]): Promise<string> {
  const tars = contents.map((content, at) => layerTar(`f${at}`, content));
  const layers = [];
  for (const tar of tars) layers.push({ mediaType: mediaTypes.layer, ...(await service.content.put(tar)) });
  const image = await service.images.create({
    config: {
      architecture: "amd64",
      os: "linux",
      rootfs: { type: "layers", diff_ids: tars.map((tar) => digestOf(tar)) },
    },
    layers,
    tag,
  });
  return image.id;
}

const said = (messages: ProgressMessage[]): string[] =>
  messages
    .filter((message) => message.id === undefined && message.aux === undefined)
    .map((message) => message.status ?? "");

let registry = "";
before(async () => {
  registry = await startRegistry("plain");
});

test("an image is pushed once, mounted from a sister repository, and pulled elsewhere the same", async () => {
  const from = await newService();
  const client = newClient();
  const big = Buffer.alloc(300_000, "abc");
  const id = await addImage(from, `${registry}/team/app:1`, Buffer.from("base"), big);
  const messages: ProgressMessage[] = [];
  const progress = (message: ProgressMessage): void => void messages.push(message);
  await pushImage({ images: from.images, client }, parseReference(`${registry}/team/app:1`), { progress });
  const digest = /digest: (sha256:\w+) size/.exec(said(messages).join("\n"))?.[1];
  assert.deepEqual(said(messages)[0], `The push refers to repository [${registry}/team/app]`);
  assert.equal(messages.filter((message) => message.status === "Pushed").length, 2);
  messages.length = 0;
  await pushImage({ images: from.images, client }, parseReference(`${registry}/team/app:1`), { progress });
  assert.equal(messages.filter((message) => message.status === "Layer already exists").length, 2);
  messages.length = 0;
  await from.images.tag(id as never, `${registry}/other:2`);
  await pushImage({ images: from.images, client }, parseReference(`${registry}/other:2`), { progress });
  assert.equal(messages.filter((message) => message.status === "Mounted from team/app").length, 2);

  const to = await newService();
  messages.length = 0;
  const reference = parseReference(`${registry}/team/app:1`);
  const image = await pullImage({ images: to.images, client }, reference, { progress });
  assert.equal(image.id, id);
  assert.deepEqual(image.digests, [`${registry}/team/app@${digest}`]);
  assert.equal(to.images.resolve(`${registry}/team/app:1`).id, id);
  assert.equal(to.images.resolve(`${registry}/team/app@${digest}`).id, id);
  assert.deepEqual(said(messages), [`Digest: ${digest}`, `Status: Downloaded newer image for ${registry}/team/app:1`]);
  assert.equal(messages.filter((message) => message.status === "Pull complete").length, 2);
  messages.length = 0;
  await pullImage({ images: to.images, client }, reference, { progress });
  assert.equal(said(messages)[1], `Status: Image is up to date for ${registry}/team/app:1`);
  await pullImage({ images: to.images, client }, parseReference(`${registry}/team/app@${digest}`), {});
  await to.images.remove(image.id);
  await pullImage({ images: to.images, client }, parseReference(`${registry}/team/app@${digest}`), {});
  assert.deepEqual(to.images.resolve(id).tags, []);
  await pullAllTags({ images: to.images, client }, parseReference(`${registry}/other`), {});
  assert.equal(to.images.resolve(`${registry}/other:2`).id, id);
  assert.deepEqual((await distributionOf(client, reference)).Platforms, [{ architecture: "amd64", os: "linux" }]);
  assert.deepEqual(
    (await searchRegistry(client, `${registry}/app`)).map((found) => found.name),
    [`${registry}/team/app`],
  );
});

test("what is not there is said in docker's words", async () => {
  const { images } = await newService();
  const client = newClient();
  await assert.rejects(pullImage({ images, client }, parseReference(`${registry}/no/such:1`)), {
    code: "not-found",
    message: `manifest for ${registry}/no/such:1 not found: manifest unknown: manifest unknown`,
  });
  const dead = `127.0.0.1:${await freePort()}`;
  await assert.rejects(pullImage({ images, client }, parseReference(`${dead}/x`)), {
    message: `Get "http://${dead}/v2/": dial tcp ${dead}: connect: connection refused`,
  });
  await assert.rejects(pullImage({ images, client }, parseReference("no-such-host.invalid/x")), {
    message: /^Get "https:\/\/no-such-host\.invalid\/v2\/": dial tcp: lookup no-such-host\.invalid/,
  });
  await assert.rejects(pushImage({ images, client }, parseReference(`${registry}/none:1`)), {
    code: "not-found",
    message: `An image does not exist locally with the tag: ${registry}/none`,
  });
});

test("a password is wanted, checked, and not asked for twice", async () => {
  const passwords = join(folder, "htpasswd");
  writeFileSync(passwords, `me:${bcrypt.hashSync("secret", 4)}\n`);
  const host = await startRegistry("basic", `auth: { htpasswd: { realm: basic-realm, path: ${passwords} } }\n`);
  const service = await newService();
  const client = newClient();
  await addImage(service, `${host}/private:1`, Buffer.from("x"));
  const reference = parseReference(`${host}/private:1`);
  const parts = { images: service.images, client };
  await assert.rejects(pushImage(parts, reference), { code: "unauthorized", message: /: no basic auth credentials$/ });
  const credentials = { username: "me", password: "secret" };
  await pushImage(parts, reference, { credentials });
  await assert.rejects(pullImage(parts, reference), { code: "unauthorized" });
  await pullImage(parts, reference, { credentials: { auth: Buffer.from("me:secret").toString("base64") } });
  await client.login(host, credentials);
  await assert.rejects(client.login(host, { username: "me", password: "wrong" }), {
    code: "unauthorized",
    message: `Get "http://${host}/v2/": unauthorized: authentication required`,
  });
});

test("a registry with its own authority is trusted by certs.d, and only by that", async () => {
  const openssl = (...args: string[]): void => void execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
  openssl(
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-keyout",
    "tls.key",
    "-out",
    "tls.crt",
    "-subj",
    "/CN=reg",
    "-addext",
    "subjectAltName=DNS:registry.test,IP:127.0.0.1",
  );
  const tls = `  tls: { certificate: ${join(folder, "tls.crt")}, key: ${join(folder, "tls.key")} }\n`;
  const host = await startRegistry("tls", tls, "tls.crt");
  const port = host.split(":")[1];
  // Not a loopback name, so that nothing is forgiven; the address stands in a mirror.
  const mirror = `https://127.0.0.1:${port}`;
  const service = await newService();
  const tag = `127.0.0.1:${port}/app:1`;
  await addImage(service, tag, Buffer.from("x"));
  await pushImage({ images: service.images, client: newClient() }, parseReference(tag));
  const { RegistryTransport } = await import("./registry-transport.ts");
  const endpoint = { base: mirror, host: `127.0.0.1:${port}`, insecure: false, mirror: false };
  const strict = new RegistryTransport(config);
  closers.push(() => strict.close());
  await assert.rejects(strict.send(endpoint, { method: "GET", url: "/v2/" }), {
    message: `Get "${mirror}/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority`,
  });
  const certs = join(folder, "certs.d", `127.0.0.1:${port}`);
  mkdirSync(certs, { recursive: true });
  writeFileSync(join(certs, "ca.crt"), execFileSync("cat", [join(folder, "tls.crt")]));
  const trusting = new RegistryTransport(config);
  closers.push(() => trusting.close());
  assert.equal((await trusting.send(endpoint, { method: "GET", url: "/v2/" })).status, 200);
  writeFileSync(join(certs, "client.cert"), "x");
  assert.throws(() => certificatesOf(config.certsDir, `127.0.0.1:${port}`), {
    code: "invalid",
    message: /^missing key client\.key/,
  });
});

interface Lie {
  (request: IncomingMessage, response: ServerResponse, good: Map<string, Buffer>): boolean;
}

/** A registry of ours with one image `x:1`, whose answers a test may falsify. */
async function lyingRegistry(lie: Lie, layerBytes = Buffer.alloc(100_000, "q")): Promise<string> {
  const tar = layerTar("f", layerBytes);
  const imageConfig = Buffer.from(
    JSON.stringify({ architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [digestOf(tar)] } }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: { mediaType: mediaTypes.config, digest: digestOf(imageConfig), size: imageConfig.length },
      layers: [{ mediaType: mediaTypes.layer, digest: digestOf(tar), size: tar.length }],
    }),
  );
  const good = new Map<string, Buffer>([
    ["/v2/", Buffer.from("{}")],
    ["/v2/x/manifests/1", manifest],
    [`/v2/x/blobs/${digestOf(imageConfig)}`, imageConfig],
    [`/v2/x/blobs/${digestOf(tar)}`, tar],
  ]);
  const server = createServer((request, response) => {
    if (lie(request, response, good)) return;
    const body = good.get(request.url ?? "");
    if (body === undefined) {
      response.writeHead(404, { "content-type": "application/json" });
      response.end('{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}');
      return;
    }
    const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? "");
    const at = range === null ? 0 : Number(range[1]);
    response.writeHead(range === null ? 200 : 206, {
      "content-type": request.url?.includes("manifests") ? mediaTypes.manifest : "application/octet-stream",
      "content-length": body.length - at,
      ...(range === null ? {} : { "content-range": `bytes ${at}-${body.length - 1}/${body.length}` }),
    });
    response.end(body.subarray(at));
  });
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  closers.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function pullFrom(lie: Lie): Promise<ImageService> {
  const service = await newService();
  const host = await lyingRegistry(lie);
  try {
    await pullImage({ images: service.images, client: newClient() }, parseReference(`${host}/x:1`));
    return service;
  } catch (error) {
    assert.deepEqual(readdirSync(join(service.content.root, "blobs/sha256")), [], "nothing is left");
    assert.deepEqual(service.layers.list(), []);
    assert.deepEqual(service.images.list(), []);
    (error as Error).message = (error as Error).message.replaceAll(host, "HOST");
    throw error;
  }
}

const isLayer = (request: IncomingMessage, good: Map<string, Buffer>): boolean =>
  (good.get(request.url ?? "")?.length ?? 0) > 50_000;

test("a download that is cut goes on where it was, and only the rest is sent again", async () => {
  let sent = 0;
  let cuts = 0;
  const service = await pullFrom((request, response, good) => {
    if (!isLayer(request, good)) return false;
    const body = good.get(request.url as string) as Buffer;
    const at = Number(/\d+/.exec(request.headers.range ?? "0")?.[0]);
    const end = Math.min(at + 30_000, body.length);
    response.writeHead(at === 0 ? 200 : 206, {
      "content-length": body.length - at,
      ...(at === 0 ? {} : { "content-range": `bytes ${at}-${body.length - 1}/${body.length}` }),
    });
    response.write(body.subarray(at, end), () => {
      sent += end - at;
      if (end === body.length) response.end();
      else setTimeout(() => response.destroy(), 30);
      cuts++;
    });
    return true;
  });
  assert.equal(service.images.list().length, 1);
  assert.equal(cuts, 4);
  assert.ok(sent < 110_000);
});

test("a registry without ranges is asked for the whole again", async () => {
  let tries = 0;
  const service = await pullFrom((request, response, good) => {
    if (!isLayer(request, good)) return false;
    const body = good.get(request.url as string) as Buffer;
    response.writeHead(200, { "content-length": body.length });
    if (tries++ === 0) response.write(body.subarray(0, 5000), () => setTimeout(() => response.destroy(), 30));
    else response.end(body);
    return true;
  });
  assert.equal(service.images.list().length, 1);
});

test("each lie is survived with an error, and leaves nothing", async () => {
  const answer =
    (status: number, body = "", headers: Record<string, string> = {}): Lie =>
    (request, response) => {
      if (!request.url?.includes("/manifests/")) return false;
      response.writeHead(status, headers);
      response.end(body);
      return true;
    };
  const layer =
    (falsify: (body: Buffer, response: ServerResponse) => void): Lie =>
    (request, response, good) => {
      if (!isLayer(request, good)) return false;
      falsify(good.get(request.url as string) as Buffer, response);
      return true;
    };
  const cases: [string, Lie, RegExp][] = [
    [
      "another layer",
      layer((body, response) => response.end(Buffer.alloc(body.length))),
      /filesystem layer verification failed for digest sha256:/,
    ],
    [
      "a longer layer",
      layer((body, response) => response.end(Buffer.concat([body, Buffer.alloc(9)]))),
      /filesystem layer verification failed for digest sha256:/,
    ],
    [
      "a shorter layer",
      layer((body, response) => response.end(body.subarray(0, 10))),
      /filesystem layer verification failed for digest sha256:/,
    ],
    [
      "a hanging layer",
      layer((_, response) => void response.writeHead(200).flushHeaders()),
      /context deadline exceeded/,
    ],
    [
      "a layer of errors",
      layer((_, response) => response.writeHead(500).end("oops")),
      /received unexpected HTTP status: 500 Internal Server Error/,
    ],
    [
      "no manifest",
      answer(404, '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'),
      /^manifest for HOST\/x:1 not found: manifest unknown: manifest unknown$/,
    ],
    [
      "denied",
      answer(403, '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}'),
      /^pull access denied for HOST\/x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied$/,
    ],
    ["unauthorized", answer(401, ""), /^unauthorized: authentication required$/],
    [
      "too many",
      answer(429, '{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'),
      /^toomanyrequests: slow down$/,
    ],
    [
      "a page",
      answer(404, "<html>no</html>"),
      /^error parsing HTTP 404 response body: invalid character '<' looking for beginning of value: "<html>no<\/html>"$/,
    ],
    [
      "no JSON",
      answer(200, "<html>", { "content-type": "text/html" }),
      /unsupported manifest media type and no default available: text\/html/,
    ],
    ["null", answer(200, "null"), /unsupported manifest media type/],
    ["a huge manifest", answer(200, " ".repeat(5 << 20)), /is larger than 4194304 bytes/],
    [
      "a wrong digest",
      answer(200, '{"schemaVersion":2}', { "docker-content-digest": `sha256:${"0".repeat(64)}` }),
      /manifest verification failed for digest/,
    ],
    ["schema 1", answer(200, '{"schemaVersion":1}'), /schema 1 are not supported/],
    [
      "no layers",
      answer(200, `{"schemaVersion":2,"mediaType":"${mediaTypes.manifest}"}`),
      /manifest has no list of layers/,
    ],
    [
      "another platform",
      answer(
        200,
        JSON.stringify({
          schemaVersion: 2,
          manifests: [
            {
              mediaType: mediaTypes.manifest,
              digest: `sha256:${"0".repeat(64)}`,
              size: 2,
              platform: { os: "linux", architecture: "s390x" },
            },
          ],
        }),
      ),
      /no matching manifest for linux\/\w+(\/v8)? in the manifest list entries/,
    ],
    [
      "a chart",
      answer(
        200,
        `{"schemaVersion":2,"mediaType":"${mediaTypes.manifest}","config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"sha256:${"0".repeat(64)}","size":2},"layers":[]}`,
      ),
      /^Encountered remote "application\/vnd\.cncf\.helm\.config\.v1\+json"\(unknown\) when fetching$/,
    ],
    [
      "an unknown configuration",
      answer(
        200,
        `{"schemaVersion":2,"mediaType":"${mediaTypes.manifest}","config":{"mediaType":"${mediaTypes.config}","digest":"sha256:${"0".repeat(64)}","size":2},"layers":[]}`,
      ),
      /^error pulling image configuration: download failed after attempts=1: unknown blob$/,
    ],
    ["a circle", answer(307, "", { location: "/v2/x/manifests/1" }), /stopped after 10 redirects/],
    ["another scheme", answer(302, "", { location: "file:///etc/passwd" }), /unsupported protocol scheme "file"/],
    [
      "a hang",
      (request) => request.url?.includes("/manifests/") === true,
      /net\/http: timeout awaiting response headers/,
    ],
  ];
  for (const [name, lie, message] of cases) await assert.rejects(pullFrom(lie), { name: "GantryError", message }, name);
});

test("a token is got from where the registry says, for the repository, and used again", async () => {
  const asked: string[] = [];
  let host = "";
  const service = await newService();
  host = await lyingRegistry((request, response) => {
    if (request.url?.startsWith("/token")) {
      asked.push(`${request.url} ${request.headers.authorization ?? ""}`);
      response.end('{"token":"t0k"}');
      return true;
    }
    if (request.headers.authorization === "Bearer t0k") return false;
    response.writeHead(401, {
      "www-authenticate": `Bearer realm="http://${host}/token",service="reg",scope="repository:x:pull"`,
    });
    response.end();
    return true;
  });
  const credentials = { username: "u", password: "p" };
  await pullImage({ images: service.images, client: newClient() }, parseReference(`${host}/x:1`), { credentials });
  const basic = `Basic ${Buffer.from("u:p").toString("base64")}`;
  assert.deepEqual(
    asked.filter((each) => each.includes("scope=repository%3Ax%3Apull&")),
    [`/token?service=reg&scope=repository%3Ax%3Apull&account=u ${basic}`],
  );
});

test("a token that is no longer taken in the midst of a pull is replaced by a new one", async () => {
  let issued = 0;
  let uses = 0;
  let host = "";
  const service = await newService();
  host = await lyingRegistry((request, response) => {
    if (request.url?.startsWith("/token")) {
      uses = 0;
      response.end(JSON.stringify({ access_token: `t${++issued}`, expires_in: 3600 }));
      return true;
    }
    if (request.headers.authorization === `Bearer t${issued}` && ++uses <= 1) return false;
    response.writeHead(401, { "www-authenticate": `Bearer realm="http://${host}/token",service="reg"` });
    response.end();
    return true;
  });
  await pullImage({ images: service.images, client: newClient() }, parseReference(`${host}/x:1`));
  assert.ok(issued >= 3, `${issued} tokens`);
});

test("credentials never follow a redirect to another host", async () => {
  const seen: (string | undefined)[] = [];
  const store = await lyingRegistry((request, response, good) => {
    seen.push(request.headers.authorization);
    response.end([...good.values()].find((body) => request.url === `/${createHash("md5").update(body).digest("hex")}`));
    return true;
  });
  const service = await newService();
  const host = await lyingRegistry((request, response, good) => {
    if (request.headers.authorization === undefined) {
      response.writeHead(401, { "www-authenticate": "Basic realm=x" });
      response.end();
      return true;
    }
    if (!request.url?.includes("/blobs/")) return false;
    const name = createHash("md5")
      .update(good.get(request.url) as Buffer)
      .digest("hex");
    response.writeHead(307, { location: `http://${store}/${name}` });
    response.end();
    return true;
  });
  await pullImage({ images: service.images, client: newClient() }, parseReference(`${host}/x:1`), {
    credentials: { username: "u", password: "p" },
  });
  assert.deepEqual(seen, [undefined, undefined]);
});

test("a mirror is asked first, and left out when it fails", async () => {
  const service = await newService();
  const good = await lyingRegistry((request) => {
    request.url = request.url?.replace("/v2/library/x/", "/v2/x/");
    return false;
  });
  const dead = `http://127.0.0.1:${await freePort()}`;
  const client = newClient({ mirrors: { "docker.io": [dead, `http://${good}`] } });
  const image = await pullImage({ images: service.images, client }, parseReference("x:1"));
  assert.deepEqual(image.tags, ["docker.io/library/x:1"]);
});

test("what a mirror does not have, or breaks off, comes from the next one", async () => {
  const service = await newService();
  const rename = (request: IncomingMessage): void => {
    request.url = request.url?.replace("/v2/library/x/", "/v2/x/") as string;
  };
  const empty = await lyingRegistry((request, response) => {
    if (request.url === "/v2/") return false;
    response.writeHead(404, { "content-type": "application/json" });
    response.end('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}');
    return true;
  });
  const broken = await lyingRegistry((request, response, good) => {
    rename(request);
    if (!isLayer(request, good)) return false;
    response.writeHead(500).end();
    return true;
  });
  const whole = await lyingRegistry((request) => {
    rename(request);
    return false;
  });
  const mirrors = { "docker.io": [empty, broken, whole].map((host) => `http://${host}`) };
  const client = newClient({ mirrors });
  const image = await pullImage({ images: service.images, client }, parseReference("x:1"));
  assert.deepEqual(image.tags, ["docker.io/library/x:1"]);
  assert.equal((await distributionOf(client, parseReference("x:1"))).Platforms.length, 1);
});

test("a pull that is cancelled ends at once, and what came stays for the next", async () => {
  const abort = new AbortController();
  const service = await newService();
  let first = true;
  const host = await lyingRegistry((request, response, good) => {
    if (!isLayer(request, good) || !first) return false;
    first = false;
    const body = good.get(request.url as string) as Buffer;
    response.writeHead(200, { "content-length": body.length });
    response.write(body.subarray(0, 60_000), () => setTimeout(() => abort.abort(), 50));
    return true;
  });
  const parts = { images: service.images, client: newClient() };
  await assert.rejects(pullImage(parts, parseReference(`${host}/x:1`), { signal: abort.signal }), {
    code: "cancelled",
  });
  assert.equal(readdirSync(join(service.content.root, "partial")).length, 1);
  await pullImage(parts, parseReference(`${host}/x:1`));
  assert.deepEqual(readdirSync(join(service.content.root, "partial")), []);
});

test("a cancelled pull waits neither for a turn nor for another pull of the same layer", async () => {
  const service = await newService();
  const host = await lyingRegistry((request, response, good) => {
    if (!isLayer(request, good)) return false;
    response.writeHead(200).flushHeaders();
    return true;
  });
  const parts = { images: service.images, client: newClient({ maxConcurrentDownloads: 1, maxDownloadAttempts: 1 }) };
  const hanging = assert.rejects(pullImage(parts, parseReference(`${host}/x:1`)), { code: "timeout" });
  const stop = new AbortController();
  const second = pullImage(parts, parseReference(`${host}/x:1`), { signal: stop.signal });
  const refused = assert.rejects(second, { code: "cancelled", message: "context canceled" });
  await new Promise((resolve) => setTimeout(resolve, 150));
  const began = performance.now();
  stop.abort();
  await refused;
  assert.ok(performance.now() - began < 200, "it was given up at once");
  await hanging;
});

test("platforms, challenges, credentials and endpoints are read as docker does", () => {
  const manifest = (architecture: string, variant?: string): never =>
    ({
      mediaType: "",
      digest: `${architecture}${variant ?? ""}`,
      size: 0,
      platform: { os: "linux", architecture, variant },
    }) as never;
  const index = {
    schemaVersion: 2 as const,
    manifests: [manifest("arm", "v6"), manifest("arm", "v7"), manifest("arm64"), manifest("amd64")],
  };
  assert.equal(choosePlatform(index, { os: "linux", architecture: "arm", variant: "v7" })?.digest, "armv7");
  assert.equal(choosePlatform(index, { os: "linux", architecture: "arm64", variant: "v8" })?.digest, "arm64");
  assert.equal(choosePlatform(index, { os: "windows", architecture: "amd64" }), undefined);
  assert.deepEqual(parseChallenges('Bearer realm="https://a/b?c",service="s,x", Basic realm=y'), [
    { scheme: "bearer", parameters: { realm: "https://a/b?c", service: "s,x" } },
    { scheme: "basic", parameters: { realm: "y" } },
  ]);
  assert.deepEqual(userAndPassword({ auth: Buffer.from("a:b:c").toString("base64") }), { user: "a", password: "b:c" });
  const bases = (domain: string, insecureRegistries: string[] = []): string[] =>
    endpointsOf({ ...config, insecureRegistries }, domain).map((endpoint) => endpoint.base);
  assert.deepEqual(bases("docker.io"), ["https://registry-1.docker.io"]);
  assert.deepEqual(bases("127.1:5000"), ["https://127.1:5000", "http://127.1:5000"]);
  assert.deepEqual(bases("10.1.2.3:5000", ["10.1.0.0/16"]), ["https://10.1.2.3:5000", "http://10.1.2.3:5000"]);
  assert.deepEqual(bases("10.2.2.3:5000", ["10.1.0.0/16"]), ["https://10.2.2.3:5000"]);
  assert.deepEqual(bases("reg.example", ["reg.example"]), ["https://reg.example", "http://reg.example"]);
});

test("daemon.json's keys become the configuration, and bad ones are named", () => {
  const made = registryConfigOf({ "registry-mirrors": ["http://m:5000"], "max-concurrent-downloads": 9 });
  assert.deepEqual([made.mirrors, made.maxConcurrentDownloads], [{ "docker.io": ["http://m:5000"] }, 9]);
  assert.throws(() => registryConfigOf({ "registry-mirrors": ["ftp://x"] }), {
    code: "invalid",
    message: /unsupported scheme/,
  });
  assert.throws(() => registryConfigOf({ "max-concurrent-uploads": 0 }), {
    message: "invalid max concurrent uploads: 0",
  });
});

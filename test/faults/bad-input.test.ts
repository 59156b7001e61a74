import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { type Server, createServer, request } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Outcome, TestInstance, runLater } from "../acceptance/instance.ts";
import { type Entry, dockerArchive, sha256, tar } from "./tar.ts";
import { type Traces, assertAsBefore, settledTraces, traces } from "./traces.ts";

const instance = new TestInstance(`fault-in-${process.pid}`);
const escaped = `/tmp/gantry-escaped-${process.pid}`;
let clean: Traces;

before(async () => {
  instance.up();
  instance.docker("run", "--rm", "gantry/hello", "true");
  clean = await settledTraces(instance);
});
after(() => instance.reset());

const later = (...args: string[]): Promise<Outcome> => runLater("docker", args, instance.env);

function archiveFile(name: string, bytes: Buffer): string {
  const path = join(instance.folder, name);
  writeFileSync(path, bytes);
  return path;
}

async function refused(outcome: Outcome, message: RegExp): Promise<void> {
  assert.notEqual(outcome.status, 0);
  assert.match(outcome.stderr + outcome.stdout, message);
  await assertAsBefore(instance, clean);
}

test("an archive whose layer was changed is refused by load and leaves nothing", async () => {
  const saved = join(instance.folder, "saved.tar");
  instance.docker("save", "-o", saved, "gantry/hello");
  instance.docker("rmi", "gantry/hello");
  const bytes = readFileSync(saved);
  // Somewhere in the middle of the largest file: the layer.
  bytes[Math.floor(bytes.length / 2)] = (bytes[Math.floor(bytes.length / 2)] as number) ^ 0xff;
  const empty = await settledTraces(instance);
  const outcome = instance.run("docker", ["load", "-i", archiveFile("changed.tar", bytes)]);
  try {
    assert.notEqual(outcome.status, 0);
    assert.match(outcome.stderr, /invalid|match|digest/);
    await assertAsBefore(instance, empty);
  } finally {
    instance.docker("load", "-i", saved);
  }
  assert.equal(instance.docker("run", "--rm", "gantry/hello", "echo", "back"), "back\n");
  clean = await settledTraces(instance);
});

for (const [what, bytes, message] of [
  [
    "a diff id that is another layer's",
    dockerArchive(tar([{ name: "a", content: "b" }]), "x:1", { diffId: sha256("") }),
    /match|verification/,
  ],
  [
    "an archive cut in the middle",
    dockerArchive(tar([{ name: "a", content: "b".repeat(5000) }]), "x:1", { cut: 3000 }),
    /EOF|unexpected|invalid/i,
  ],
  ["something that is no archive", Buffer.from("not a tar ".repeat(300)), /invalid|tar|archive/i],
  ["a layer that is no tar", dockerArchive(Buffer.from("nonsense".repeat(200)), "x:1"), /invalid|tar/i],
] as const)
  test(`docker load refuses ${what} and leaves nothing`, async () => {
    await refused(instance.run("docker", ["load", "-i", archiveFile("bad.tar", bytes)]), message);
  });

const climbing: [what: string, entries: Entry[]][] = [
  ["dots", [{ name: `../../../../../../../../../../..${escaped}`, content: "out" }]],
  ["an absolute name", [{ name: escaped, content: "out" }]],
  [
    "a symbolic link to /",
    [
      { name: "l", type: "2", linkname: "/" },
      { name: `l${escaped}`, content: "out" },
    ],
  ],
  [
    "a symbolic link of dots",
    [
      { name: "l", type: "2", linkname: "../../../../../../../../../../.." },
      { name: `l${escaped}`, content: "out" },
    ],
  ],
  ["a hard link out", [{ name: "h", type: "1", linkname: "../../../../../../../../../../../etc/hostname" }]],
  [
    "a hard link through a symbolic link",
    [
      { name: "l", type: "2", linkname: "/etc" },
      { name: "h", type: "1", linkname: "l/hostname" },
      { name: "h", content: "changed" },
    ],
  ],
];

for (const [what, entries] of climbing)
  test(`a tar that climbs out by ${what} stays inside in load, import and cp`, async () => {
    const hostname = readFileSync("/etc/hostname", "utf8");
    const check = (): void => {
      assert.equal(existsSync(escaped), false);
      assert.equal(readFileSync("/etc/hostname", "utf8"), hostname);
    };
    const bytes = tar(entries);
    const run = (args: string[]): Outcome => {
      const outcome = spawnSync("docker", args, { env: instance.env, input: bytes, encoding: "utf8" });
      return { status: outcome.status ?? 128, stdout: outcome.stdout, stderr: outcome.stderr };
    };
    const loaded = instance.run("docker", ["load", "-i", archiveFile("climb.tar", dockerArchive(bytes, "climb:load"))]);
    check();
    if (loaded.status === 0) instance.docker("rmi", "climb:load");
    else assert.match(loaded.stderr, /outside|invalid|breakout|no such file/);
    await assertAsBefore(instance, clean);
    const imported = run(["import", "-", "climb:import"]);
    check();
    if (imported.status === 0) instance.docker("rmi", "climb:import");
    await assertAsBefore(instance, clean);
    for (const command of [["create"], ["run", "-d"]]) {
      instance.docker(...command, "--name", "target", "gantry/hello", "sleep", "3600");
      run(["cp", "-", "target:/tmp"]);
      check();
      instance.docker("rm", "-f", "target");
    }
    await assertAsBefore(instance, clean);
  });

/** A registry that answers what it is told to. */
async function withRegistry(
  answer: (
    path: string,
  ) => { status?: number; headers?: Record<string, string>; body: Buffer; cut?: boolean } | undefined,
  work: (address: string) => Promise<void>,
): Promise<void> {
  const server: Server = createServer((incoming, response) => {
    const found = incoming.url === "/v2/" ? { body: Buffer.from("{}") } : answer(incoming.url ?? "");
    if (found === undefined) {
      response.writeHead(404).end('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}');
      return;
    }
    response.writeHead(found.status ?? 200, { "content-length": String(found.body.length), ...found.headers });
    if (incoming.method === "HEAD") response.end();
    else if (found.cut === true) {
      response.write(found.body.subarray(0, found.body.length / 2));
      setTimeout(() => response.destroy(), 20);
    } else response.end(found.body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await work(`127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const goodLayer = tar([{ name: "hello", content: "x".repeat(20_000) }]);
const goodConfig = Buffer.from(
  JSON.stringify({
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: {},
    rootfs: { type: "layers", diff_ids: [sha256(goodLayer)] },
  }),
);
function manifestOf(layer: { digest: string; size: number }): Buffer {
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: {
        mediaType: "application/vnd.oci.image.config.v1+json",
        digest: sha256(goodConfig),
        size: goodConfig.length,
      },
      layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar", ...layer }],
    }),
  );
}
const manifestType = { "content-type": "application/vnd.oci.image.manifest.v1+json" };

for (const [what, layer, manifest, message] of [
  [
    "another layer than its digest",
    Buffer.from(goodLayer).fill(0x41, 600, 700),
    undefined,
    /verification failed|digest/,
  ],
  ["a shorter layer than announced", goodLayer.subarray(0, 10_240), undefined, /size|EOF|verification|unexpected/i],
  [
    "a longer layer than announced",
    Buffer.concat([goodLayer, Buffer.alloc(10_240)]),
    undefined,
    /size|larger|verification/,
  ],
  ["a manifest that is not JSON", goodLayer, Buffer.from("{"), /manifest|JSON|invalid/i],
  [
    "a manifest of wrong types",
    goodLayer,
    Buffer.from('{"schemaVersion":2,"config":7,"layers":{}}'),
    /manifest|invalid|unsupported/i,
  ],
  ["a negative size", goodLayer, manifestOf({ digest: sha256(goodLayer), size: -1 }), /invalid|size/i],
  [
    "a digest that is a path",
    goodLayer,
    manifestOf({ digest: "sha256:../../../../etc/passwd", size: 3 }),
    /invalid|digest/i,
  ],
] as const)
  test(`a registry that sends ${what} fails a pull, which leaves nothing`, async () => {
    const body = manifest ?? manifestOf({ digest: sha256(goodLayer), size: goodLayer.length });
    await withRegistry(
      (path) => {
        if (path.includes("/manifests/"))
          return { body, headers: { ...manifestType, "docker-content-digest": sha256(body) } };
        if (path.endsWith(sha256(goodConfig))) return { body: goodConfig };
        return { body: layer };
      },
      async (address) => {
        await refused(await later("pull", `${address}/liar/image:1`), message);
      },
    );
  });

test("a registry that redirects in circles or answers 401, 429 or 500 fails a pull in time", async () => {
  for (const status of [401, 429, 500, 307]) {
    await withRegistry(
      (path) => ({ status, body: Buffer.from("no"), ...(status === 307 ? { headers: { location: path } } : {}) }),
      async (address) => {
        const started = Date.now();
        await refused(await later("pull", `${address}/liar/image:1`), /./);
        assert.ok(Date.now() - started < 30_000, `status ${status}`);
      },
    );
  }
});

test("images that do not exist are refused by run, pull, tag, rmi and save", async () => {
  await withRegistry(
    () => undefined,
    async (address) => {
      await refused(await later("run", "-d", "--name", "none", `${address}/none:1`), /manifest unknown|not found/);
      await refused(await later("pull", `${address}/none:1`), /manifest unknown|not found/);
    },
  );
  await refused(instance.run("docker", ["tag", "none:1", "other:1"]), /No such image: none:1/);
  await refused(instance.run("docker", ["rmi", "none:1"]), /No such image: none:1/);
  await refused(
    instance.run("docker", ["save", "-o", join(instance.folder, "none.tar"), "none:1"]),
    /No such image: none:1|reference does not exist/,
  );
  await refused(instance.run("docker", ["run", "--pull=never", "none:1"]), /No such image: none:1/);
});

test("a port that a foreign process has is refused, the container stays created and starts later", async () => {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, "0.0.0.0", resolve));
  const port = (server.address() as AddressInfo).port;
  try {
    const outcome = await later("run", "-d", "--name", "web", "-p", `${port}:80`, "gantry/hello");
    assert.equal(outcome.status, 125);
    assert.match(outcome.stderr, /address already in use|port is already allocated/);
    assert.equal(instance.docker("inspect", "-f", "{{.State.Status}}", "web"), "created\n");
    const held = traces(instance);
    assert.deepEqual(
      { mounts: held.mounts, links: held.links, namespaces: held.namespaces, rules: held.rules, cgroups: held.cgroups },
      {
        mounts: clean.mounts,
        links: clean.links,
        namespaces: clean.namespaces,
        rules: clean.rules,
        cgroups: clean.cgroups,
      },
    );
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
  instance.docker("start", "web");
  const second = instance.run("docker", ["run", "-d", "--name", "web2", "-p", `${port}:80`, "gantry/hello"]);
  assert.equal(second.status, 125);
  assert.match(second.stderr, /port is already allocated/);
  instance.docker("rm", "-f", "web", "web2");
  await assertAsBefore(instance, clean);
});

function post(path: string, headers: Record<string, string>, chunks: number, chunk: Buffer): Promise<number> {
  return new Promise((resolve) => {
    const sending = request(
      { socketPath: `/run/gantry/${instance.name}/docker.sock`, path, method: "POST", headers },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
        sending.destroy();
      },
    );
    sending.on("error", () => resolve(0));
    void (async () => {
      for (let at = 0; at < chunks && !sending.destroyed; at++)
        if (!sending.write(chunk)) await new Promise((go) => (sending.once("drain", go), sending.once("close", go)));
      sending.end();
    })();
  });
}

test("a huge API body is refused before it fills the memory", async () => {
  const memory = (): number =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${instance.pid("node")}/status`, "utf8"))?.[1]);
  const before_ = memory();
  const json = { "content-type": "application/json" };
  const status = await post("/v1.47/containers/create", json, 400, Buffer.alloc(1 << 20, 0x20));
  assert.ok(status === 413 || status === 400 || status === 0, String(status));
  const announced = { ...json, "content-length": String(2 ** 40) };
  const second = await post("/v1.47/networks/create", announced, 1, Buffer.from("{"));
  assert.ok(second === 413 || second === 400 || second === 0, String(second));
  const deep = await post(
    "/v1.47/containers/create",
    json,
    1,
    Buffer.from('{"Labels":'.padEnd(10, " ") + "[".repeat(200_000)),
  );
  assert.equal(deep, 400);
  assert.ok(memory() - before_ < 150_000, `${memory() - before_} KB more`);
  await assertAsBefore(instance, clean);
});

test("docker cp from a container follows no link out of it", async () => {
  instance.docker("create", "--name", "source", "gantry/hello");
  const folder = join(instance.folder, "out");
  mkdirSync(folder);
  spawnSync("docker", ["cp", "-", "source:/tmp"], {
    env: instance.env,
    input: tar([{ name: "shadow", type: "2", linkname: "/proc/1/root/etc/hostname" }]),
  });
  instance.run("docker", ["cp", "-L", "source:/tmp/shadow", join(folder, "stolen")]);
  assert.equal(existsSync(join(folder, "stolen")), false);
  instance.docker("rm", "source");
  await assertAsBefore(instance, clean);
});

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import bcrypt from "bcryptjs";
import { busyboxTar } from "./busybox-tar.ts";
import { startDaemon, type TestDaemon } from "./daemon.ts";
import { DockerCli, eventually } from "./docker-cli.ts";

const program = "/usr/bin/docker-registry";
const skip = existsSync(program) ? false : "Debian's docker-registry is not installed";
const folder = mkdtempSync(join(tmpdir(), "gantry-registry-"));
let daemon: TestDaemon;
let cli: DockerCli;
let open: Registry;
let locked: Registry;

interface Registry {
  name: string;
  process: ChildProcess;
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}

async function startRegistry(kind: string, auth: string): Promise<Registry> {
  const port = await freePort();
  const config = join(folder, `${kind}.yml`);
  const storage = join(folder, kind);
  mkdirSync(storage);
  writeFileSync(
    config,
    `version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: ${storage}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:${port}\n${auth}`,
  );
  const child = spawn(program, ["serve", config], { stdio: "ignore" });
  await eventually("the registry answers", async () => {
    try {
      return (await fetch(`http://127.0.0.1:${port}/v2/`)).status < 500;
    } catch {
      return false;
    }
  });
  return { name: `127.0.0.1:${port}`, process: child };
}

before(async () => {
  if (skip !== false) return;
  daemon = await startDaemon(10);
  cli = new DockerCli(daemon.host);
  busyboxTar(join(cli.folder, "bb.tar"));
  await cli.ok("import", join(cli.folder, "bb.tar"), "bb:1");
  const passwords = join(folder, "htpasswd");
  writeFileSync(passwords, `anna:${bcrypt.hashSync("secret", 5).replace(/^\$2b/, "$2y")}\n`);
  open = await startRegistry("open", "");
  locked = await startRegistry("locked", `auth:\n  htpasswd:\n    realm: test\n    path: ${passwords}\n`);
});
after(async () => {
  open?.process.kill();
  locked?.process.kill();
  cli?.dispose();
  await daemon?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test("what was pushed is pulled again, by tag and by digest, and runs", { skip }, async () => {
  const name = `${open.name}/team/app:v1`;
  await cli.ok("tag", "bb:1", name);
  const pushed = await cli.ok("push", name);
  assert.match(pushed, /v1: digest: sha256:[0-9a-f]{64} size: \d+/);
  const digest = /sha256:[0-9a-f]{64}/.exec(pushed)?.[0] as string;
  await cli.ok("rmi", name);
  const pulled = await cli.ok("pull", name);
  assert.ok(pulled.includes(`Digest: ${digest}`), pulled);
  assert.ok(pulled.includes(`Status: Downloaded newer image for ${name}`), pulled);
  assert.equal(await cli.ok("run", "--rm", "--network", "none", name, "echo", "pulled"), "pulled");
  assert.ok((await cli.ok("pull", name)).includes(`Status: Image is up to date for ${name}`));
  await cli.ok("rmi", name);
  const byDigest = `${open.name}/team/app@${digest}`;
  await cli.ok("pull", "-q", byDigest);
  assert.equal(await cli.ok("image", "inspect", "-f", "{{index .RepoDigests 0}}", byDigest), byDigest);
  await cli.ok("rmi", byDigest);
});

test("run pulls what is missing", { skip }, async () => {
  const name = `${open.name}/team/app:v1`;
  const done = await cli.run(["run", "--rm", "--network", "none", name, "echo", "there"]);
  assert.equal(done.out, "there\n", done.err);
  assert.match(done.err, /Unable to find image '.*' locally/);
  await cli.ok("rmi", name);
});

test("pull -a takes every tag", { skip }, async () => {
  const repository = `${open.name}/many`;
  for (const tag of ["a", "b"]) {
    await cli.ok("tag", "bb:1", `${repository}:${tag}`);
    await cli.ok("push", "-q", `${repository}:${tag}`);
    await cli.ok("rmi", `${repository}:${tag}`);
  }
  await cli.ok("pull", "-aq", repository);
  const tags = await cli.ok("images", repository, "--format", "{{.Tag}}");
  assert.deepEqual(tags.split("\n").sort(), ["a", "b"]);
  await cli.ok("rmi", `${repository}:a`, `${repository}:b`);
});

test("a name, a tag and a host that are not there get the registry's answers", { skip }, async () => {
  const unknown = await cli.run(["pull", `${open.name}/nope:1`]);
  assert.equal(unknown.code, 1);
  assert.match(unknown.err, /manifest for .*\/nope:1 not found|pull access denied|manifest unknown/);
  const dead = await cli.run(["pull", "127.0.0.1:1/nope:1"]);
  assert.match(dead.err, /connection refused/);
});

test("a registry that asks for a password: refused, login, push, pull, logout", { skip }, async () => {
  const name = `${locked.name}/private/app:1`;
  await cli.ok("tag", "bb:1", name);
  const refused = await cli.run(["push", name]);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /no basic auth credentials|authentication required|unauthorized/);
  const wrong = await cli.run(["login", "-u", "anna", "--password-stdin", locked.name], "bad");
  assert.equal(wrong.code, 1);
  assert.match(wrong.err, /unauthorized|401/i);
  const login = await cli.run(["login", "-u", "anna", "--password-stdin", locked.name], "secret");
  assert.equal(login.code, 0, login.err);
  assert.match(login.out, /Login Succeeded/);
  await cli.ok("push", name);
  await cli.ok("rmi", name);
  await cli.ok("pull", name);
  await cli.ok("logout", locked.name);
  await cli.ok("rmi", name);
  assert.equal((await cli.run(["pull", name])).code, 1);
});

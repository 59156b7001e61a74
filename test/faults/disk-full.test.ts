import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, rmdirSync, statfsSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { TestInstance, eventually } from "../acceptance/instance.ts";
import { dockerArchive, tar } from "./tar.ts";
import { type Traces, assertAsBefore, isAlive, resetLeavesNothing, settledTraces, traces } from "./traces.ts";

/** Its whole folder is a small disk. */
const instance = new TestInstance(`fault-full-${process.pid}`);
const elsewhere = mkdtempSync(join(tmpdir(), "gantry-fault-"));
const ballast = join(instance.folder, "ballast");
const noSpace = /no space left on device/i;
let clean: Traces;

before(async () => {
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs", instance.folder], {
    encoding: "utf8",
  });
  assert.equal(mounted.status, 0, mounted.stderr);
  instance.up();
  instance.docker("run", "--rm", "gantry/hello", "true");
  clean = await settledTraces(instance);
});
after(() => {
  rmSync(ballast, { force: true });
  try {
    instance.gantry("reset", "--yes");
  } finally {
    spawnSync("umount", ["-l", instance.folder]);
    rmdirSync(instance.folder);
    rmSync(elsewhere, { recursive: true, force: true });
  }
});

afterEach(() => rmSync(ballast, { force: true }));

const free = (): number => {
  const { bavail, bsize } = statfsSync(instance.folder);
  return bavail * bsize;
};

/** Takes all but `left` bytes of the disk. */
function fill(left: number): void {
  writeFileSync(ballast, "");
  spawnSync("fallocate", ["-l", String(Math.max(1, free() - left)), ballast]);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function works(): void {
  assert.equal(instance.docker("run", "--rm", "gantry/hello", "echo", "works"), "works\n");
  instance.kubectl("create", "configmap", "works", "--from-literal=a=b");
  instance.kubectl("delete", "configmap", "works");
}

test("a load that does not fit is told so, leaves nothing, and works once there is room", async () => {
  const layer = tar([{ name: "big", content: randomBytes(12 << 20) }]);
  const archive = join(elsewhere, "big.tar");
  writeFileSync(archive, dockerArchive(layer, "big:1"));
  for (const left of [4 << 20, 14 << 20]) {
    fill(left);
    const outcome = instance.run("docker", ["load", "-i", archive]);
    rmSync(ballast);
    assert.notEqual(outcome.status, 0);
    assert.match(outcome.stderr + outcome.stdout, noSpace);
    await assertAsBefore(instance, clean);
  }
  instance.docker("load", "-i", archive);
  instance.docker("rmi", "big:1");
  works();
});

test("a pull that does not fit is told so, leaves nothing, and works once there is room", async () => {
  const address = `127.0.0.1:${await freePort()}`;
  const file = join(elsewhere, "registry.yml");
  writeFileSync(
    file,
    JSON.stringify({
      version: 0.1,
      log: { level: "error" },
      storage: { filesystem: { rootdirectory: join(elsewhere, "registry") } },
      http: { addr: address },
    }),
  );
  const registry = spawn("docker-registry", ["serve", file], { stdio: "ignore" });
  try {
    await eventually("the registry answers", () => spawnSync("curl", ["-sf", `http://${address}/v2/`]).status === 0);
    const image = `${address}/big:1`;
    const archive = join(elsewhere, "pulled.tar");
    writeFileSync(archive, dockerArchive(tar([{ name: "big", content: randomBytes(12 << 20) }]), image));
    instance.docker("load", "-i", archive);
    instance.docker("push", "-q", image);
    instance.docker("rmi", image);
    for (const left of [4 << 20, 14 << 20]) {
      fill(left);
      const outcome = instance.run("docker", ["pull", image]);
      rmSync(ballast);
      assert.notEqual(outcome.status, 0);
      assert.match(outcome.stderr + outcome.stdout, noSpace);
      await assertAsBefore(instance, clean);
    }
    instance.docker("pull", "-q", image);
    instance.docker("rmi", image);
    works();
  } finally {
    registry.kill("SIGKILL");
  }
});

test("a container that fills the disk gets the error itself, and a commit that does not fit leaves nothing", async () => {
  const outcome = instance.run("docker", [
    "run",
    "--name",
    "filler",
    "gantry/hello",
    "sh",
    "-c",
    "dd if=/dev/zero of=/var/full bs=1M; echo $?",
  ]);
  assert.match(outcome.stderr, noSpace);
  instance.docker("rm", "filler");
  await assertAsBefore(instance, clean);
  instance.docker("run", "--name", "half", "gantry/hello", "dd", "if=/dev/urandom", "of=/var/half", "bs=1M", "count=8");
  fill(4 << 20);
  const before_ = traces(instance);
  const commit = instance.run("docker", ["commit", "half", "half:1"]);
  assert.notEqual(commit.status, 0);
  assert.match(commit.stderr, noSpace);
  await assertAsBefore(instance, before_);
  rmSync(ballast);
  instance.docker("commit", "half", "half:1");
  instance.docker("rmi", "half:1");
  instance.docker("rm", "half");
  await assertAsBefore(instance, clean);
});

test("with no byte left, run and create fail clearly and leave nothing; afterwards all works", async () => {
  fill(0);
  for (const args of [
    ["run", "-d", "--name", "none", "gantry/hello"],
    ["create", "--name", "none", "gantry/hello"],
    ["volume", "create", "none"],
    ["network", "create", "unmade"],
  ]) {
    const outcome = instance.run("docker", args, { timeoutMs: 20_000 });
    assert.notEqual(outcome.status, 0, args.join(" "));
    assert.match(outcome.stderr, noSpace, args.join(" "));
  }
  assert.match(instance.docker("ps", "-a"), /CONTAINER ID/);
  rmSync(ballast);
  await assertAsBefore(instance, clean);
  works();
  instance.docker("volume", "create", "none");
  instance.docker("volume", "rm", "none");
  instance.docker("network", "create", "unmade");
  instance.docker("network", "rm", "unmade");
});

test("with no byte left, a write to the API server fails or is kept; reads go on, and writes work again", async () => {
  instance.kubectl("create", "configmap", "early", "--from-literal=a=b");
  fill(0);
  const kept: string[] = [];
  const control = String(instance.pid("control"));
  for (let at = 0; at < 40; at++) {
    const name = `full-${at}`;
    const outcome = instance.run("kubectl", ["create", "configmap", name, `--from-literal=a=${"b".repeat(20_000)}`], {
      timeoutMs: 20_000,
    });
    if (outcome.status === 0) kept.push(name);
    else {
      assert.match(outcome.stderr, /could not write to its disk|refused/);
      break;
    }
  }
  assert.ok(kept.length < 40, "the disk was not full");
  rmSync(ballast);
  await eventually("the control process has ended", () => !isAlive(control), 10_000);
  instance.up();
  await eventually(
    "writes work",
    () => instance.run("kubectl", ["create", "configmap", "late", "--from-literal=a=b"]).status === 0,
  );
  process.kill(instance.pid("control"), "SIGKILL");
  instance.up();
  const names = instance.kubectl("get", "configmaps", "-o", "name");
  for (const name of ["early", "late", ...kept]) assert.match(names, new RegExp(`/${name}$`, "m"));
  instance.kubectl("delete", "configmap", "early", "late", ...kept);
  works();
});

test("both processes killed on a full disk come back once there is room, with their images and containers", () => {
  instance.docker("run", "-d", "--name", "kept", "gantry/hello", "sleep", "3600");
  fill(0);
  for (const name of ["node", "control"] as const) process.kill(instance.pid(name), "SIGKILL");
  const outcome = instance.run(
    join(import.meta.dirname, "../../gantry"),
    ["up", "--no-demo", "--no-switch", "--name", instance.name, "--root", instance.root],
    { timeoutMs: 60_000 },
  );
  if (outcome.status !== 0) assert.match(outcome.stderr + outcome.stdout, /space|full/i);
  rmSync(ballast);
  instance.up();
  assert.equal(instance.docker("inspect", "-f", "{{.State.Status}}", "kept"), "running\n");
  works();
  instance.docker("rm", "-f", "kept");
});

test("reset on a full disk leaves nothing", () => {
  instance.docker("run", "-d", "--name", "kept", "gantry/hello", "sleep", `38${process.pid}`);
  fill(0);
  process.kill(instance.pid("node"), "SIGKILL");
  resetLeavesNothing(instance, [`sleep 38${process.pid}`]);
});

import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestInstance, eventually, runLater } from "../acceptance/instance.ts";
import { tar } from "./tar.ts";
import { assertAsBefore, resetLeavesNothing, settledTraces } from "./traces.ts";

const instance = new TestInstance(`fault-kill-${process.pid}`);
const seed = Number(process.env["GANTRY_FAULT_SEED"] ?? 20_261_120);
const rounds = 20;
/** In the arguments of everything that containers of this test run. */
const mark = `36${process.pid}`;
let registry: ChildProcess | undefined;
let address: string;
/** The big image as an archive, and the file system of a container of it. */
const saved = join(instance.folder, "saved.tar");
const exported = join(instance.folder, "exported.tar");

/** Mulberry32: the same numbers for the same seed. */
function randomNumbers(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

before(async () => {
  instance.up();
  address = `127.0.0.1:${await freePort()}`;
  const folder = join(instance.folder, "registry");
  mkdirSync(folder);
  const file = join(folder, "config.yml");
  writeFileSync(
    file,
    JSON.stringify({
      version: 0.1,
      log: { level: "error" },
      storage: { filesystem: { rootdirectory: folder } },
      http: { addr: address },
    }),
  );
  registry = spawn("docker-registry", ["serve", file], { stdio: "ignore" });
  await eventually("the registry answers", () => spawnSync("curl", ["-sf", `http://${address}/v2/`]).status === 0);
  // Three layers, of which one takes some time.
  instance.docker("create", "--name", "base", "gantry/hello");
  for (let layer = 0; layer < 3; layer++) {
    const entries = Array.from({ length: layer === 1 ? 2000 : 50 }, (_, at) => ({
      name: `data-${layer}-${at}`,
      content: `${layer} ${at} `.repeat(500),
    }));
    spawnSync("docker", ["cp", "-", "base:/var"], { env: instance.env, input: tar(entries) });
    instance.docker("commit", "base", `${address}/big:1`);
    instance.docker("rm", "base");
    instance.docker("create", "--name", "base", `${address}/big:1`);
  }
  instance.docker("push", "-q", `${address}/big:1`);
  instance.docker("save", "-o", saved, `${address}/big:1`);
  instance.docker("export", "-o", exported, "base");
  instance.docker("rm", "base");
  instance.docker("rmi", `${address}/big:1`);
});
after(() => {
  registry?.kill("SIGKILL");
  instance.reset();
});

const words = (text: string): string[] => text.split("\n").filter((line) => line !== "");

/** What acknowledged work must have left: throws when it did not. */
interface Operation {
  name: string;
  prepare?: () => void;
  args: (name: string) => string[];
  acknowledged: (name: string) => void;
}

const statusOf = (name: string): string => instance.docker("inspect", "-f", "{{.State.Status}}", name).trim();
const sleeper = (name: string): string[] => ["--name", name, "-p", "127.0.0.1::80", "gantry/hello", "sleep", mark];

const operations: Operation[] = [
  {
    name: "create",
    args: (name) => ["create", ...sleeper(name)],
    acknowledged: (name) => assert.equal(statusOf(name), "created"),
  },
  {
    name: "run",
    args: (name) => ["run", "-d", ...sleeper(name)],
    acknowledged: (name) => assert.equal(statusOf(name), "running"),
  },
  {
    name: "start",
    prepare: () => instance.docker("create", ...sleeper("idle")),
    args: () => ["start", "idle"],
    acknowledged: () => assert.equal(statusOf("idle"), "running"),
  },
  {
    name: "stop",
    prepare: () => instance.docker("run", "-d", ...sleeper("busy")),
    args: () => ["stop", "-t", "1", "busy"],
    acknowledged: () => assert.equal(statusOf("busy"), "exited"),
  },
  {
    name: "rm",
    prepare: () => instance.docker("run", "-d", ...sleeper("doomed")),
    args: () => ["rm", "-f", "-v", "doomed"],
    acknowledged: () => assert.equal(instance.docker("ps", "-aq", "--filter", "name=doomed"), ""),
  },
  {
    name: "pull",
    args: () => ["pull", "-q", `${address}/big:1`],
    acknowledged: () => assert.notEqual(instance.docker("images", "-q", `${address}/big:1`), ""),
  },
  {
    name: "load",
    args: () => ["load", "-q", "-i", saved],
    acknowledged: () => assert.notEqual(instance.docker("images", "-q", `${address}/big:1`), ""),
  },
  {
    name: "import",
    args: () => ["import", exported, "imported:1"],
    acknowledged: () => assert.notEqual(instance.docker("images", "-q", "imported:1"), ""),
  },
  {
    name: "commit",
    prepare: () => {
      instance.docker("run", "-d", ...sleeper("changed"));
      instance.docker("exec", "changed", "sh", "-c", "dd if=/dev/zero of=/var/data bs=1M count=8 2>/dev/null");
    },
    args: () => ["commit", "changed", "committed:1"],
    acknowledged: () =>
      assert.equal(instance.docker("run", "--rm", "committed:1", "wc", "-c", "/var/data"), "8388608 /var/data\n"),
  },
  {
    name: "network create",
    args: (name) => ["network", "create", name],
    acknowledged: (name) => assert.equal(instance.docker("network", "inspect", "-f", "{{.Name}}", name).trim(), name),
  },
  {
    name: "network connect",
    prepare: () => {
      instance.docker("network", "create", "joined");
      instance.docker("run", "-d", ...sleeper("member"));
    },
    args: () => ["network", "connect", "joined", "member"],
    acknowledged: () =>
      assert.match(instance.docker("inspect", "-f", "{{json .NetworkSettings.Networks}}", "member"), /"joined"/),
  },
  {
    name: "run --rm",
    args: (name) => ["run", "--rm", "--name", name, "gantry/hello", "sleep", "0.2"],
    acknowledged: (name) => assert.equal(instance.docker("ps", "-aq", "--filter", `name=${name}`), ""),
  },
];

function sizeOf(folder: string): number {
  const { stdout } = spawnSync("du", ["-sb", "--apparent-size", folder], { encoding: "utf8" });
  return Number(stdout.split("\t")[0]);
}

/** `docker system df` against the files of the layers; folders have a size of their own for `du`. */
function assertSizesAgree(): void {
  const layers = join(instance.root, "engine/image/layers");
  const { stdout } = spawnSync("find", [layers, "-path", "*/diff/*", "-type", "f", "-links", "1", "-printf", "%s\n"], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  const found = words(stdout).reduce((total, size) => total + Number(size), 0);
  const told = spawnSync(
    "curl",
    ["-s", "--unix-socket", `/run/gantry/${instance.name}/docker.sock`, "http://d/system/df?type=image"],
    {
      encoding: "utf8",
    },
  );
  const { LayersSize } = JSON.parse(told.stdout) as { LayersSize: number };
  assert.ok(Math.abs(LayersSize - found) <= 0.05 * Math.max(found, 1), `df says ${LayersSize}, the disk ${found}`);
  assert.ok(sizeOf(layers) > 0);
}

test(`SIGKILL of the node process at ${rounds} random points leaves nothing half-made`, async (t) => {
  const random = randomNumbers(seed);
  t.diagnostic(`seed ${seed}`);
  instance.docker("run", "--rm", "gantry/hello", "true");
  const clean = await settledTraces(instance);
  for (let round = 0; round < rounds; round++) {
    const operation = operations[round % operations.length] as Operation;
    const name = `c${round}`;
    operation.prepare?.();
    const pid = instance.pid("node");
    const longest = { pull: 500, load: 400, import: 300, stop: 1_200, commit: 300 }[operation.name] ?? 250;
    const delay = Math.floor(random() * longest);
    const running = runLater("docker", operation.args(name), instance.env);
    await new Promise((resolve) => setTimeout(resolve, delay));
    process.kill(pid, "SIGKILL");
    const outcome = await running;
    instance.up();
    const where = `round ${round}, ${operation.name} after ${delay} ms, ${outcome.status === 0 ? "acknowledged" : "cut"}`;
    try {
      if (outcome.status === 0) operation.acknowledged(name);
      assert.deepEqual(readdirSync(join(instance.root, "engine/image/oci/ingest")), []);
      const all = words(instance.docker("ps", "-aq", "--no-trunc"));
      for (const id of all) {
        const state = statusOf(id);
        assert.match(state, /^(created|running|exited)$/);
        if (state !== "running") instance.docker("start", id);
        assert.equal(statusOf(id), "running");
      }
      if (all.length > 0) instance.docker("rm", "-f", "-v", ...all);
      instance.docker("network", "prune", "-f");
      for (const image of words(instance.docker("images", "--format", "{{.Repository}}:{{.Tag}}"))) {
        assert.equal(instance.docker("run", "--rm", image, "echo", "runs"), "runs\n");
        assertSizesAgree();
        if (image !== "gantry/hello:latest") instance.docker("rmi", image);
      }
      await assertAsBefore(instance, clean);
    } catch (error) {
      throw new Error(where, { cause: error });
    }
  }
});

test("reset after a SIGKILL of both processes with containers and pods leaves nothing", async () => {
  instance.docker("run", "-d", ...sleeper("left"));
  instance.docker(
    "run",
    "-d",
    "--name",
    "stubborn",
    "--restart",
    "always",
    "gantry/hello",
    "sh",
    "-c",
    `trap '' TERM; sleep ${mark}; sleep ${mark}`,
  );
  instance.kubectl("create", "deployment", "web", "--image=gantry/hello", "--replicas=2", "--", "sleep", mark);
  instance.kubectl("rollout", "status", "deployment/web", "--timeout=60s");
  const starting = runLater("docker", ["run", "-d", ...sleeper("starting")], instance.env);
  await new Promise((resolve) => setTimeout(resolve, 60));
  for (const name of ["node", "control"] as const) process.kill(instance.pid(name), "SIGKILL");
  await starting;
  resetLeavesNothing(instance, [`sleep ${mark}`]);
});

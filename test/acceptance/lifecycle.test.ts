import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestInstance, eventually, get, machineState } from "./instance.ts";

const instance = new TestInstance(`life-${process.pid}`);
let stateBefore: ReturnType<typeof machineState>;

before(() => {
  stateBefore = machineState();
});
after(() => instance.reset());

test("up starts everything with the sample, and a second up changes nothing", async () => {
  const first = instance.gantry("up", "--no-switch");
  assert.match(first, /API server .*m?s/);
  assert.match(first, /sample page\s+http:\/\/127\.0\.0\.1:\d+/);
  const address = /http:\/\/127\.0\.0\.1:\d+/.exec(first)?.[0] as string;
  assert.match(await get(address), /Hello from Gantry/);
  assert.match(instance.kubectl("get", "nodes"), / Ready /);
  const pids = [instance.pid("control"), instance.pid("node")];
  const second = instance.gantry("up", "--no-switch");
  assert.match(second, /is up already; nothing was changed/);
  assert.deepEqual([instance.pid("control"), instance.pid("node")], pids);
});

test("status names every process, address and node; env and kubeconfig are usable", () => {
  const status = JSON.parse(instance.gantry("status", "-o", "json")) as {
    state: string;
    processes: { name: string; pid: number }[];
    nodes: { ready: boolean }[];
    addresses: Record<string, string>;
  };
  assert.equal(status.state, "up");
  assert.deepEqual(status.processes.map(({ name }) => name).slice(0, 2), ["control", "node"]);
  assert.ok(status.processes.every(({ pid }) => existsSync(`/proc/${pid}`)));
  assert.deepEqual(
    status.nodes.map(({ ready }) => ready),
    [true],
  );
  assert.match(instance.gantry("env"), /^export DOCKER_HOST=unix:.*\nexport KUBECONFIG=/);
  assert.match(instance.gantry("kubeconfig"), /client-certificate-data/);
  assert.equal(statSync(instance.env["KUBECONFIG"] as string).mode & 0o777, 0o600);
  assert.match(instance.gantry("logs", "control", "-n", "5"), /"level":/);
});

test("down stops containers and keeps data; up brings the sample back", async () => {
  instance.docker("run", "-d", "--name", "kept", "--restart", "always", "gantry/hello");
  instance.gantry("down");
  assert.equal(machineState()["processes"]?.filter((line) => line.includes(instance.name)).length, 0);
  instance.up();
  assert.match(instance.docker("ps", "--format", "{{.Names}}"), /^kept$/m);
  // Once stopped, once started: nothing was started again in between.
  const restarts = (): string =>
    instance.kubectl(
      "get",
      "pods",
      "-l",
      "app=hello",
      "-o",
      "jsonpath={.items[*].status.containerStatuses[0].restartCount}",
    );
  await eventually("each pod has been restarted once", () => restarts() === "1 1");
  await eventually("the sample runs again", () =>
    /2\/2/.test(instance.kubectl("get", "deployment", "hello", "--no-headers")),
  );
});

test("a SIGKILL of both processes is survived: up brings everything back", async () => {
  for (const name of ["control", "node"] as const) process.kill(instance.pid(name), "SIGKILL");
  instance.up();
  assert.match(instance.docker("ps", "--format", "{{.Names}}"), /^kept$/m);
  await eventually("the sample runs", () =>
    /2\/2/.test(instance.kubectl("get", "deployment", "hello", "--no-headers")),
  );
});

test("an instance whose instance.json or pid files are lost is found by what runs", () => {
  const file = join(instance.root, "instance.json");
  const kept = readFileSync(file, "utf8");
  rmSync(file);
  const status = (...more: string[]): unknown =>
    (JSON.parse(instance.gantry("status", "-o", "json", ...more)) as { state: string }).state;
  assert.equal(status(), "up");
  assert.match(instance.gantry("up", "--no-switch"), /is up already/);
  assert.equal(readFileSync(file, "utf8"), kept, "up wrote it again");
  // What the next test removes is found without them.
  rmSync(file);
  rmSync(join("/run/gantry", instance.name, "node.pid"));
});

test("reset leaves the machine as it was", async () => {
  instance.gantry("reset", "--yes");
  await eventually("links are gone", () => JSON.stringify(machineState()) === JSON.stringify(stateBefore), 5_000).catch(
    () => {},
  );
  assert.deepEqual(machineState(), stateBefore);
  assert.equal(existsSync(instance.root), false);
  assert.match(instance.gantry("reset", "--yes"), /nothing was changed/);
});

import assert from "node:assert/strict";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestInstance, eventually, runLater } from "../acceptance/instance.ts";
import { sha256 } from "./tar.ts";
import { type Traces, assertAsBefore, isAlive, processesOf, resetLeavesNothing, settledTraces } from "./traces.ts";

const instance = new TestInstance(`fault-proc-${process.pid}`);
const mark = `37${process.pid}`;
let clean: Traces;

before(async () => {
  instance.up();
  instance.docker("run", "--rm", "gantry/hello", "true");
  clean = await settledTraces(instance);
});
after(() => instance.reset());

const inspect = (name: string, format: string): string => instance.docker("inspect", "-f", format, name).trim();

function monitorOf(id: string): number {
  const found = processesOf([`/run/gantry/${instance.name}`, instance.root]).find(
    (line) => /^\d+ \S*conmon /.test(line) && line.includes(id),
  );
  return Number(found?.split(" ")[0]);
}

test("a container whose conmon is killed ends with 137, and no process of it runs on", async () => {
  instance.docker("run", "-d", "--name", "orphan", "gantry/hello", "sleep", mark);
  const pid = inspect("orphan", "{{.State.Pid}}");
  process.kill(monitorOf(inspect("orphan", "{{.Id}}")), "SIGKILL");
  await eventually("it has ended", () => inspect("orphan", "{{.State.Status}}") === "exited", 10_000);
  assert.equal(inspect("orphan", "{{.State.ExitCode}}"), "137");
  assert.equal(isAlive(pid), false);
  instance.docker("start", "orphan");
  assert.equal(inspect("orphan", "{{.State.Status}}"), "running");
  instance.docker("rm", "-f", "orphan");
  await assertAsBefore(instance, clean);
});

test("the restart policy acts on a killed conmon", async () => {
  instance.docker("run", "-d", "--name", "again", "--restart", "on-failure:5", "gantry/hello", "sleep", mark);
  const pid = inspect("again", "{{.State.Pid}}");
  process.kill(monitorOf(inspect("again", "{{.Id}}")), "SIGKILL");
  await eventually(
    "it runs again",
    () => inspect("again", "{{.State.Status}} {{.RestartCount}}") === "running 1",
    10_000,
  );
  assert.notEqual(inspect("again", "{{.State.Pid}}"), pid);
  assert.equal(isAlive(pid), false);
  instance.docker("rm", "-f", "again");
  await assertAsBefore(instance, clean);
});

test("a conmon killed while the node process is down is seen at its start", async () => {
  instance.docker("run", "-d", "--name", "unseen", "gantry/hello", "sleep", mark);
  const pid = inspect("unseen", "{{.State.Pid}}");
  const monitor = monitorOf(inspect("unseen", "{{.Id}}"));
  process.kill(instance.pid("node"), "SIGKILL");
  process.kill(monitor, "SIGKILL");
  instance.up();
  await eventually("it has ended", () => inspect("unseen", "{{.State.Status}}") === "exited", 10_000);
  assert.equal(isAlive(pid), false);
  instance.docker("rm", "-f", "unseen");
  await assertAsBefore(instance, clean);
});

test("a pod whose conmon is killed is started again by the kubelet", async () => {
  instance.kubectl("run", "web", "--image=gantry/hello", "--", "sleep", mark);
  instance.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=30s");
  const id = instance.kubectl("get", "pod", "web", "-o", "jsonpath={.status.containerStatuses[0].containerID}");
  process.kill(monitorOf(id.replace(/^.*:\/\//, "")), "SIGKILL");
  await eventually(
    "it was started again",
    () =>
      instance.kubectl(
        "get",
        "pod",
        "web",
        "-o",
        "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}",
      ) === "1 true",
    30_000,
  );
  const code = instance.kubectl(
    "get",
    "pod",
    "web",
    "-o",
    "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}",
  );
  assert.equal(code, "137");
  instance.kubectl("delete", "pod", "web", "--now");
  await assertAsBefore(instance, clean);
});

test("crun killed in the middle of a start gives an error, leaves nothing running, and a new start works", async () => {
  let killed = 0;
  for (let round = 0; round < 8; round++) {
    const name = `torn-${round}`;
    let open = true;
    const done = runLater("docker", ["run", "-d", "--name", name, "gantry/hello", "sleep", mark], instance.env).finally(
      () => (open = false),
    );
    let hit = false;
    while (open && !hit) {
      for (const line of processesOf([`/run/gantry/${instance.name}`])) {
        if (!/^\d+ \S*crun /.test(line)) continue;
        try {
          process.kill(Number(line.split(" ")[0]), "SIGKILL");
          hit = true;
        } catch {
          continue;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const outcome = await done;
    if (hit) killed++;
    if (outcome.status !== 0) {
      assert.match(inspect(name, "{{.State.Status}}"), /^(created|exited)$/);
      instance.docker("start", name);
    }
    await eventually("it runs or has ended", () => /running|exited/.test(inspect(name, "{{.State.Status}}")), 5_000);
    instance.docker("rm", "-f", name);
  }
  assert.ok(killed > 0, "no crun was seen");
  await assertAsBefore(instance, clean);
});

test("a layer removed by hand while down is unpacked again from its archive", () => {
  instance.gantry("down");
  const layers = join(instance.root, "engine/image/layers");
  for (const name of readdirSync(layers)) if (name !== "l") rmSync(join(layers, name), { recursive: true });
  instance.up();
  assert.equal(instance.docker("run", "--rm", "gantry/hello", "echo", "whole"), "whole\n");
});

test("an image whose layer and archive are gone is not listed, its container says so, and a load brings both back", () => {
  instance.docker("run", "--name", "base", "gantry/hello", "sh", "-c", "echo kept > /var/note");
  instance.docker("commit", "base", "copy:1");
  instance.docker("rm", "base");
  instance.docker("create", "--name", "old", "copy:1", "cat", "/var/note");
  const archive = join(instance.folder, "copy.tar");
  instance.docker("save", "-o", archive, "copy:1");
  const image = JSON.parse(instance.docker("image", "inspect", "copy:1")) as [{ RootFS: { Layers: [string, string] } }];
  const [below, top] = image[0].RootFS.Layers;
  const chainId = sha256(`${below} ${top}`);
  instance.gantry("down");
  const folder = join(instance.root, "engine/image");
  rmSync(join(folder, "layers", chainId.slice(7)), { recursive: true });
  rmSync(join(folder, "oci/blobs/sha256", top.slice(7)));
  instance.up();
  assert.doesNotMatch(instance.docker("images"), /copy/);
  assert.match(instance.run("docker", ["run", "--pull=never", "copy:1"]).stderr, /No such image: copy:1/);
  assert.match(instance.run("docker", ["start", "-a", "old"]).stderr, /layer .* is missing/);
  instance.docker("load", "-i", archive);
  assert.equal(instance.docker("run", "--rm", "copy:1", "cat", "/var/note"), "kept\n");
  assert.equal(instance.docker("start", "-a", "old"), "kept\n");
  instance.docker("rm", "old");
  instance.docker("rmi", "copy:1");
});

test("reset after a killed conmon and a killed node process leaves nothing, nor of what was paused", async () => {
  instance.docker("run", "-d", "--name", "one", "--restart=always", "gantry/hello", "sleep", mark);
  instance.kubectl("run", "web", "--image=gantry/hello", "--", "sleep", mark);
  instance.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=30s");
  instance.docker("run", "-d", "--name", "paused", "gantry/hello", "sleep", mark);
  instance.docker("pause", "paused");
  const monitor = monitorOf(inspect("one", "{{.Id}}"));
  process.kill(instance.pid("node"), "SIGKILL");
  process.kill(monitor, "SIGKILL");
  resetLeavesNothing(instance, [`sleep ${mark}`]);
});

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TestInstance, eventually, runLater } from "./instance.ts";

const instance = new TestInstance(`crash-${process.pid}`);

before(() => instance.up());
after(() => instance.reset());

test("SIGKILL of the control process under writes loses nothing acknowledged, and pods keep running", async () => {
  instance.kubectl("create", "deployment", "web", "--image=gantry/hello", "--replicas=2");
  instance.kubectl("rollout", "status", "deployment/web", "--timeout=60s");
  const started = (): string =>
    instance.kubectl(
      "get",
      "pods",
      "-l",
      "app=web",
      "-o",
      "jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}\n{end}",
    );
  const podsBefore = started();
  const acknowledged: string[] = [];
  let running = true;
  let number = 0;
  const writers = Array.from({ length: 4 }, async () => {
    while (running) {
      const name = `cm-${number++}`;
      const { status } = await runLater("kubectl", ["create", "configmap", name, "--from-literal=a=b"], instance.env);
      if (status === 0) acknowledged.push(name);
    }
  });
  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    process.kill(instance.pid("control"), "SIGKILL");
    instance.up();
  }
  running = false;
  await Promise.all(writers);
  assert.ok(acknowledged.length > 10, `only ${acknowledged.length} writes were acknowledged`);
  const there = new Set(
    instance
      .kubectl("get", "configmaps", "-o", "name")
      .trim()
      .split("\n")
      .map((name) => name.replace("configmap/", "")),
  );
  assert.deepEqual(
    acknowledged.filter((name) => !there.has(name)),
    [],
  );
  assert.equal(started(), podsBefore);
});

test("watches resume: what changes after a crash still reaches controllers, node and proxy", async () => {
  process.kill(instance.pid("control"), "SIGKILL");
  instance.up();
  instance.kubectl("scale", "deployment/web", "--replicas=3");
  await eventually("the third pod runs", () =>
    /3\/3/.test(instance.kubectl("get", "deployment", "web", "--no-headers")),
  );
});

test("SIGKILL of the node process changes nothing for pods; what ended meanwhile is seen", async () => {
  const ids = (): string =>
    instance.kubectl(
      "get",
      "pods",
      "-l",
      "app=web",
      "-o",
      "jsonpath={.items[*].status.containerStatuses[0].containerID}",
    );
  const before_ = ids();
  instance.docker("run", "-d", "--name", "short", "gantry/hello", "sh", "-c", "sleep 1; exit 42");
  process.kill(instance.pid("node"), "SIGKILL");
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  instance.up();
  assert.equal(instance.docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "short"), "exited 42\n");
  await eventually(
    "the node is ready and pods are the same",
    () => ids() === before_ && / Ready /.test(instance.kubectl("get", "nodes")),
  );
});

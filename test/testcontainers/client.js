// What people do with testcontainers, against the engine that DOCKER_HOST names. Run by run.ts, which installs it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { GenericContainer, Network, Wait } from "testcontainers";

const image = "gantry/hello";

async function fetchText(container, path = "/") {
  const answer = await fetch(`http://${container.getHost()}:${container.getMappedPort(80)}${path}`);
  return answer.text();
}

test("a container that is ready when its port answers is reached by its mapped port, and is gone after stop", async () => {
  const container = await new GenericContainer(image).withExposedPorts(80).start();
  assert.match(await fetchText(container), /Hello from Gantry/);
  const url = `http://${container.getHost()}:${container.getMappedPort(80)}/`;
  await container.stop();
  await assert.rejects(fetch(url));
});

test("wait strategies: a log line, an HTTP answer, a health check, the end of a one-shot command", async () => {
  const script = ["sh", "-c", "sleep 0.3; echo is ready; exec /bin/serve"];
  const strategies = [
    (made) => made.withWaitStrategy(Wait.forLogMessage(/is ready/)),
    (made) => made.withWaitStrategy(Wait.forHttp("/", 80)),
    (made) =>
      made
        .withHealthCheck({ test: ["CMD-SHELL", "wget -qO- 127.0.0.1:80"], interval: 200, timeout: 1000, retries: 20 })
        .withWaitStrategy(Wait.forHealthCheck()),
  ];
  for (const strategy of strategies) {
    const container = await strategy(new GenericContainer(image).withExposedPorts(80).withCommand(script)).start();
    assert.match(await fetchText(container), /Hello from Gantry/);
    await container.stop();
  }
  const once = await new GenericContainer(image)
    .withCommand(["sh", "-c", "exit 0"])
    .withWaitStrategy(Wait.forOneShotStartup())
    .start();
  await once.stop();
});

test("a one-shot container that fails is told of at once", async () => {
  const failing = new GenericContainer(image)
    .withCommand(["sh", "-c", "exit 3"])
    .withWaitStrategy(Wait.forOneShotStartup())
    .withStartupTimeout(5_000);
  await assert.rejects(failing.start(), /Container failed to start/);
});

test("environment, files copied in and out, exec with its output and code, logs", async () => {
  const container = await new GenericContainer(image)
    .withExposedPorts(80)
    .withEnvironment({ GREETING: "hi" })
    .withCopyContentToContainer([{ content: "from outside", target: "/copied/file", mode: 0o600 }])
    .start();
  const { output, exitCode } = await container.exec(["sh", "-c", "cat /copied/file; echo $GREETING; exit 5"]);
  assert.deepEqual([output, exitCode], ["from outsidehi\n", 5]);
  await container.copyContentToContainer([{ content: "later", target: "/later" }]);
  assert.equal((await container.exec(["cat", "/later"])).output, "later");
  const archive = await container.copyArchiveFromContainer("/copied/file");
  const chunks = await Array.fromAsync(archive);
  assert.ok(Buffer.concat(chunks).includes("from outside"));
  await container.restart();
  assert.match(await fetchText(container), /Hello from Gantry/);
  await container.stop();
});

test("containers of a network find each other by alias", async () => {
  const network = await new Network().start();
  const web = await new GenericContainer(image)
    .withNetwork(network)
    .withNetworkAliases("web")
    .withExposedPorts(80)
    .start();
  const client = await new GenericContainer(image).withNetwork(network).withExposedPorts(80).start();
  assert.match((await client.exec(["wget", "-qO-", "http://web/"])).output, /Hello from Gantry/);
  await Promise.all([web.stop(), client.stop()]);
  await network.stop();
});

test("a reusable container is found again", async () => {
  const make = () => new GenericContainer(image).withExposedPorts(80).withReuse().start();
  const first = await make();
  const second = await make();
  assert.equal(first.getId(), second.getId());
  await second.stop();
});

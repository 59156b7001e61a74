/** The node process is killed, replaced or stopped under running containers and their clients: what both see. */
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestInstance, eventually } from "../acceptance/instance.ts";
import { configOf, isAlive, type Traces, assertAsBefore, settledTraces } from "./traces.ts";

const instance = new TestInstance(`fault-live-${process.pid}`);
const mark = `38${process.pid}`;
let clean: Traces;

before(async () => {
  instance.up();
  instance.docker("run", "--rm", "gantry/hello", "true");
  clean = await settledTraces(instance);
});
after(() => instance.reset());

const inspect = (name: string, format: string): string => instance.docker("inspect", "-f", format, name).trim();
const run = (name: string, ...args: string[]): string => instance.docker("run", "-d", "--name", name, ...args).trim();

/** Ends the node process at once and waits until it is gone. */
async function killNode(): Promise<void> {
  const pid = instance.pid("node");
  process.kill(pid, "SIGKILL");
  await eventually("the node process is gone", () => !isAlive(String(pid)));
}

test("clients are cut off by a SIGKILL and find streams, logs and the end again", async () => {
  const script = "i=0; while read line; do echo got $line; done; exit 5";
  run("talk", "-i", "gantry/hello", "sh", "-c", script);
  const [attached, following, waiting] = [
    ["attach", "talk"],
    ["logs", "-f", "talk"],
    ["wait", "talk"],
  ].map((args) => instance.start("docker", args)) as [
    ReturnType<typeof instance.start>,
    ReturnType<typeof instance.start>,
    ReturnType<typeof instance.start>,
  ];
  await eventually("the client is attached", () => {
    attached.write("one\n");
    return following.output().includes("got one");
  });
  const exec = instance.start("docker", ["exec", "talk", "sh", "-c", `sleep 2; echo done > /tmp/exec-${mark}`]);
  await eventually("the exec runs", () => instance.docker("top", "talk").includes("sleep 2"));
  await killNode();
  for (const client of [attached, following, waiting, exec]) assert.notEqual(await client.exited, 0);
  instance.up();
  const again = instance.start("docker", ["attach", "talk"]);
  const log = instance.start("docker", ["logs", "-f", "talk"]);
  const end = instance.start("docker", ["wait", "talk"]);
  await eventually("the stream is there again", () => {
    again.write("two\n");
    return again.output().includes("got two");
  });
  assert.match(log.output(), /got one\n[^]*got two/, "the log has what was said before");
  await eventually("the exec went on to its end", () =>
    instance.docker("exec", "talk", "cat", `/tmp/exec-${mark}`).startsWith("done"),
  );
  instance.docker("kill", "talk");
  assert.equal(await end.exited, 0);
  assert.equal(end.output(), "137\n");
  await Promise.all([again.exited, log.exited]);
  instance.docker("rm", "talk");
  await assertAsBefore(instance, clean);
});

test("ends, restarts, limits and health that nobody saw are as if somebody had", async () => {
  run("ends", "gantry/hello", "sh", "-c", "sleep 1; date +%s > /tmp/end; exit 7");
  run("goes", "--rm", "gantry/hello", "sleep", "1");
  run("counts", "--restart", "on-failure:3", "gantry/hello", "sh", "-c", "sleep 1; exit 4");
  run("stays", "--restart", "unless-stopped", "gantry/hello", "sleep", mark);
  run("stopped", "--restart", "unless-stopped", "gantry/hello", "sleep", mark);
  instance.docker("stop", "-t", "0", "stopped");
  run(
    "starved",
    "-m",
    "16m",
    "--memory-swap",
    "16m",
    "gantry/hello",
    "sh",
    "-c",
    "sleep 1; head -c 100m /dev/zero | tail",
  );
  run(
    "sick",
    "--health-cmd",
    "test -f /tmp/well",
    "--health-interval",
    "300ms",
    "--health-retries",
    "1000",
    "gantry/hello",
    "sleep",
    mark,
  );
  await eventually("the check has failed", () => Number(inspect("sick", "{{.State.Health.FailingStreak}}")) > 0);
  const startedAt = inspect("ends", "{{.State.StartedAt}}");
  const pid = inspect("stays", "{{.State.Pid}}");
  const streak = Number(inspect("sick", "{{.State.Health.FailingStreak}}"));
  await killNode();
  const downAt = Date.now();
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  instance.up();
  assert.equal(inspect("ends", "{{.State.Status}} {{.State.ExitCode}}"), "exited 7");
  assert.equal(inspect("ends", "{{.State.StartedAt}}"), startedAt);
  const lasted = Date.parse(inspect("ends", "{{.State.FinishedAt}}")) - Date.parse(startedAt);
  assert.ok(lasted >= 900 && Date.parse(startedAt) + lasted < downAt + 1_900, `it lasted ${lasted} ms`);
  assert.equal(instance.docker("ps", "-aq", "--filter", "name=goes"), "");
  assert.equal(inspect("stays", "{{.State.Status}} {{.State.Pid}} {{.RestartCount}}"), `running ${pid} 0`);
  assert.equal(inspect("stopped", "{{.State.Status}}"), "exited");
  assert.equal(inspect("starved", "{{.State.OOMKilled}}"), "true");
  assert.ok(Number(inspect("sick", "{{.State.Health.FailingStreak}}")) >= streak, "what was known is kept");
  instance.docker("exec", "sick", "touch", "/tmp/well");
  await eventually("it is healthy", () => inspect("sick", "{{.State.Health.Status}}") === "healthy");
  await eventually("the policy has given up", () => inspect("counts", "{{.State.Status}}") === "exited");
  assert.equal(inspect("counts", "{{.RestartCount}} {{.State.ExitCode}}"), "3 4");
  instance.docker("rm", "-f", "ends", "counts", "stays", "stopped", "starved", "sick");
  await assertAsBefore(instance, clean);
});

test("ends under a stopped node process are told when it goes on", async () => {
  run("short", "gantry/hello", "sh", "-c", "sleep 0.5; exit 3");
  run("gone", "--rm", "gantry/hello", "sleep", "0.5");
  run("back", "--restart", "always", "gantry/hello", "sh", "-c", "sleep 0.5; exit 1");
  const pid = instance.pid("node");
  process.kill(pid, "SIGSTOP");
  const stoppedAt = Date.now();
  try {
    await new Promise((resolve) => setTimeout(resolve, 2_000));
  } finally {
    process.kill(pid, "SIGCONT");
  }
  await eventually("the end is told", () => inspect("short", "{{.State.Status}} {{.State.ExitCode}}") === "exited 3");
  assert.ok(Date.parse(inspect("short", "{{.State.FinishedAt}}")) < stoppedAt + 1_500, "with its own time");
  await eventually("the other is gone", () => instance.docker("ps", "-aq", "--filter", "name=gone") === "");
  await eventually("the third was started again", () => Number(inspect("back", "{{.RestartCount}}")) > 0);
  instance.docker("rm", "-f", "short", "back");
  await assertAsBefore(instance, clean);
});

test("a node process that takes the place of another takes over containers, their ports and networks", async () => {
  instance.docker("network", "create", "lane");
  run("web", "--network", "lane", "-p", "127.0.0.1::80", "gantry/hello");
  const [port, address, pid] = [
    instance.docker("port", "web", "80").trim(),
    inspect("web", "{{.NetworkSettings.Networks.lane.IPAddress}}"),
    inspect("web", "{{.State.Pid}}"),
  ];
  const page = (): string => instance.ok("curl", ["-s", "-m", "3", `http://${port}/`]);
  assert.match(page(), /Hello from Gantry/);
  instance.gantry("down", "--keep-containers");
  assert.match(page(), /Hello from Gantry/, "also while nobody is there");
  instance.up();
  assert.equal(instance.docker("port", "web", "80").trim(), port);
  assert.equal(inspect("web", "{{.NetworkSettings.Networks.lane.IPAddress}} {{.State.Pid}}"), `${address} ${pid}`);
  assert.match(page(), /Hello from Gantry/);
  const found = instance.docker("run", "--rm", "--network", "lane", "gantry/hello", "wget", "-qO-", "http://web/");
  assert.match(found, /Hello from Gantry/);
  const config = join(instance.root, "instance.json");
  const kept = readFileSync(config, "utf8");
  rmSync(config);
  await killNode();
  instance.up();
  assert.equal(readFileSync(config, "utf8"), kept);
  writeFileSync(config, kept);
  assert.match(page(), /Hello from Gantry/);
  assert.match(instance.ok("nft", ["list", "table", "inet", configOf(instance).nftTable]), /dnat/);
  instance.docker("rm", "-f", "web");
  instance.docker("network", "rm", "lane");
  await assertAsBefore(instance, clean);
});

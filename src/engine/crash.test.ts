import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { listMounts } from "#host/mount.ts";
import { collect, eventually, leftovers, newPlace, removeAll, startEngine } from "./test-engine.ts";

const place = newPlace(13);

after(async () => {
  await removeAll(place);
  assert.deepEqual(leftovers(place), []);
});

const listFolder = (path: string): string[] => (existsSync(path) ? readdirSync(path) : []);

/** Runs an engine at work in a process of its own and kills that after `ms`; returns what it had said by then. */
async function workUntilKilled(ms: number): Promise<Map<string, string>> {
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, "crash-child.ts"), place.base, String(place.index)],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const said = new Map<string, string>();
  let text = "";
  const ready = Promise.withResolvers<void>();
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
    if (text.includes("ready")) ready.resolve();
  });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  await Promise.race([ready.promise, exited]);
  await new Promise((resolve) => setTimeout(resolve, ms));
  child.kill("SIGKILL");
  await exited;
  for (const line of text.split("\n")) {
    const [word, name] = line.split(" ");
    if (word !== undefined && name) said.set(name, word);
  }
  return said;
}

test("killed at any point, the engine finds what it had acknowledged, and removes what was half-made", async () => {
  for (const ms of [0, 7, 31, 64, 95, 140, 220, 333]) {
    const said = await workUntilKilled(ms);
    const running = await startEngine(place);
    const { engine, root, runDir } = running;
    const listed = new Map(
      (await engine.containers.list({ all: true })).map((summary) => [summary.Names[0]?.slice(1) as string, summary]),
    );
    for (const [name, word] of said) {
      const state = listed.get(name)?.State;
      if (word === "created") assert.ok(state !== undefined, `${name} was created`);
      if (word === "started") assert.equal(state, "running", `${name} was started, killed after ${ms} ms`);
      if (word === "pod") {
        assert.equal((await engine.pods.podSandboxStatus(name)).state, "ready");
        const inside = (await engine.pods.listContainers()).filter((container) => container.sandboxId === name);
        assert.deepEqual(
          inside.map((container) => container.state),
          ["running"],
        );
      }
      if (word === "gone") await assert.rejects(engine.pods.podSandboxStatus(name), { code: "not-found" });
      if (word === "removed") assert.equal(state, undefined, `${name} was removed`);
    }
    const alive = [...listed.values()].filter(({ State }) => State === "running");
    for (const { Id } of alive) {
      const exec = await engine.containers.execCreate(Id, { Cmd: ["cat", "/etc/passwd"], AttachStdout: true });
      const session = await engine.containers.execStart(exec, { detach: false });
      assert.ok(session);
      assert.match((await collect(session)).stdout, /^root:/, `${ms} ms`);
    }
    const sandboxes = await engine.pods.listPodSandboxes();
    const ready = sandboxes.filter(({ state }) => state === "ready").map(({ id }) => id);
    assert.deepEqual(new Set(listFolder(join(runDir, "sandboxes"))), new Set(ready));
    for (const { id } of sandboxes) await engine.pods.removePodSandbox(id);
    assert.deepEqual(await engine.pods.listContainers(), []);
    const ids = new Set([...listed.values()].map(({ Id }) => Id));
    assert.deepEqual(new Set(readdirSync(join(root, "containers"))), ids);
    assert.deepEqual(new Set(readdirSync(join(root, "images/snapshots"))), ids);
    const runningIds = new Set(alive.map(({ Id }) => Id));
    assert.deepEqual(new Set(readdirSync(join(runDir, "netns"))), runningIds);
    const merged = new Set(
      listMounts()
        .map(({ target }) => target)
        .filter((target) => target.startsWith(root) && target.endsWith("/merged")),
    );
    assert.equal(merged.size, runningIds.size);
    const usedVolumes = new Set(
      (await Promise.all([...ids].map((id) => engine.containers.inspect(id)))).flatMap(({ Mounts }) =>
        Mounts.map((mount) => mount.Name),
      ),
    );
    assert.deepEqual(
      new Set((await engine.volumes.list()).Volumes.map(({ Name }) => Name)),
      usedVolumes,
      `volumes after ${ms} ms`,
    );
    for (const id of ids) await engine.containers.remove(id, { force: true, volumes: true });
    await running.stop();
  }
});

test("exits, restarts and --rm are seen to although nobody looked; edited ports are in force", async () => {
  let running = await startEngine(place);
  let { engine } = running;
  const start = async (name: string, body: Parameters<typeof engine.containers.create>[1]): Promise<string> => {
    const { Id } = await engine.containers.create(name, { Image: "gantry/hello", StopSignal: "SIGKILL", ...body });
    await engine.containers.start(Id);
    return Id;
  };
  const ends = await start("ends", { Cmd: ["sh", "-c", "sleep 0.3; echo bye; exit 9"] });
  const goes = await start("goes", { Cmd: ["sleep", "0.3"], HostConfig: { AutoRemove: true } });
  const again = await start("again", {
    Cmd: ["sh", "-c", "test -f /second && exec sleep 1000; touch /second; sleep 0.3; exit 1"],
    HostConfig: { RestartPolicy: { Name: "on-failure" } },
  });
  const web = await start("web", {
    HostConfig: { PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "18471" }] } },
  });
  const { Pid } = (await engine.containers.inspect(web)).State;
  await running.stop();
  const endedAt = Date.now() + 300;
  await new Promise((resolve) => setTimeout(resolve, 600));
  const path = join(running.root, "containers", web, "hostconfig.json");
  writeFileSync(path, readFileSync(path, "utf8").replace("18471", "18472"));
  running = await startEngine(place);
  engine = running.engine;
  const { State } = await engine.containers.inspect(ends);
  assert.deepEqual([State.Status, State.ExitCode], ["exited", 9]);
  assert.ok(Math.abs(Date.parse(State.FinishedAt) - endedAt) < 400, State.FinishedAt);
  const { entries } = await engine.containers.logs(ends, { stdout: true, stderr: true });
  assert.equal(Buffer.from((await Array.fromAsync(entries)).flat()[0]?.data ?? []).toString(), "bye\n");
  await assert.rejects(engine.containers.inspect(goes), { code: "not-found" });
  await eventually(async () => (await engine.containers.inspect(again)).State.Status === "running", "the restart");
  const after = await engine.containers.inspect(web);
  assert.equal(after.State.Pid, Pid);
  assert.deepEqual(after.NetworkSettings.Ports["80/tcp"], [{ HostIp: "127.0.0.1", HostPort: "18472" }]);
  assert.match(await (await fetch("http://127.0.0.1:18472/")).text(), /Hello from Gantry/);
  await assert.rejects(fetch("http://127.0.0.1:18471/"));
  for (const id of [ends, again, web]) await engine.containers.remove(id, { force: true });
  await running.stop();
});

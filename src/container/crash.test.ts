import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { newContainerId } from "#base/ids.ts";
import { silentLogger } from "#base/log.ts";
import { removeCgroup } from "#host/cgroup.ts";
import { unmount } from "#host/mount.ts";
import { ContainerRuntime } from "./container-runtime.ts";
import { RuntimeNamespace } from "./runtime-namespace.ts";
import { makeRootfs } from "./test-plan.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-crash-"));
const runDir = join(folder, "run");
const options = { runDir, sharedRoots: [folder] };

after(async () => {
  const runtime = new ContainerRuntime(options, { log: silentLogger });
  await runtime.initialise();
  for (const id of await runtime.list()) await runtime.delete(id);
  runtime.stop();
  new RuntimeNamespace(runDir, [folder]).remove();
  unmount(folder);
  removeCgroup("gantry-t1-crash");
  rmSync(folder, { recursive: true });
});

test("containers outlive a daemon that is killed, with streams, logs, exits and signals", async () => {
  const rootfs = makeRootfs(folder);
  const ids = [newContainerId(), newContainerId(), newContainerId()] as const;
  const [living, , waiting] = ids;
  const path = join(folder, "log");
  const daemon = spawn(process.execPath, [join(import.meta.dirname, "crash-parent.ts"), folder, rootfs, path, ...ids], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [chunk] = (await new Promise<Buffer[]>((resolve) =>
    daemon.stdout.once("data", (data: Buffer) => resolve([data])),
  )) as [Buffer];
  const { exec } = JSON.parse(chunk.toString()) as { exec: number };
  const gone = new Promise((resolve) => daemon.once("exit", resolve));
  daemon.kill("SIGKILL");
  await gone;
  const killedAt = Date.now();
  await new Promise((resolve) => setTimeout(resolve, 800));

  const runtime = new ContainerRuntime(options, { log: silentLogger });
  await runtime.initialise();
  assert.deepEqual(new Set(await runtime.list()), new Set(ids));
  const states = await Promise.all(ids.map((id) => runtime.state(id)));
  assert.deepEqual(
    states.map((state) => state.state),
    ["running", "exited", "created"],
  );
  const exit = states[1] as { exit: { exitCode: number; finishedAt: number } };
  assert.equal(exit.exit.exitCode, 7);
  assert.ok(exit.exit.finishedAt >= killedAt - 1000 && exit.exit.finishedAt <= Date.now() - 200, "its time, not ours");
  assert.ok(existsSync(`/proc/${exec}`), "an exec goes on, too");

  const streams = await runtime.attach(living);
  const output = (async () => {
    let text = "";
    for await (const { data } of streams.output) text += Buffer.from(data).toString();
    return text;
  })();
  await streams.write(Buffer.from("word\n"));
  await new Promise((resolve) => setTimeout(resolve, 100));
  await runtime.start(waiting);
  assert.equal((await runtime.exited(waiting)).exitCode, 0, "one that was only created starts");
  assert.equal(await runtime.kill(living, 15), true);
  await runtime.kill(living, 9);
  assert.equal((await runtime.exited(living)).exitCode, 137);
  assert.equal(await output, "got word\n");
  let logged = "";
  for await (const lines of runtime.readLog(
    { format: "json-file", path, maxSize: 0, maxFiles: 1, compress: false },
    { follow: false, ended: () => true },
  ))
    for (const { data } of lines) logged += Buffer.from(data).toString();
  assert.equal(logged, "got word\n");
  assert.equal(await runtime.kill(living, 9), false);
  for (const id of ids) await runtime.delete(id);
  assert.deepEqual(await runtime.list(), []);
  assert.equal(existsSync(`/proc/${exec}`), false);
  runtime.stop();
});

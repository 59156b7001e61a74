import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { get } from "node:http";
import { after, before, test } from "node:test";
import { encodeEntry, endOfArchive } from "#image/tar-writer.ts";
import type { EventMessage } from "#api/docker/object-types.ts";
import type { Engine } from "./engine.ts";
import {
  collect,
  eventually,
  leftovers,
  newPlace,
  removeAll,
  runContainer,
  startEngine,
  type TestEngine,
} from "./test-engine.ts";

const place = newPlace();
let running: TestEngine;
let engine: Engine;
const image = "gantry/hello";

before(async () => {
  running = await startEngine(place);
  engine = running.engine;
});

after(async () => {
  await running.stop();
  await removeAll(place);
  assert.deepEqual(leftovers(place), []);
});

const forget = (id: string): Promise<void> => engine.containers.remove(id, { force: true, volumes: true });

async function sleeper(name?: string, more: Parameters<Engine["containers"]["create"]>[1] = {}): Promise<string> {
  const { Id } = await engine.containers.create(name, {
    Image: image,
    Cmd: ["sleep", "1000"],
    StopSignal: "SIGKILL",
    ...more,
  });
  await engine.containers.start(Id);
  return Id;
}

async function exec(id: string, ...Cmd: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const execId = await engine.containers.execCreate(id, { Cmd, AttachStdout: true, AttachStderr: true });
  const session = await engine.containers.execStart(execId, { detach: false });
  assert.ok(session);
  const output = await collect(session);
  return { code: (await engine.containers.execInspect(execId)).ExitCode, ...output };
}

async function fetchText(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, timeout: 3000 }, (response) => {
      let text = "";
      response.on("data", (chunk) => (text += chunk));
      response.on("end", () => resolve(text));
    }).on("error", reject);
  });
}

test("a container says what its command says, and is gone after its end with --rm", async () => {
  const result = await runContainer(engine, {
    Cmd: ["sh", "-c", "echo hi; echo no >&2; exit 3"],
    HostConfig: { AutoRemove: true },
  });
  assert.deepEqual([result.stdout, result.stderr, result.code], ["hi\n", "no\n", 3]);
  await assert.rejects(engine.containers.inspect(result.id), { message: `No such container: ${result.id}` });
});

test("a container runs with its environment, folder, user, host name and files", async () => {
  const result = await runContainer(engine, {
    Cmd: [
      "sh",
      "-c",
      "pwd; id -u; hostname; echo $A; cat /etc/hosts | tail -1; grep -c nameserver /etc/resolv.conf; echo $HOME",
    ],
    WorkingDir: "/new/folder",
    User: "nobody",
    Hostname: "box",
    Env: ["A=b c"],
  });
  const lines = result.stdout.trim().split("\n");
  assert.deepEqual(lines.slice(0, 4), ["/new/folder", "65534", "box", "b c"]);
  assert.match(lines[4] as string, /^10\.212\.\d+\.\d+\tbox$/);
  assert.equal(lines[6], "/");
  await forget(result.id);
});

test("stdin reaches a container, and its end too", async () => {
  const { Id } = await engine.containers.create(undefined, {
    Image: image,
    Cmd: ["cat"],
    OpenStdin: true,
    StdinOnce: true,
  });
  const session = await engine.containers.attach(Id, {
    stdin: true,
    stdout: true,
    stderr: true,
    stream: true,
    logs: false,
  });
  const { result } = await engine.containers.wait(Id, "next-exit", new AbortController().signal);
  const output = collect(session);
  await session.write(Buffer.from("one\n"));
  await engine.containers.start(Id);
  await session.write(Buffer.from("two\n"));
  session.closeStdin();
  assert.equal((await output).stdout, "one\ntwo\n");
  assert.equal((await result).StatusCode, 0);
  await forget(Id);
});

test("logs are there after the end, by stream, by tail, and followed to the end", async () => {
  const result = await runContainer(engine, { Cmd: ["sh", "-c", "for i in 1 2 3; do echo out$i; done; echo err >&2"] });
  const read = async (options: Parameters<Engine["containers"]["logs"]>[1]): Promise<string> => {
    const { entries } = await engine.containers.logs(result.id, options);
    let text = "";
    for await (const some of entries) for (const { data } of some) text += Buffer.from(data).toString();
    return text;
  };
  assert.equal(await read({ stdout: true, stderr: false }), "out1\nout2\nout3\n");
  assert.equal(await read({ stdout: false, stderr: true, follow: true }), "err\n");
  assert.equal((await read({ stdout: true, stderr: true, tail: 1 })).trim().split("\n").length, 1);
  await forget(result.id);
});

test("exec runs a command in a running container, and tells its exit code", async () => {
  const id = await sleeper();
  assert.deepEqual(await exec(id, "sh", "-c", "echo in; exit 4"), { code: 4, stdout: "in\n", stderr: "" });
  await assert.rejects(exec(id, "nothing-here"), /exec: "nothing-here": executable file not found in \$PATH/);
  await forget(id);
  await assert.rejects(engine.containers.execCreate(id, { Cmd: ["true"] }), { code: "not-found" });
});

test("a program that is not there: docker's sentence and exit code 127", async () => {
  const { Id } = await engine.containers.create(undefined, { Image: image, Cmd: ["nothing-here"] });
  await assert.rejects(engine.containers.start(Id), /exec: "nothing-here": executable file not found in \$PATH/);
  const { State } = await engine.containers.inspect(Id);
  assert.equal(State.ExitCode, 127);
  assert.equal(State.Running, false);
  await forget(Id);
});

test("names: taken, wrong, changed; ids by prefix", async () => {
  const id = await sleeper("web");
  await assert.rejects(engine.containers.create("web", { Image: image }), {
    code: "conflict",
    message: `Conflict. The container name "/web" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`,
  });
  await assert.rejects(engine.containers.create("a b", { Image: image }), {
    message: "Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
  });
  await engine.containers.rename("web", "other");
  assert.equal((await engine.containers.inspect(id.slice(0, 10))).Name, "/other");
  await assert.rejects(engine.containers.remove("other"), {
    message:
      'cannot remove container "other": container is running: stop the container before removing or force remove',
  });
  await forget("other");
  await assert.rejects(engine.containers.start("other"), { message: "No such container: other" });
});

test("bad requests are refused in docker's words and leave nothing", async () => {
  const count = (await engine.containers.list({ all: true })).length;
  const refused = async (
    body: Parameters<Engine["containers"]["create"]>[1],
    message: string | RegExp,
  ): Promise<void> => assert.rejects(engine.containers.create(undefined, { Image: image, ...body }), { message });
  await refused({ HostConfig: { Memory: 1000 } }, "Minimum memory limit allowed is 6MB");
  await refused({ Image: "nothing:here" }, "No such image: nothing:here");
  await refused({ HostConfig: { Binds: ["relative/path:/x"] } }, /includes invalid characters for a local volume name/);
  await refused(
    { HostConfig: { Mounts: [{ Type: "bind", Source: "/not/there", Target: "/x" }] } },
    'invalid mount config for type "bind": bind source path does not exist: /not/there',
  );
  await refused(
    { HostConfig: { AutoRemove: true, RestartPolicy: { Name: "always" } } },
    "can't create 'AutoRemove' container with restart policy",
  );
  await refused({ WorkingDir: "x" }, "the working directory 'x' is invalid, it needs to be an absolute path");
  await refused({ HostConfig: { CapAdd: ["NOPE"] } }, 'invalid CapAdd: unknown capability: "CAP_NOPE"');
  await refused({ HostConfig: { Binds: ["/a:/x", "/b:/x"] } }, "Duplicate mount point: /x");
  await refused({ HostConfig: { VolumesFrom: ["nobody"] } }, "No such container: nobody");
  assert.equal((await engine.containers.list({ all: true })).length, count);
});

test("a published port answers on this machine, and goes with the container", async (t) => {
  const { Id } = await engine.containers.create(undefined, {
    Image: image,
    HostConfig: { PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }] } },
  });
  t.after(() => forget(Id).catch(() => {}));
  await engine.containers.start(Id);
  const portNow = async (): Promise<number> =>
    Number((await engine.containers.inspect(Id)).NetworkSettings.Ports["80/tcp"]?.[0]?.HostPort);
  const port = await portNow();
  await eventually(async () => (await fetchText(port).catch(() => "")).includes("Hello from Gantry"), "the page");
  // The first of these that no other program of this machine has.
  await engine.containers.update(Id, {
    PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "18500-18599" }] },
  });
  const next = await portNow();
  assert.ok(next >= 18500 && next <= 18599, String(next));
  assert.match(await fetchText(next), /Hello from Gantry/);
  await assert.rejects(fetchText(port));
  await forget(Id);
  await assert.rejects(fetchText(next));
});

test("containers find each other by name and alias on a network of their own", async () => {
  await engine.networks.create({ Name: "team" });
  const server = await sleeper("server", {
    HostConfig: { NetworkMode: "team" },
    NetworkingConfig: { EndpointsConfig: { team: { Aliases: ["api"] } } },
  });
  const result = await runContainer(engine, {
    Cmd: ["sh", "-c", "ping -c1 server | head -1; ping -c1 api | head -1"],
    HostConfig: { NetworkMode: "team" },
  });
  const { IPAddress } = (await engine.containers.inspect(server)).NetworkSettings.Networks["team"] ?? {};
  assert.ok(IPAddress);
  assert.equal(
    result.stdout.split("\n").filter((line) => line.includes(`(${IPAddress})`)).length,
    2,
    result.stdout + result.stderr,
  );
  const other = await sleeper("late");
  await engine.networks.connect("team", other);
  assert.equal((await exec(other, "ping", "-c1", "server")).code, 0);
  await engine.networks.disconnect("team", other);
  assert.notEqual((await exec(other, "ping", "-c1", "-W1", "server")).code, 0);
  for (const id of [server, result.id, other]) await forget(id);
  await engine.networks.remove("team");
});

test("network none has only a loopback, host has the machine's, container: another's", async () => {
  const none = await runContainer(engine, {
    Cmd: ["sh", "-c", "ls /sys/class/net; ping -c1 127.0.0.1 >/dev/null && echo up"],
    HostConfig: { NetworkMode: "none" },
  });
  assert.equal(none.stdout, "lo\nup\n");
  const host = await runContainer(engine, { Cmd: ["ls", "/sys/class/net"], HostConfig: { NetworkMode: "host" } });
  assert.match(host.stdout, /gx4-docker/);
  const first = await sleeper("first");
  const second = await runContainer(engine, {
    Cmd: ["hostname", "-i"],
    HostConfig: { NetworkMode: "container:first" },
  });
  assert.equal(second.stdout.trim(), (await engine.containers.inspect(first)).NetworkSettings.IPAddress);
  for (const id of [none.id, host.id, first, second.id]) await forget(id);
});

test("processes, memory and names can be another's: pid, ipc, uts", async () => {
  const donor = await sleeper("donor", { HostConfig: { IpcMode: "shareable" } });
  await exec(donor, "sh", "-c", "echo shared > /dev/shm/x");
  const guest = await runContainer(engine, {
    Cmd: ["sh", "-c", "cat /dev/shm/x; ps | grep -c 'sleep 100[0]'"],
    HostConfig: { IpcMode: "container:donor", PidMode: "container:donor" },
  });
  assert.equal(guest.stdout, "shared\n1\n");
  const { Id } = await engine.containers.create(undefined, {
    Image: image,
    HostConfig: { IpcMode: `container:${guest.id}` },
  });
  await assert.rejects(engine.containers.start(Id), { code: "conflict" });
  for (const id of [donor, guest.id, Id]) await forget(id);
});

test("volumes keep what is written, binds show the machine's, --volumes-from another's, tmpfs nothing", async () => {
  const folder = join(place.base, "bound");
  mkdirSync(folder);
  writeFileSync(join(folder, "file"), "from the machine\n");
  const binds = ["data:/data", `${folder}:/bound:ro`];
  const write = await runContainer(
    engine,
    {
      Cmd: [
        "sh",
        "-c",
        "echo kept > /data/x; cat /bound/file; touch /bound/y || echo read-only; mount | grep -c '^tmpfs on /scratch'",
      ],
      HostConfig: { Binds: binds, Tmpfs: { "/scratch": "size=1m" } },
    },
    "writer",
  );
  assert.equal(write.stdout, "from the machine\nread-only\n1\n");
  const read = await runContainer(engine, { Cmd: ["cat", "/data/x"], HostConfig: { VolumesFrom: ["writer:ro"] } });
  assert.equal(read.stdout, "kept\n");
  await assert.rejects(engine.volumes.remove("data"), /volume is in use/);
  await forget(write.id);
  await forget(read.id);
  const anonymous = await runContainer(engine, { Cmd: ["ls", "/etc"], Volumes: { "/etc": {} } });
  assert.match(anonymous.stdout, /passwd/);
  const { Mounts } = await engine.containers.inspect(anonymous.id);
  await forget(anonymous.id);
  await assert.rejects(engine.volumes.inspect(Mounts[0]?.Name as string), { code: "not-found" });
  await engine.volumes.remove("data");
});

test("stop gives time, then kills; kill of what does not run is refused", async () => {
  const { Id } = await engine.containers.create(undefined, {
    Image: image,
    Cmd: ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done"],
  });
  await engine.containers.start(Id);
  await new Promise((resolve) => setTimeout(resolve, 100));
  await engine.containers.stop(Id);
  assert.equal((await engine.containers.inspect(Id)).State.ExitCode, 7);
  await assert.rejects(engine.containers.stop(Id), { code: "not-modified" });
  await assert.rejects(engine.containers.kill(Id), { code: "conflict" });
  await engine.containers.restart(Id);
  await engine.containers.stop(Id, { timeout: 0 });
  assert.ok([137, 7].includes((await engine.containers.inspect(Id)).State.ExitCode));
  await forget(Id);
});

test("pause stops a container's time, and unpause lets it go on", async () => {
  const id = await sleeper();
  await engine.containers.pause(id);
  assert.equal((await engine.containers.inspect(id)).State.Status, "paused");
  await assert.rejects(engine.containers.pause(id), { message: `Container ${id} is already paused` });
  await engine.containers.unpause(id);
  assert.equal((await engine.containers.inspect(id)).State.Status, "running");
  await forget(id);
});

test("restart policies bring a container back until it may rest", async () => {
  const { Id } = await engine.containers.create(undefined, {
    Image: image,
    Cmd: ["false"],
    HostConfig: { RestartPolicy: { Name: "on-failure", MaximumRetryCount: 2 } },
  });
  await engine.containers.start(Id);
  await eventually(async () => (await engine.containers.inspect(Id)).State.Status === "exited", "the last try");
  const { RestartCount, State } = await engine.containers.inspect(Id);
  assert.deepEqual([RestartCount, State.ExitCode], [2, 1]);
  await forget(Id);
  const always = await sleeper(undefined, {
    Cmd: ["sh", "-c", "sleep 0.05"],
    HostConfig: { RestartPolicy: { Name: "always" } },
  });
  await eventually(async () => (await engine.containers.inspect(always)).RestartCount >= 2, "two restarts");
  await engine.containers.stop(always);
  assert.equal((await engine.containers.inspect(always)).State.Status, "exited");
  await forget(always);
});

test("a health check finds out, and says so", async () => {
  const abort = new AbortController();
  const seen: string[] = [];
  const listening = (async () => {
    for await (const event of engine.events({ signal: abort.signal, filters: { event: ["health_status"] } }))
      seen.push(event.Action);
  })();
  const interval = 50_000_000;
  const id = await sleeper(undefined, {
    Healthcheck: { Test: ["CMD-SHELL", "test -f /ok"], Interval: interval, Retries: 1 },
  });
  await eventually(async () => (await engine.containers.inspect(id)).State.Health?.Status === "unhealthy", "unhealthy");
  await exec(id, "touch", "/ok");
  await eventually(async () => (await engine.containers.inspect(id)).State.Health?.Status === "healthy", "healthy");
  abort.abort();
  await listening;
  assert.deepEqual(seen, ["health_status: unhealthy", "health_status: healthy"]);
  await forget(id);
});

test("health begins anew with each start; what is paused or has ended is not healthy", async () => {
  const Healthcheck = { Test: ["CMD", "test", "-f", "/ok"], Interval: 50_000_000, Retries: 1_000 };
  const id = await sleeper(undefined, { Healthcheck });
  const health = async (): Promise<string | undefined> => (await engine.containers.inspect(id)).State.Health?.Status;
  await exec(id, "touch", "/ok");
  await eventually(async () => (await health()) === "healthy", "healthy");
  await engine.containers.pause(id);
  assert.equal(await health(), "unhealthy");
  await engine.containers.unpause(id);
  await eventually(async () => (await health()) === "healthy", "healthy after the pause");
  await exec(id, "rm", "/ok");
  await engine.containers.restart(id, { timeout: 0 });
  assert.equal(await health(), "starting");
  assert.ok(
    ((await engine.containers.inspect(id)).State.Health?.Log ?? []).length > 0,
    "what was found before is kept",
  );
  await engine.containers.kill(id);
  assert.equal(await health(), "unhealthy");
  await forget(id);
});

test("limits hold, can be changed while it runs, and running out of memory is told", async () => {
  const id = await sleeper(undefined, { HostConfig: { Memory: 32 * 2 ** 20, NanoCpus: 5e8, PidsLimit: 50 } });
  const [stats] = await Array.fromAsync(await engine.containers.stats(id, { stream: false, oneShot: true }));
  assert.equal(stats?.memory_stats.limit, 32 * 2 ** 20);
  assert.equal(stats?.pids_stats.limit, 50);
  await engine.containers.update(id, { Memory: 64 * 2 ** 20, MemorySwap: 64 * 2 ** 20 });
  const [later] = await Array.fromAsync(await engine.containers.stats(id, { stream: false, oneShot: true }));
  assert.equal(later?.memory_stats.limit, 64 * 2 ** 20);
  await forget(id);
  const result = await runContainer(engine, {
    Cmd: ["sh", "-c", "exec tail /dev/zero"],
    HostConfig: { Memory: 8 * 2 ** 20, MemorySwap: 8 * 2 ** 20 },
  });
  assert.equal(result.code, 137);
  assert.equal((await engine.containers.inspect(result.id)).State.OOMKilled, true);
  await forget(result.id);
});

test("cp goes in and out, of running and stopped containers; diff and export show it; commit keeps it", async () => {
  const id = await sleeper();
  const tar = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.concat([
      encodeEntry({ name: "given", type: "file", mode: 0o600 }, Buffer.from("content\n")),
      endOfArchive(),
    ]);
  };
  await engine.containers.archiveIn(id, "/root", tar());
  assert.equal((await exec(id, "cat", "/root/given")).stdout, "content\n");
  await engine.containers.kill(id);
  const { stat, tar: out } = await engine.containers.archiveOut(id, "/root/given");
  assert.deepEqual([stat.name, stat.size], ["given", 8]);
  assert.match(Buffer.concat(await Array.fromAsync(out)).toString(), /content/);
  assert.ok((await engine.containers.diff(id)).some(({ Path, Kind }) => Path === "/root/given" && Kind === 1));
  assert.ok(Buffer.concat(await Array.fromAsync(await engine.containers.export(id))).includes("root/given"));
  const made = await engine.containers.commit(id, {
    repository: "made",
    tag: "1",
    changes: ['CMD ["cat", "/root/given"]'],
  });
  const result = await runContainer(engine, { Image: "made:1" });
  assert.equal(result.stdout, "content\n");
  await assert.rejects(engine.images.remove("made:1"), { code: "conflict" });
  await forget(result.id);
  await forget(id);
  assert.ok((await engine.images.remove("made:1")).some((entry) => "Deleted" in entry && entry.Deleted === made));
});

test("ps filters and shows what it should; prune takes what has ended", async () => {
  const id = await sleeper("listed", { Labels: { tier: "web" } });
  const ended = await runContainer(engine, { Cmd: ["false"] });
  const names = async (filters: Record<string, string[]>, all = false): Promise<string[]> =>
    (await engine.containers.list({ filters, all })).map(({ Id }) => Id);
  assert.deepEqual(await names({ label: ["tier=web"] }), [id]);
  assert.deepEqual(await names({ exited: ["1"] }), [ended.id]);
  assert.deepEqual(await names({ name: ["^/listed$"] }), [id]);
  assert.deepEqual(await names({ status: ["running"], ancestor: [image] }), [id]);
  await assert.rejects(names({ nonsense: ["x"] }), { message: "invalid filter 'nonsense'" });
  assert.match((await engine.containers.list())[0]?.Status ?? "", /^Up /);
  assert.deepEqual((await engine.containers.prune()).deleted, [ended.id]);
  await forget(id);
});

test("events come in docker's order and shape, also later by since and until", async () => {
  const since = Date.now();
  const result = await runContainer(engine, { Cmd: ["true"], Labels: { a: "b" } }, "eventful");
  await forget(result.id);
  const events: EventMessage[] = await Array.fromAsync(
    engine.events({
      since,
      until: Date.now(),
      filters: { type: ["container"], container: ["eventful"] },
      signal: new AbortController().signal,
    }),
  );
  assert.deepEqual(
    events.map(({ Action }) => Action),
    ["create", "attach", "start", "die", "destroy"],
  );
  const die = events[3];
  assert.equal(die?.from, image);
  assert.deepEqual(die?.Actor.Attributes, {
    a: "b",
    "org.opencontainers.image.title": "hello",
    "org.opencontainers.image.description": "A shell and a small web page, made from busybox",
    image,
    name: "eventful",
    exitCode: "0",
    execDuration: "0",
  });
});

test("top, resize and a terminal", async () => {
  const { Id } = await engine.containers.create(undefined, { Image: image, Cmd: ["sh"], Tty: true, OpenStdin: true });
  const session = await engine.containers.attach(Id, {
    stdin: true,
    stdout: true,
    stderr: true,
    stream: true,
    logs: false,
  });
  const output = collect(session);
  await engine.containers.start(Id);
  await engine.containers.resize(Id, { height: 40, width: 120 });
  const { Titles, Processes } = await engine.containers.top(Id);
  assert.equal(Processes[0]?.[Titles.indexOf("CMD")], "sh");
  await session.write(Buffer.from("stty size\n"));
  await new Promise((resolve) => setTimeout(resolve, 200));
  await session.write(Buffer.from([16, 17]));
  const { stdout } = await output;
  assert.match(stdout, /40 120/);
  assert.equal((await engine.containers.inspect(Id)).State.Running, true, "the keys only detach");
  await forget(Id);
});

test("what is kept on disk is docker's shape", async () => {
  const id = await sleeper("shape", {
    HostConfig: { PortBindings: { "80/tcp": [{ HostIp: "", HostPort: "28900-28999" }] } },
  });
  const folder = join(running.root, "containers", id);
  const config = JSON.parse(readFileSync(join(folder, "config.v2.json"), "utf8"));
  const host = JSON.parse(readFileSync(join(folder, "hostconfig.json"), "utf8"));
  assert.deepEqual(
    [config.Name, config.State.Running, config.Config.Cmd, config.Driver],
    ["/shape", true, ["sleep", "1000"], "overlay2"],
  );
  assert.deepEqual(host.PortBindings, { "80/tcp": [{ HostIp: "", HostPort: "28900-28999" }] });
  await forget(id);
});

test("info and df count what is there", async () => {
  const id = await sleeper();
  const info = await engine.info();
  assert.deepEqual([info.ContainersRunning, info.Driver], [1, "overlay2"]);
  const usage = await engine.diskUsage();
  assert.equal(usage.Containers.length, 1);
  assert.ok(usage.LayersSize > 500_000);
  await forget(id);
});

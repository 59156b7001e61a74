import assert from "node:assert/strict";
import { mkdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, before, test } from "node:test";
import type { PodContainerConfig, PodRuntime, PodSandboxConfig, RuntimeEvent } from "#api/pod-runtime.ts";
import { mount, unmount } from "#host/mount.ts";
import type { Engine } from "./engine.ts";
import { plainSecurity, podContainer, podSandbox } from "./test-pods.ts";
import { eventually, leftovers, newPlace, removeAll, startEngine, type TestEngine } from "./test-engine.ts";

const place = newPlace(14);
let running: TestEngine;
let engine: Engine;
let pods: PodRuntime;

before(async () => {
  running = await startEngine(place);
  engine = running.engine;
  pods = engine.pods;
});

after(async () => {
  await running.stop();
  await removeAll(place);
  assert.deepEqual(leftovers(place), []);
});

const security = plainSecurity;
const sandboxConfig = (name: string, more: Partial<PodSandboxConfig> = {}): PodSandboxConfig =>
  podSandbox(name, place.base, more);

async function containerConfig(name: string, more: Partial<PodContainerConfig> = {}): Promise<PodContainerConfig> {
  const image = await pods.imageStatus("gantry/hello");
  assert.ok(image);
  return podContainer(image.id, { metadata: { name, attempt: 0 }, ...more });
}

const sh = async (id: string, line: string): Promise<string> =>
  Buffer.from((await pods.execSync(id, ["sh", "-c", line], 5)).stdout).toString();

test("a pod's containers share network, host name and files, and no process stands for the pod", async () => {
  const config = sandboxConfig("shared");
  const sandbox = await pods.runPodSandbox(config);
  assert.equal(await pods.runPodSandbox(config), sandbox, "safe to repeat");
  const first = await pods.createContainer(
    sandbox,
    await containerConfig("web", { command: [], stopSignal: "SIGTERM" }),
  );
  const second = await pods.createContainer(
    sandbox,
    await containerConfig("side", { env: [{ name: "A", value: "b" }] }),
  );
  await pods.startContainer(first);
  await pods.startContainer(second);
  const { ips, state } = await pods.podSandboxStatus(sandbox);
  assert.equal(state, "ready");
  assert.match(ips[0] as string, /^10\.206\./);
  await eventually(
    async () => (await sh(second, "wget -qO- http://127.0.0.1/")).includes("Hello from Gantry"),
    "the neighbour's page",
  );
  assert.equal(
    await sh(second, "hostname; echo $A; grep nameserver /etc/resolv.conf; grep far /etc/hosts; cat /etc/hostname"),
    "shared\nb\nnameserver 10.100.0.10\n1.2.3.4\tfar\nshared\n",
  );
  assert.match(await sh(second, "cat /etc/hosts"), new RegExp(`${ips[0]}\tshared`));
  const [a, b] = [await pods.containerStatus(first), await pods.containerStatus(second)];
  for (const kind of ["net", "ipc", "uts"])
    assert.equal(readlinkSync(`/proc/${a.pid}/ns/${kind}`), readlinkSync(`/proc/${b.pid}/ns/${kind}`), kind);
  assert.notEqual(readlinkSync(`/proc/${a.pid}/ns/pid`), readlinkSync(`/proc/${b.pid}/ns/pid`));
  await sh(second, "echo x > /dev/shm/seen");
  assert.equal(await sh(first, "cat /dev/shm/seen"), "x\n");
  const connection = await pods.portForward(sandbox, 80, new AbortController().signal);
  connection.write("GET / HTTP/1.0\r\n\r\n");
  assert.match(Buffer.concat(await Array.fromAsync(connection)).toString(), /Hello from Gantry/);
  const usage = await pods.stats();
  assert.equal(usage.length, 2);
  assert.ok((usage[0]?.memoryUsageBytes ?? 0) > 0);
  assert.deepEqual(await engine.containers.list({ all: true }), [], "docker ps does not show pods");
  assert.equal((await engine.containers.list({ filters: { label: ["io.kubernetes.pod.name=shared"] } })).length, 2);
  const events = async (filters: Record<string, string[]>): Promise<number> => {
    const signal = new AbortController().signal;
    const past = { since: 1, until: Date.now(), signal };
    return (await Array.fromAsync(engine.events({ ...past, filters: { type: ["container"], ...filters } }))).length;
  };
  assert.equal(await events({}), 0, "docker events does not tell of pods");
  assert.ok((await events({ label: ["io.kubernetes.pod.name=shared"] })) >= 4);
  assert.ok((await events({ container: [first] })) >= 2);
  await pods.stopPodSandbox(sandbox);
  assert.equal((await pods.podSandboxStatus(sandbox)).state, "not-ready");
  await pods.removePodSandbox(sandbox);
  assert.deepEqual(await pods.listContainers(), []);
  await assert.rejects(pods.podSandboxStatus(sandbox), { code: "not-found" });
});

test("a container's end is told with reason, code and log", async () => {
  const abort = new AbortController();
  const seen: RuntimeEvent[] = [];
  const listening = (async () => {
    for await (const event of pods.events(abort.signal)) seen.push(event);
  })();
  const config = sandboxConfig("ends");
  const sandbox = await pods.runPodSandbox(config);
  const id = await pods.createContainer(
    sandbox,
    await containerConfig("main", { command: ["sh", "-c"], args: ["echo line; exit 5"] }),
  );
  assert.equal((await pods.containerStatus(id)).state, "created");
  await pods.startContainer(id);
  await eventually(async () => (await pods.containerStatus(id)).state === "exited", "its end");
  const status = await pods.containerStatus(id);
  assert.deepEqual([status.exitCode, status.reason, status.image], [5, "Error", "gantry/hello"]);
  assert.ok(status.finishedAt >= status.startedAt && status.startedAt > 0);
  assert.match(readFileSync(join(config.logDirectory, "main/0.log"), "utf8"), /^\S+ stdout F line\n$/);
  const bad = await pods.createContainer(sandbox, await containerConfig("bad", { command: ["nothing-here"] }));
  await assert.rejects(pods.startContainer(bad), /executable file not found/);
  const failed = await pods.containerStatus(bad);
  assert.deepEqual([failed.state, failed.exitCode, failed.reason], ["exited", 127, "ContainerCannotRun"]);
  await pods.removePodSandbox(sandbox);
  abort.abort();
  await listening;
  assert.deepEqual(
    seen.filter((event) => event.containerId === id).map(({ type }) => type),
    ["container-created", "container-started", "container-exited", "container-removed"],
  );
  assert.ok(seen.every((event) => event.sandboxId === sandbox));
});

test("exec streams both ways and returns the exit code; attach joins the running process", async () => {
  const sandbox = await pods.runPodSandbox(sandboxConfig("streams"));
  const id = await pods.createContainer(sandbox, await containerConfig("main", { command: ["cat"], stdin: true }));
  await pods.startContainer(id);
  let out = "";
  let err = "";
  const streams = {
    stdout: (chunk: Uint8Array) => void (out += Buffer.from(chunk).toString()),
    stderr: (chunk: Uint8Array) => void (err += Buffer.from(chunk).toString()),
    signal: new AbortController().signal,
  };
  assert.equal(
    await pods.exec(id, ["sh", "-c", "cat; echo no >&2; exit 6"], false, {
      ...streams,
      stdin: Readable.from([Buffer.from("typed\n")]),
    }),
    6,
  );
  assert.deepEqual([out, err], ["typed\n", "no\n"]);
  out = "";
  const abort = new AbortController();
  const attached = pods.attach(id, false, {
    ...streams,
    stdin: Readable.from([Buffer.from("again\n")]),
    signal: abort.signal,
  });
  await eventually(() => out === "again\n", "the echo");
  abort.abort();
  await attached;
  await assert.rejects(pods.execSync(id, ["sleep", "10"], 0.2), { code: "timeout" });
  await pods.removePodSandbox(sandbox);
});

test("shareProcessNamespace, hostNetwork and a user of its own", async () => {
  const sandbox = await pods.runPodSandbox(
    sandboxConfig("procs", {
      shareProcessNamespace: true,
      sysctls: { "net.ipv4.ip_unprivileged_port_start": "70", "kernel.shm_rmid_forced": "1" },
    }),
  );
  const first = await pods.createContainer(sandbox, await containerConfig("one"));
  const second = await pods.createContainer(
    sandbox,
    await containerConfig("two", {
      security: { ...security, runAsUser: 1234, runAsGroup: 5, readOnlyRootFilesystem: true },
    }),
  );
  await pods.startContainer(first);
  await pods.startContainer(second);
  assert.equal(
    await sh(
      second,
      "id -u; id -g; touch /x 2>/dev/null || echo ro; cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced",
    ),
    "1234\n5\nro\n70\n1\n",
  );
  assert.ok((await sh(first, "ps | grep -c 'sleep 100[0]'")).startsWith("2"), await sh(first, "ps"));
  await pods.stopContainer(first, 0);
  assert.equal((await pods.containerStatus(second)).state, "running", "nobody's end is the others' end");
  await pods.removePodSandbox(sandbox);
  const host = await pods.runPodSandbox(sandboxConfig("host", { hostNetwork: true }));
  const id = await pods.createContainer(host, await containerConfig("main"));
  await pods.startContainer(id);
  assert.match(await sh(id, "ls /sys/class/net"), /gx14-pods/);
  assert.deepEqual((await pods.podSandboxStatus(host)).ips, []);
  await pods.removePodSandbox(host);
});

test("an image made by commit runs in a pod at once; its limits are the pod's", async () => {
  const { Id } = await engine.containers.create(undefined, {
    Image: "gantry/hello",
    Cmd: ["sh", "-c", "echo made > /made"],
  });
  await engine.containers.start(Id);
  await eventually(async () => !(await engine.containers.inspect(Id)).State.Running, "its end");
  await engine.containers.commit(Id, { repository: "local/made" });
  await engine.containers.remove(Id);
  const image = await pods.imageStatus("local/made");
  assert.ok(image);
  const sandbox = await pods.runPodSandbox(sandboxConfig("made"));
  const id = await pods.createContainer(
    sandbox,
    await containerConfig("main", {
      imageId: image.id,
      resources: { memoryLimitBytes: 33554432, cpuShares: 102, cpuQuota: 50000 },
    }),
  );
  await pods.startContainer(id);
  assert.equal(await sh(id, "cat /made"), "made\n");
  assert.equal(
    await sh(id, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"),
    "33554432\n",
  );
  await pods.removePodSandbox(sandbox);
  await pods.removeImage("local/made");
  assert.equal(await pods.imageStatus("local/made"), undefined);
});

test("a pod's mounts: an image, and a folder that is read-only at its top alone or all the way down", async () => {
  const outer = join(running.root, "outer");
  const inner = join(outer, "inner");
  mkdirSync(inner, { recursive: true });
  mount({ source: "tmpfs", target: inner, type: "tmpfs" });
  const sandbox = await pods.runPodSandbox(sandboxConfig("mounts"));
  try {
    const own = await containerConfig("main");
    const top = { hostPath: outer, readOnly: true, propagation: "private" } as const;
    const id = await pods.createContainer(sandbox, {
      ...own,
      mounts: [
        { ...top, containerPath: "/top" },
        { ...top, containerPath: "/all", recursiveReadOnly: true },
        { ...top, hostPath: "", containerPath: "/image", image: { id: own.imageId, subPath: "www" } },
      ],
    });
    await pods.startContainer(id);
    const write = "for d in /top /top/inner /all /all/inner /image; do touch $d/x 2>/dev/null && echo $d; done; true";
    assert.equal(await sh(id, write), "/top/inner\n");
    assert.match(await sh(id, "ls /image"), /cgi-bin/);
    const { mounts } = await pods.containerStatus(id);
    assert.deepEqual(mounts?.[2]?.image, { id: own.imageId, subPath: "www" });
  } finally {
    await pods.removePodSandbox(sandbox);
    unmount(inner);
  }
});

test("pods live over a restart of the engine, with address and logs", async () => {
  const config = sandboxConfig("lives");
  const sandbox = await pods.runPodSandbox(config);
  const id = await pods.createContainer(
    sandbox,
    await containerConfig("main", { command: ["sh", "-c", "while :; do date; sleep 0.1; done"] }),
  );
  await pods.startContainer(id);
  const { ips } = await pods.podSandboxStatus(sandbox);
  const { pid } = await pods.containerStatus(id);
  await running.stop();
  running = await startEngine(place);
  engine = running.engine;
  pods = engine.pods;
  assert.equal((await pods.containerStatus(id)).pid, pid);
  assert.deepEqual((await pods.podSandboxStatus(sandbox)).ips, ips);
  assert.equal(await sh(id, "echo still"), "still\n");
  await pods.removePodSandbox(sandbox);
});

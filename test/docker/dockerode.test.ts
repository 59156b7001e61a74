import assert from "node:assert/strict";
import { createReadStream, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Duplex, PassThrough, type Readable } from "node:stream";
import { after, before, test } from "node:test";
import { busyboxTar } from "./busybox-tar.ts";
import { startDaemon, type TestDaemon } from "./daemon.ts";
import { DockerCli } from "./docker-cli.ts";

/** As much of dockerode's interface as is used here; the package carries no types. */
interface Dockerode {
  ping(): Promise<Buffer>;
  version(): Promise<{ ApiVersion: string }>;
  createContainer(options: object): Promise<Container>;
  getContainer(id: string): Container;
  listContainers(options?: object): Promise<{ Names: string[]; State: string }[]>;
  listImages(options?: object): Promise<{ RepoTags: string[] }[]>;
  pull(name: string, options?: object): Promise<Readable>;
  run(
    image: string,
    command: string[],
    out: PassThrough,
    options: object,
  ): Promise<[{ StatusCode: number }, Container]>;
  getEvents(options: object): Promise<Readable>;
  createVolume(options: object): Promise<{ name: string; remove(): Promise<void> }>;
  importImage(file: Readable, options: object): Promise<Readable>;
  modem: {
    demuxStream(stream: Duplex, out: PassThrough, err: PassThrough): void;
    followProgress(stream: Readable, done: (error: Error | null, output: unknown[]) => void): void;
  };
}
interface Exec {
  start(options: object): Promise<Duplex>;
  resize(size: { h: number; w: number }): Promise<void>;
  inspect(): Promise<{ ExitCode: number }>;
}
interface Container {
  id: string;
  start(): Promise<void>;
  attach(options: object): Promise<Duplex>;
  exec(options: object): Promise<Exec>;
  wait(): Promise<{ StatusCode: number }>;
  stop(options: object): Promise<void>;
  logs(options: object): Promise<Buffer>;
  stats(options: object): Promise<{ pids_stats: { current?: number } }>;
  putArchive(file: Readable, options: object): Promise<unknown>;
  getArchive(options: object): Promise<Readable>;
  remove(options?: object): Promise<void>;
  inspect(): Promise<{ State: { Running: boolean } }>;
}

let daemon: TestDaemon;
let cli: DockerCli;
let docker: Dockerode;

before(async () => {
  daemon = await startDaemon(12);
  cli = new DockerCli(daemon.host);
  const { default: Client } = (await import("dockerode" as string)) as { default: new (options: object) => Dockerode };
  docker = new Client({ socketPath: daemon.host.replace("unix://", "") });
  busyboxTar(join(cli.folder, "bb.tar"));
  await cli.ok("import", join(cli.folder, "bb.tar"), "bb:1");
});
after(async () => {
  cli.dispose();
  await daemon.stop();
});

const host = { NetworkMode: "none" };

async function text(stream: Readable): Promise<string> {
  let all = "";
  for await (const chunk of stream) all += String(chunk);
  return all;
}

test("ping, version and lists", async () => {
  assert.equal(String(await docker.ping()), "OK");
  assert.match((await docker.version()).ApiVersion, /^1\.\d+$/);
  assert.ok((await docker.listImages()).some((image) => image.RepoTags?.includes("bb:1")));
});

test("run writes a container's output to a stream", async () => {
  const out = new PassThrough();
  const [result, container] = await docker.run("bb:1", ["sh", "-c", "echo made; exit 2"], out, {
    Tty: false,
    HostConfig: host,
  });
  assert.equal(result.StatusCode, 2);
  await container.remove();
});

for (const hijack of [true, false]) {
  test(`attach ${hijack ? "with" : "without"} hijacking: output comes in frames${hijack ? ", input goes in" : ""}`, async () => {
    const container = await docker.createContainer({
      Image: "bb:1",
      Cmd: hijack ? ["cat"] : ["sh", "-c", "sleep 0.2; echo plain"],
      OpenStdin: hijack,
      StdinOnce: hijack,
      AttachStdin: hijack,
      HostConfig: host,
    });
    const stream = await container.attach({ stream: true, stdin: hijack, stdout: true, stderr: true, hijack });
    const out = new PassThrough();
    docker.modem.demuxStream(stream, out, new PassThrough());
    stream.on("end", () => out.end());
    await container.start();
    if (hijack) stream.end("typed\n");
    assert.equal(await text(out), hijack ? "typed\n" : "plain\n");
    await container.wait();
    await container.remove();
  });
}

test("exec, logs, stats, archives", async () => {
  const container = await docker.createContainer({
    Image: "bb:1",
    Cmd: ["sh", "-c", "echo begun; sleep 100"],
    HostConfig: host,
  });
  await container.start();
  const exec = await container.exec({ Cmd: ["sh", "-c", "cat; exit 3"], AttachStdin: true, AttachStdout: true });
  const stream = await exec.start({ hijack: true, stdin: true });
  const out = new PassThrough();
  docker.modem.demuxStream(stream, out, new PassThrough());
  stream.on("end", () => out.end());
  stream.end("into exec");
  assert.equal(await text(out), "into exec");
  assert.equal((await exec.inspect()).ExitCode, 3);
  assert.match(String(await container.logs({ stdout: true })), /begun\n$/);
  assert.ok(((await container.stats({ stream: false })).pids_stats.current ?? 0) >= 1);
  await container.putArchive(createReadStream(join(cli.folder, "bb.tar")), { path: "/tmp" });
  const tar = await container.getArchive({ path: "/tmp/bin/busybox" });
  let size = 0;
  for await (const chunk of tar) size += (chunk as Buffer).length;
  assert.ok(size > readFileSync("/bin/busybox").length);
  await container.remove({ force: true });
  await assert.rejects(container.inspect(), { statusCode: 404 } as never);
});

test("pull tells its failure, import its image, events what happened", async () => {
  await assert.rejects(docker.pull("localhost:1/nope:1"));
  const done = await docker.importImage(createReadStream(join(cli.folder, "bb.tar")), { repo: "imported", tag: "1" });
  const lines = await new Promise<unknown[]>((resolve, reject) =>
    docker.modem.followProgress(done, (error, output) => (error === null ? resolve(output) : reject(error))),
  );
  assert.match(JSON.stringify(lines), /sha256:/);
  const events = await docker.getEvents({ filters: { type: ["volume"] } });
  const volume = await docker.createVolume({ Name: "dv1" });
  const first = await new Promise<string>((resolve) => events.once("data", (chunk) => resolve(String(chunk))));
  assert.equal((JSON.parse(first) as { Action: string }).Action, "create");
  (events as Readable).destroy();
  await volume.remove();
  await cli.ok("rmi", "imported:1");
});

test("an exec's terminal has the size that it is given while it runs", async () => {
  const container = await docker.createContainer({ Image: "bb:1", Cmd: ["sleep", "100"], HostConfig: host });
  await container.start();
  const exec = await container.exec({
    Cmd: ["sh", "-c", "read go; stty size"],
    Tty: true,
    AttachStdin: true,
    AttachStdout: true,
  });
  const stream = await exec.start({ hijack: true, stdin: true, Tty: true });
  await exec.resize({ h: 33, w: 77 });
  stream.write("go\n");
  assert.match(await text(stream), /33 77/);
  assert.equal((await exec.inspect()).ExitCode, 0);
  await container.remove({ force: true });
});

test("what the client aborts or waits too long for ends at once, and the daemon goes on", async () => {
  const container = await docker.createContainer({ Image: "bb:1", Cmd: ["sleep", "100"], HostConfig: host });
  await container.start();
  const abort = new AbortController();
  // The program is the first of its namespace and has no handler: it would take the whole time.
  const stopping = container.stop({ t: 60, abortSignal: abort.signal });
  setTimeout(() => abort.abort(), 50);
  await assert.rejects(stopping, { code: "ABORT_ERR" });
  const { default: Client } = (await import("dockerode" as string)) as { default: new (options: object) => Dockerode };
  const hasty = new Client({ socketPath: daemon.host.replace("unix://", ""), timeout: 100 });
  await assert.rejects(hasty.getContainer(container.id).stop({ t: 60 }), /timeout|hang up|reset/i);
  await docker.ping();
  await container.remove({ force: true });
});

test("a pull with credentials for nobody, and a broken name, tell their reasons", async () => {
  const authconfig = { username: "u", password: "p", serveraddress: "http://localhost:1" };
  await assert.rejects(docker.pull("localhost:1/nope:1", { authconfig }), /connection refused/);
  await assert.rejects(docker.pull("team/NotLower:1"), /must be lowercase/);
});

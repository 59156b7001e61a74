// What a course on Docker has its students do, and engines forget: issue 3, "The course's exercises".
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Outcome, TestInstance, eventually, get } from "../acceptance/instance.ts";
import { cgroupFile } from "./container-cgroup.ts";

const instance = new TestInstance(`course-${process.pid}`);
const image = "gantry/hello";
let registry: ChildProcess;
let registryPort = 0;
/** Free when the tests begin. */
let ports: number[] = [];

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(servers.map((server) => new Promise<void>((done) => server.listen(0, "127.0.0.1", done))));
  const found = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return found;
}

async function startRegistry(port: number): Promise<ChildProcess> {
  const config = join(instance.folder, "registry.yml");
  const storage = `{ filesystem: { rootdirectory: ${join(instance.folder, "registry")} } }`;
  writeFileSync(config, `version: 0.1\nlog: { level: error }\nstorage: ${storage}\nhttp:\n  addr: 127.0.0.1:${port}\n`);
  const child = spawn("docker-registry", ["serve", config], { stdio: "ignore" });
  for (let tries = 0; tries < 100; tries++) {
    const answers = await fetch(`http://127.0.0.1:${port}/v2/`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (answers) return child;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  child.kill("SIGKILL");
  throw new Error("docker-registry did not start");
}

const fails = (...args: string[]): Outcome => {
  const outcome = instance.run("docker", args);
  assert.notEqual(outcome.status, 0, `docker ${args.join(" ")} should fail`);
  return outcome;
};
const inspect = (format: string, name: string): string => instance.docker("inspect", "-f", format, name).trim();
const fullId = (name: string): string => inspect("{{.Id}}", name);
const containerFolder = (id: string): string => join(instance.root, "engine/containers", id);
const page = (port: number): Promise<string> => get(`http://127.0.0.1:${port}/`);
/** The page of a container that has just been started: its program needs a moment. */
async function firstPage(port: number): Promise<string> {
  for (let tries = 0; ; tries++) {
    try {
      return await page(port);
    } catch (error) {
      if (tries >= 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
const refused = (port: number): Promise<boolean> =>
  page(port).then(
    () => false,
    () => true,
  );

before(async () => {
  ports = await freePorts(5);
  registryPort = ports.pop() as number;
  instance.up();
  registry = await startRegistry(registryPort);
});
after(() => {
  registry?.kill("SIGKILL");
  instance.reset();
});

test("a container's stored configuration is Docker-shaped, under containers/<id>/ in the data root", () => {
  const id = instance
    .docker("create", "--name", "stored", "-e", "A=b", "-m", "64m", "-p", `${ports[0]}:80`, image, "sleep", "9")
    .trim();
  const read = (name: string): Record<string, unknown> =>
    JSON.parse(readFileSync(join(containerFolder(id), name), "utf8")) as Record<string, unknown>;
  assert.equal(instance.docker("info", "-f", "{{.DockerRootDir}}").trim(), join(instance.root, "engine"));
  const config = read("config.v2.json") as { ID: string; Name: string; Config: { Env: string[]; Cmd: string[] } };
  assert.equal(config.ID, id);
  assert.equal(config.Name, "/stored");
  assert.ok(config.Config.Env.includes("A=b"));
  assert.deepEqual(config.Config.Cmd, ["sleep", "9"]);
  const host = read("hostconfig.json");
  assert.equal(host["Memory"], 64 * 1024 * 1024);
  assert.deepEqual(host["PortBindings"], { "80/tcp": [{ HostIp: "", HostPort: String(ports[0]) }] });
  instance.docker("rm", "stored");
});

test("PortBindings that were edited while the node process was down are in force after it starts", async () => {
  const [first, second, third] = ports as [number, number, number];
  const edit = (id: string, from: number, to: number): void => {
    const path = join(containerFolder(id), "hostconfig.json");
    const text = readFileSync(path, "utf8");
    assert.ok(text.includes(`"HostPort":"${from}"`));
    writeFileSync(path, text.replace(`"HostPort":"${from}"`, `"HostPort":"${to}"`));
  };
  const id = instance.docker("run", "-d", "--name", "edited", "-p", `${first}:80`, image).trim();
  assert.match(await firstPage(first), /Hello from Gantry/);

  // While the container lives on.
  instance.gantry("down", "--keep-containers");
  edit(id, first, second);
  instance.up();
  assert.match(await page(second), /Hello from Gantry/);
  assert.ok(await refused(first));
  assert.match(instance.docker("port", "edited"), new RegExp(`80/tcp -> 0\\.0\\.0\\.0:${second}\n`));

  // While it does not: as the course does it.
  instance.docker("stop", "-t", "0", "edited");
  instance.gantry("down");
  edit(id, second, third);
  instance.up();
  instance.docker("start", "edited");
  assert.match(await firstPage(third), /Hello from Gantry/);
  assert.ok(await refused(second));
  assert.equal(inspect('{{(index (index .HostConfig.PortBindings "80/tcp") 0).HostPort}}', "edited"), String(third));
  instance.docker("rm", "-f", "edited");
});

test("an update through the API changes the published ports of a running container", async () => {
  const [first, second] = ports as [number, number];
  instance.docker("run", "-d", "--name", "moved", "-p", `${first}:80`, image);
  assert.match(await firstPage(first), /Hello from Gantry/);
  const startedAt = inspect("{{.State.StartedAt}} {{.State.Pid}}", "moved");
  const update = (body: unknown): string => {
    const socket = (instance.env["DOCKER_HOST"] as string).slice("unix://".length);
    const curl = ["-sS", "--unix-socket", socket, "-H", "Content-Type: application/json", "-d", JSON.stringify(body)];
    return instance.ok("curl", [...curl, "http://docker/v1.48/containers/moved/update"]);
  };
  update({ PortBindings: { "80/tcp": [{ HostIp: "", HostPort: String(second) }] } });
  assert.match(await page(second), /Hello from Gantry/);
  assert.ok(await refused(first));
  assert.equal(inspect("{{.State.StartedAt}} {{.State.Pid}}", "moved"), startedAt);
  assert.match(update({ PortBindings: { "80/tcp": [{ HostPort: "99999" }] } }), /invalid port|99999/);
  assert.match(await page(second), /Hello from Gantry/);
  update({ PortBindings: {} });
  assert.ok(await refused(second));
  instance.docker("rm", "-f", "moved");
});

test("a limit that is written by hand into the container's cgroup file is in force at once", async () => {
  instance.docker("run", "-d", "--name", "byhand", "-m", "256m", image, "sleep", "3600");
  const pid = Number(inspect("{{.State.Pid}}", "byhand"));
  const file = cgroupFile(pid, "memory", { v1: "memory.limit_in_bytes", v2: "memory.max" });
  assert.equal(readFileSync(file, "utf8").trim(), String(256 * 1024 * 1024));
  const fill = ["exec", "byhand", "dd", "if=/dev/zero", "of=/dev/shm/fill", "bs=1M", "count=48"];
  assert.equal(instance.run("docker", fill).status, 0);
  instance.docker("exec", "byhand", "rm", "/dev/shm/fill");
  writeFileSync(file, String(16 * 1024 * 1024));
  assert.match(instance.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", "byhand"), / \/ 16MiB/);
  assert.notEqual(instance.run("docker", fill).status, 0);
  await eventually(
    "the kernel has killed for memory",
    () => instance.docker("events", "--since", "1m", "--until", "0s", "--filter", "event=oom").includes("oom"),
    10_000,
  );
  instance.docker("rm", "-f", "byhand");
});

test("save by id comes back unnamed, by name named", () => {
  instance.docker("run", "--name", "base", image, "sh", "-c", "echo saved > /saved");
  const id = instance.docker("commit", "base", "kept:1").trim();
  instance.docker("save", "-o", "by-id.tar", id);
  instance.docker("save", "-o", "by-name.tar", "kept:1");
  const tags = (): string => instance.docker("image", "inspect", "-f", "{{json .RepoTags}}", id).trim();
  instance.docker("rmi", "kept:1");
  assert.match(instance.docker("load", "-i", "by-id.tar"), new RegExp(`Loaded image ID: ${id}`));
  assert.equal(tags(), "[]");
  assert.match(instance.docker("images", "--filter", "dangling=true", "-q", "--no-trunc"), new RegExp(id));
  assert.match(instance.docker("load", "-i", "by-name.tar"), /Loaded image: kept:1/);
  assert.equal(tags(), '["kept:1"]');
  instance.docker("rm", "base");
  instance.docker("rmi", "kept:1");
});

test("a prefix of an id will do everywhere", () => {
  const id = instance.docker("run", "-d", image, "sleep", "3600").trim();
  const short = id.slice(0, 6);
  assert.equal(fullId(short), id);
  assert.equal(instance.docker("exec", short, "echo", "hi"), "hi\n");
  writeFileSync(join(instance.folder, "note"), "note\n");
  instance.docker("cp", "note", `${short}:/note`);
  assert.match(instance.docker("diff", short), /A \/note/);
  assert.match(instance.docker("top", short), /sleep/);
  assert.equal(instance.docker("logs", short), "");
  assert.equal(instance.docker("ps", "-q", "--no-trunc", "--filter", `id=${short}`).trim(), id);
  for (const verb of ["pause", "unpause", "restart"]) {
    const more = verb === "restart" ? ["-t", "0"] : [];
    assert.equal(instance.docker(verb, ...more, short).trim(), short);
  }
  instance.docker("rename", short, "renamed");
  instance.docker("update", "-m", "128m", short);
  const copy = instance.docker("commit", short).trim().replace("sha256:", "").slice(0, 8);
  const joined = ["run", "--rm", "--network", `container:${short}`, "--volumes-from", short, copy, "cat", "/note"];
  assert.equal(instance.docker(...joined), "note\n");
  const network = instance.docker("network", "create", "prefixed").trim().slice(0, 8);
  instance.docker("network", "connect", network, short);
  assert.match(
    instance.docker("network", "inspect", "-f", "{{range .Containers}}{{.Name}}{{end}}", network),
    /renamed/,
  );
  instance.docker("network", "disconnect", network, short);
  instance.docker("network", "rm", network);
  assert.match(instance.docker("history", "-q", copy), new RegExp(`^${copy}`, "m"));
  instance.docker("tag", copy, "by/prefix:1");
  instance.docker("kill", short);
  assert.equal(instance.docker("wait", short).trim(), "137");
  instance.docker("rm", short);
  instance.docker("rmi", "by/prefix:1");
  assert.match(fails("inspect", short).stderr, new RegExp(`No such object: ${short}`));
});

test("registries at 127.1 and localhost speak plain http without configuration, and can be searched", () => {
  for (const host of ["127.1", "localhost", "127.0.0.1"]) {
    const name = `${host}:${registryPort}/course/app:1`;
    instance.docker("tag", image, name);
    assert.match(instance.docker("push", name), /1: digest: sha256:[0-9a-f]{64} size: \d+/);
    instance.docker("rmi", name);
    assert.match(instance.docker("pull", name), new RegExp(`Status: Downloaded newer image for ${name}`));
    assert.equal(instance.docker("run", "--rm", name, "echo", "pulled"), "pulled\n");
    instance.docker("rmi", name);
    const found = instance.docker("search", "--format", "{{.Name}}", `${host}:${registryPort}/app`);
    assert.equal(found, `${host}:${registryPort}/course/app\n`);
    assert.equal(instance.docker("search", "--format", "{{.Name}}", `${host}:${registryPort}/nothing`), "");
  }
  const catalogue = instance.docker("search", `localhost:${registryPort}/course/app`);
  assert.match(catalogue, /^NAME +DESCRIPTION +STARS +OFFICIAL\n/);
});

test("the data-volume container: its clients share, outlive it, and hand on what it had", () => {
  instance.docker("create", "--name", "data", "-v", "/shared", image, "true");
  const run = (name: string, ...more: string[]): string =>
    instance.docker("run", "-d", "--name", name, ...more, image, "sleep", "3600");
  run("client1", "--volumes-from", "data");
  run("client2", "--volumes-from", "data:ro");
  const shell = (name: string, line: string): Outcome => instance.run("docker", ["exec", name, "sh", "-c", line]);
  assert.equal(shell("client1", "echo one > /shared/file").status, 0);
  assert.equal(shell("client2", "cat /shared/file").stdout, "one\n");
  assert.match(shell("client2", "echo two > /shared/file").stderr, /Read-only file system/);
  const volume = inspect("{{(index .Mounts 0).Name}}", "data");
  assert.equal(inspect("{{(index .Mounts 0).Name}}", "client1"), volume);

  // The source goes; even with -v the volume stays, as others use it.
  instance.docker("rm", "-v", "data");
  assert.equal(shell("client1", "echo three >> /shared/file; cat /shared/file").stdout, "one\nthree\n");
  assert.match(fails("volume", "rm", volume).stderr, /volume is in use/);
  assert.match(fails("run", "--rm", "--volumes-from", "data", image, "true").stderr, /No such container: data/);

  // A client is as good a source.
  run("client3", "--volumes-from", "client1");
  assert.equal(shell("client3", "cat /shared/file").stdout, "one\nthree\n");
  instance.docker("stop", "-t", "0", "client1");
  run("client4", "--volumes-from", "client1");
  assert.equal(shell("client4", "cat /shared/file").stdout, "one\nthree\n");

  // The last one takes the volume along.
  instance.docker("rm", "-f", "client1", "client2", "client3");
  assert.equal(shell("client4", "cat /shared/file").stdout, "one\nthree\n");
  instance.docker("rm", "-fv", "client4");
  assert.equal(instance.docker("volume", "ls", "-q", "--filter", `name=${volume}`), "");
});

test("a volume is backed up and restored by a second container", () => {
  const backup = join(instance.folder, "backup");
  mkdirSync(backup);
  const line =
    "mkdir -p /dbdata/d; echo row > /dbdata/d/t; chown -R 7:8 /dbdata/d; chmod 640 /dbdata/d/t; ln -s d/t /dbdata/l";
  instance.docker("run", "--name", "dbstore", "-v", "/dbdata", image, "sh", "-c", line);
  const tar = ["run", "--rm", "--volumes-from", "dbstore", "-v", `${backup}:/backup`, image];
  instance.docker(...tar, "tar", "cvf", "/backup/backup.tar", "/dbdata");
  assert.ok(existsSync(join(backup, "backup.tar")));
  instance.docker("rm", "-v", "dbstore");
  instance.docker("run", "--name", "dbstore2", "-v", "/dbdata", image, "true");
  const untar = ["sh", "-c", "cd /dbdata && tar xvf /backup/backup.tar --strip 1"];
  instance.docker("run", "--rm", "--volumes-from", "dbstore2", "-v", `${backup}:/backup`, image, ...untar);
  const look = "cat /dbdata/l; stat -c '%u:%g %a' /dbdata/d/t";
  const looked = instance.docker("run", "--rm", "--volumes-from", "dbstore2", image, "sh", "-c", look);
  assert.equal(looked, "row\n7:8 640\n");
  instance.docker("rm", "-v", "dbstore2");
});

test("under a service manager: kill and rm of what is not there fail harmlessly, SIGTERM ends the container", async () => {
  // ExecStartPre=-/usr/bin/docker kill svc, ExecStartPre=-/usr/bin/docker rm svc, ExecStart=/usr/bin/docker run …
  assert.match(fails("kill", "svc").stderr, /No such container: svc/);
  assert.match(fails("rm", "svc").stderr, /No such container: svc/);
  const start = (): ReturnType<typeof instance.start> =>
    instance.start("docker", [
      "run",
      "--name",
      "svc",
      image,
      "sh",
      "-c",
      "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done",
    ]);
  const first = start();
  await eventually("the service is up", () => first.output().includes("up"));
  // The service manager was killed and starts the unit anew: the pre-steps clear the way.
  instance.docker("kill", "svc");
  assert.equal(await first.exited, 137);
  instance.docker("rm", "svc");
  const second = start();
  await eventually("the service is up again", () => second.output().includes("up"));
  second.signal("SIGTERM");
  assert.equal(await second.exited, 5);
  assert.equal(inspect("{{.State.Status}} {{.State.ExitCode}}", "svc"), "exited 5");
  instance.docker("rm", "svc");
});

test("info warns of missing swap accounting only where it is missing", () => {
  const info = JSON.parse(instance.docker("info", "-f", "{{json .}}")) as {
    CgroupVersion: string;
    SwapLimit: boolean;
    Warnings: string[] | null;
  };
  if (info.CgroupVersion === "1") {
    assert.equal(info.SwapLimit, existsSync("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"));
  }
  const hasWarning = (info.Warnings ?? []).includes("WARNING: No swap limit support");
  assert.equal(hasWarning, !info.SwapLimit);
  assert.equal(instance.run("docker", ["info"]).stderr.includes("No swap limit support"), !info.SwapLimit);
});

test("pods' logs have the names by which collectors know them, until the pod goes", async () => {
  const folder = join(instance.root, "kubelet/containers");
  const links = (): string[] => readdirSync(folder).filter((name) => name.startsWith("talker_"));
  instance.kubectl(
    "run",
    "talker",
    `--image=${image}`,
    "--command",
    "--",
    "sh",
    "-c",
    "echo collected; exec sleep 3600",
  );
  instance.kubectl("wait", "--for=condition=Ready", "pod/talker", "--timeout=60s");
  const id = instance.kubectl("get", "pod", "talker", "-o", "jsonpath={.status.containerStatuses[0].containerID}");
  assert.deepEqual(links(), [`talker_default_talker-${id.replace(/^\w+:\/\//, "")}.log`]);
  const link = join(folder, links()[0] as string);
  assert.ok(lstatSync(link).isSymbolicLink());
  assert.match(readlinkSync(link), /\/pod-logs\/default_talker_[0-9a-f-]{36}\/talker\/0\.log$/);
  // The CRI format, which collectors parse.
  await eventually("the line is in the log", () =>
    /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d) stdout F collected$/m.test(readFileSync(link, "utf8")),
  );
  instance.kubectl("delete", "pod", "talker", "--grace-period=1");
  await eventually("the link goes with the pod", () => links().length === 0, 30_000);
});

test("what has no effect is warned of, and what cannot be had is refused in docker's words", () => {
  const create = (...options: string[]): Outcome =>
    instance.run("docker", ["create", "--rm", ...options, image, "true"]);
  const warns = (expected: RegExp, ...options: string[]): void => {
    const { status, stdout, stderr } = create(...options);
    assert.equal(status, 0, stderr);
    assert.match(stderr, expected);
    instance.docker("rm", stdout.trim());
  };
  if (existsSync("/sys/fs/selinux/enforce")) {
    warns(/^WARNING: Mount option "z" has no effect/m, "-v", "/tmp:/t:z");
    warns(/^WARNING: Mount option "Z" has no effect/m, "-v", "/tmp:/t:ro,Z");
  }
  warns(/^WARNING: Security option "label=type:x_t" has no effect/m, "--security-opt", "label=type:x_t");
  if (!existsSync("/sys/kernel/security/apparmor/profiles"))
    warns(/^WARNING: Security option "apparmor=mine" has no effect/m, "--security-opt", "apparmor=mine");
  const log = (...pairs: string[]): string[] => pairs.flatMap((pair) => ["--log-opt", pair]);
  warns(/^WARNING: Log option "mode" and "max-buffer-size" has/m, ...log("mode=non-blocking", "max-buffer-size=1m"));

  const isQuiet = (...options: string[]): void => warns(/^$/, ...options);
  isQuiet("-v", "/tmp:/t:cached", "--mount", "type=bind,src=/tmp,dst=/u,consistency=delegated");
  isQuiet("-v", "/tmp:/t:ro", "--security-opt", "label=disable", "--security-opt", "apparmor=unconfined");
  isQuiet(...log("max-size=1m", "max-file=2", "compress=true", "labels=a", "env=B", "tag={{.Name}}"));
  isQuiet(...log("mode=blocking", "compress=false"), "--userns", "host", "-v", "/tmp:/t:consistent");

  const refuses = (expected: RegExp, ...options: string[]): void => {
    const { status, stderr } = create(...options);
    assert.notEqual(status, 0);
    assert.match(stderr, expected);
  };
  refuses(/bad label option "colour:red"/, "--security-opt", "label=colour:red");
  refuses(/logger: logging mode not supported: eager/, ...log("mode=eager"));
  refuses(/max-buffer-size option is only supported with 'mode=non-blocking'/, ...log("max-buffer-size=1m"));
  refuses(/invalid USER mode|invalid.*userns/i, "--userns", "keep-id");
});

test("a user that is not root may open low ports, and ping, in a network of the container's own", async () => {
  const sysctls = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range";
  const own = instance.docker("run", "--rm", "-u", "1000", "--cap-drop", "ALL", "gantry/hello", "sh", "-c", sysctls);
  assert.match(own, /^0\n0\s+2147483647\n$/);
  const bind = ["sh", "-c", "httpd -p 80 -h /www && wget -qO- http://127.0.0.1/"];
  const page = instance.docker("run", "--rm", "-u", "1000", "--cap-drop", "ALL", "gantry/hello", ...bind);
  assert.match(page, /Hello from Gantry/);
  const set = ["--sysctl", "net.ipv4.ip_unprivileged_port_start=99"];
  assert.match(instance.docker("run", "--rm", ...set, "gantry/hello", "sh", "-c", sysctls), /^99\n/);
});

test("links on a user-defined network name the other container, for the one that asked only", () => {
  instance.docker("network", "create", "linked");
  instance.docker("run", "-d", "--name", "db", "--network", "linked", image, "sleep", "3600");
  const lookUp = ["sh", "-c", "ping -c1 -W2 database >/dev/null && echo found"];
  const run = (...options: string[]): Outcome =>
    instance.run("docker", ["run", "--rm", "--network", "linked", ...options, image, ...lookUp]);
  assert.equal(run("--link", "db:database").stdout, "found\n");
  assert.notEqual(run().status, 0);
  instance.docker("run", "-d", "--name", "late", image, "sleep", "3600");
  instance.docker("network", "connect", "--link", "db:database", "linked", "late");
  assert.equal(instance.docker("exec", "late", ...lookUp), "found\n");
  instance.docker("rm", "-f", "late", "db");
  instance.docker("network", "rm", "linked");
});

test("--init puts a reaper before the program, which passes signals on", () => {
  const orphan = "(sleep 0.2 &) ; sleep 1; ps -o pid,stat,comm | grep -c ' Z ' ; cat /proc/1/comm";
  const output = instance.docker("run", "--rm", "--init", image, "sh", "-c", orphan);
  assert.match(output, /^0\n(docker-init|tini)/);
  instance.docker("run", "-d", "--init", "--name", "inited", image, "sleep", "3600");
  instance.docker("stop", "-t", "20", "inited");
  // Without an init, a first process that has no handler would ignore SIGTERM until SIGKILL ends it.
  assert.equal(inspect("{{.State.ExitCode}}", "inited"), "143");
  instance.docker("rm", "inited");
  assert.match(instance.docker("info", "-f", "{{.InitBinary}}"), /tini|docker-init|catatonit/);
});

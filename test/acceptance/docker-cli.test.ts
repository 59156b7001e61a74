import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestInstance, eventually, get } from "./instance.ts";

const instance = new TestInstance(`docker-${process.pid}`);
const port = 20000 + (process.pid % 5000);

before(() => instance.up());
after(() => instance.reset());

test("run prints, exits with the program's status, and leaves nothing with --rm", () => {
  assert.equal(instance.docker("run", "--rm", "gantry/hello", "echo", "hi"), "hi\n");
  assert.equal(instance.run("docker", ["run", "--rm", "gantry/hello", "sh", "-c", "exit 7"]).status, 7);
  assert.equal(instance.run("docker", ["run", "--rm", "gantry/hello", "nope"]).status, 127);
  assert.equal(instance.run("docker", ["run", "--rm", "gantry/hello", "/etc"]).status, 126);
  assert.equal(instance.run("docker", ["run", "--rm", "--memory", "1", "gantry/hello", "true"]).status, 125);
  assert.equal(instance.docker("ps", "-aq"), "");
});

test("stdin, environment, user, folder and entrypoint are what was asked", () => {
  assert.equal(
    instance.ok("docker", ["run", "--rm", "-i", "gantry/hello", "cat"], { input: "from stdin\n" }),
    "from stdin\n",
  );
  const output = instance.docker(
    "run",
    "--rm",
    "-e",
    "A=b",
    "-u",
    "1000:1001",
    "-w",
    "/tmp",
    "--entrypoint",
    "sh",
    "gantry/hello",
    "-c",
    "echo $A $(id -u):$(id -g) $PWD",
  );
  assert.equal(output, "b 1000:1001 /tmp\n");
});

test("a published port answers on loopback and on the machine's address, also after a SIGKILL of the node process", async () => {
  instance.docker("run", "-d", "-p", `${port}:80`, "--name", "web", "gantry/hello");
  const check = async (): Promise<void> => {
    assert.match(await get(`http://127.0.0.1:${port}/`), /Hello from Gantry/);
    for (const address of instance.status().addresses.machine)
      assert.match(await get(`http://${address}:${port}/`), /Hello from Gantry/);
  };
  await check();
  const before_ = instance.docker("inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}}", "web");
  process.kill(instance.pid("node"), "SIGKILL");
  await check();
  instance.up();
  await check();
  assert.equal(instance.docker("inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}}", "web"), before_);
  assert.match(instance.docker("exec", "web", "hostname"), /^[0-9a-f]{12}$/m);
});

test("exec has a terminal, exit codes and options", () => {
  const tty = instance.ok("script", [
    "-qec",
    "docker exec -it web sh -c 'test -t 0 && echo terminal; stty size'",
    "/dev/null",
  ]);
  assert.match(tty, /terminal/);
  assert.equal(instance.run("docker", ["exec", "web", "sh", "-c", "exit 9"]).status, 9);
  assert.equal(
    instance.docker("exec", "-e", "X=1", "-w", "/tmp", "-u", "65534", "web", "sh", "-c", "echo $X $PWD $(id -u)"),
    "1 /tmp 65534\n",
  );
  assert.equal(instance.run("docker", ["exec", "web", "nope"]).status, 127);
});

test("logs follow, count from the end and show times", async () => {
  instance.docker(
    "run",
    "-d",
    "--name",
    "chatty",
    "gantry/hello",
    "sh",
    "-c",
    "for i in 1 2 3; do echo line $i; done; sleep 1; echo end",
  );
  const follow = instance.start("docker", ["logs", "-f", "chatty"]);
  assert.equal(await follow.exited, 0);
  assert.equal(follow.output(), "line 1\nline 2\nline 3\nend\n");
  assert.equal(instance.docker("logs", "--tail", "2", "chatty"), "line 3\nend\n");
  assert.match(instance.docker("logs", "-t", "chatty"), /^\d{4}-\d\d-\d\dT[\d:.]+Z line 1$/m);
  instance.docker("rm", "chatty");
});

test("stop, start, rename, top, wait, kill, inspect and rm do what they say", () => {
  instance.docker("rename", "web", "web2");
  assert.match(instance.docker("top", "web2"), /httpd/);
  instance.docker("stop", "web2");
  assert.equal(instance.docker("inspect", "-f", "{{.State.Status}}", "web2"), "exited\n");
  instance.docker("start", "web2");
  instance.docker("kill", "web2");
  assert.equal(instance.docker("wait", "web2"), "137\n");
  instance.docker("rm", "web2");
  assert.match(instance.run("docker", ["inspect", "web2"]).stderr, /No such object: web2/);
});

test("volumes and binds show the same files", () => {
  writeFileSync(join(instance.folder, "file"), "bound\n");
  assert.equal(
    instance.docker("run", "--rm", "-v", `${instance.folder}:/data:ro`, "gantry/hello", "cat", "/data/file"),
    "bound\n",
  );
  instance.docker("run", "--rm", "-v", "vol:/v", "gantry/hello", "sh", "-c", "echo kept > /v/f");
  assert.equal(instance.docker("run", "--rm", "-v", "vol:/v", "gantry/hello", "cat", "/v/f"), "kept\n");
  instance.docker("volume", "rm", "vol");
});

test("host and no network, limits", () => {
  assert.equal(
    instance.docker("run", "--rm", "--network", "none", "gantry/hello", "sh", "-c", "ls /sys/class/net"),
    "lo\n",
  );
  assert.match(
    instance.docker("run", "--rm", "--network", "host", "gantry/hello", "sh", "-c", "ls /sys/class/net"),
    /gt\d+/,
  );
  const limits = instance.docker(
    "run",
    "--rm",
    "-m",
    "64m",
    "--cpus",
    "0.5",
    "gantry/hello",
    "sh",
    "-c",
    "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max",
  );
  assert.match(limits, /^67108864\n50000/);
});

test("images are saved, loaded, tagged, committed, imported and removed", () => {
  instance.docker("tag", "gantry/hello", "mine:1");
  instance.docker("save", "-o", "mine.tar", "mine:1");
  instance.docker("rmi", "mine:1");
  assert.match(instance.docker("load", "-i", "mine.tar"), /Loaded image: mine:1/);
  instance.docker("run", "--name", "changed", "gantry/hello", "sh", "-c", "echo new > /new");
  instance.docker("commit", "-m", "message", "changed", "mine:2");
  assert.equal(instance.docker("run", "--rm", "mine:2", "cat", "/new"), "new\n");
  assert.match(instance.docker("history", "mine:2"), /message/);
  instance.docker("export", "-o", "fs.tar", "changed");
  instance.docker("import", "fs.tar", "mine:3");
  assert.equal(instance.docker("run", "--rm", "mine:3", "/bin/cat", "/new"), "new\n");
  instance.docker("rm", "changed");
  instance.docker("rmi", "mine:1", "mine:2", "mine:3");
});

test("events tell what happened", async () => {
  const events = instance.start("docker", ["events", "--format", "{{.Type}} {{.Action}}"]);
  await new Promise((resolve) => setTimeout(resolve, 300));
  instance.docker("run", "--rm", "gantry/hello", "true");
  await eventually("the events have come", () => /container destroy/.test(events.output()), 10_000);
  await events.stop();
  for (const event of ["container create", "network connect", "container start", "container die", "container destroy"])
    assert.match(events.output(), new RegExp(event));
});

test("version and info know what they are", () => {
  assert.match(instance.docker("version"), /API version:\s+1\.51/);
  assert.match(instance.docker("info"), /Storage Driver: overlay2/);
});

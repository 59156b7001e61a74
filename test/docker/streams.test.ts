import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { busyboxTar } from "./busybox-tar.ts";
import { collect, DockerCli, eventually, sees } from "./docker-cli.ts";
import { startDaemon, type TestDaemon } from "./daemon.ts";

let daemon: TestDaemon;
let cli: DockerCli;
const none = ["--network", "none"];

before(async () => {
  daemon = await startDaemon(5);
  cli = new DockerCli(daemon.host);
  busyboxTar(join(cli.folder, "bb.tar"));
  await cli.ok("import", join(cli.folder, "bb.tar"), "bb:1");
});
after(async () => {
  const left = (await cli.ok("ps", "-aq")).split("\n").filter((id) => id !== "");
  if (left.length > 0) await cli.run(["rm", "-f", ...left]);
  cli.dispose();
  await daemon.stop();
});

test("a terminal: run -it shows a prompt, echoes, knows its size and exits with the shell's code", async () => {
  const child = cli.startShell(
    `stty rows 33 cols 99 2>/dev/null; script -qec 'stty rows 33 cols 99; docker run -it --rm --network none bb:1 sh' /dev/null`,
  );
  await sees(child, "/ # ");
  child.stdin.write("stty size; exit 5\n");
  let text = "";
  child.stdout.on("data", (chunk) => (text += String(chunk)));
  const code = await new Promise((resolve) => child.on("close", resolve));
  assert.equal(code, 5, text);
  assert.match(text, /33 99/);
});

test("exec -it gets a terminal of its own", async () => {
  await cli.ok("run", "-d", "--name", "t1", ...none, "bb:1", "sleep", "100");
  const child = cli.startShell("script -qec 'docker exec -it t1 sh' /dev/null");
  await sees(child, "/ # ");
  child.stdin.write("test -t 0 && echo yes-tty; exit 6\n");
  await sees(child, "\nyes-tty");
  assert.equal(await new Promise((resolve) => child.on("close", resolve)), 6);
  await cli.ok("rm", "-f", "t1");
});

test("stdin is passed on in full and its end is seen", async () => {
  const big = Buffer.alloc(3_000_000, "abcdefghij\n");
  const done = await cli.run(["run", "-i", "--rm", ...none, "bb:1", "wc", "-c"], big);
  assert.equal(done.out.trim(), String(big.length), done.err);
});

test("output of both streams comes in full, however much", async () => {
  const line = "i=0; while [ $i -lt 20000 ]; do echo out-$i; echo err-$i >&2; i=$((i+1)); done";
  const done = await cli.run(["run", "--rm", ...none, "bb:1", "sh", "-c", line]);
  const expected = (name: string): string =>
    Array.from({ length: 20_000 }, (_, index) => `${name}-${index}\n`).join("");
  assert.equal(done.out, expected("out"));
  assert.equal(done.err, expected("err"));
});

test("detaching with ctrl-p ctrl-q leaves the container running, attach comes back", async () => {
  const child = cli.startShell("script -qec 'docker run -it --name d1 --network none bb:1 sh' /dev/null");
  await sees(child, "/ # ");
  child.stdin.write("\u0010\u0011");
  assert.equal(await new Promise((resolve) => child.on("close", resolve)), 0);
  assert.equal(await cli.ok("inspect", "-f", "{{.State.Running}}", "d1"), "true");
  const again = cli.startShell("script -qec 'docker attach d1' /dev/null");
  setTimeout(() => again.stdin.write("echo back-$((6*7)); exit 3\n"), 300);
  await sees(again, "back-42");
  assert.equal(await new Promise((resolve) => again.on("close", resolve)), 3);
  await cli.ok("rm", "d1");
});

test("attach without a terminal sees what comes from now on, and its signals go to the process", async () => {
  const loop = "trap 'echo got-term; exit 4' TERM; i=0; while :; do echo tick-$i; i=$((i+1)); sleep 0.1; done";
  await cli.ok("run", "-d", "--name", "a1", ...none, "bb:1", "sh", "-c", loop);
  const child = cli.start("attach", "a1");
  await sees(child, /tick-\d+/);
  child.kill("SIGTERM");
  await sees(child, "got-term");
  assert.equal(await new Promise((resolve) => child.on("close", resolve)), 4);
  await cli.ok("rm", "a1");
});

test("start -ai joins a created container from its first byte", async () => {
  await cli.ok("create", "-i", "--name", "s1", ...none, "bb:1", "cat");
  const done = await cli.run(["start", "-ai", "s1"], "through\n");
  assert.equal(done.out, "through\n");
  assert.equal(done.code, 0);
  await cli.ok("rm", "s1");
});

test("logs --details shows what the log options choose, and a line that came in pieces is one", async () => {
  const options = ["labels=a", "env-regex=^FO", "tag={{.Name}}", "max-size=1m", "max-file=2", "compress=true"];
  const chosen = options.flatMap((option) => ["--log-opt", option]);
  const script = "printf on; sleep 0.1; printf e; echo err >&2; sleep 0.1; echo; printf end";
  await cli.ok(
    "run",
    "--name",
    "d1",
    ...none,
    "-l",
    "a=x y",
    "-e",
    "FOO=&",
    "-e",
    "BAR=no",
    ...chosen,
    "bb:1",
    "sh",
    "-c",
    script,
  );
  const details = "FOO=%26,a=x+y,tag=d1 ";
  const { out, err } = await cli.run(["logs", "--details", "d1"]);
  assert.deepEqual([out, err], [`${details}one\n${details}end`, `${details}err\n`]);
  const stamped = await cli.ok("logs", "-t", "d1");
  assert.match(stamped, /^\S+Z one\n\S+Z end$/);
  assert.equal(await cli.ok("logs", "--tail", "2", "d1"), "one\nend");
  const refused = await cli.run(["run", "--network", "none", "--log-opt", "max-size=zz", "bb:1", "true"]);
  assert.equal(refused.code, 125);
  assert.match(refused.err, /failed to initialize logging driver: invalid size: 'zz'/);
});

test("logs -f follows until the container ends, --since and -t choose and stamp", async () => {
  const slow = "for i in 1 2 3; do echo line-$i; sleep 0.3; done";
  await cli.ok("run", "-d", "--name", "l1", ...none, "bb:1", "sh", "-c", slow);
  const followed = await collect(cli.start("logs", "-f", "l1"));
  assert.equal(followed.out, "line-1\nline-2\nline-3\n");
  const stamped = await cli.ok("logs", "-t", "l1");
  const times = stamped.split("\n").map((line) => line.split(" ")[0] as string);
  assert.ok(
    times.every((time) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/.test(time)),
    stamped,
  );
  assert.equal(await cli.ok("logs", "--since", times[2] as string, "l1"), "line-3");
  assert.equal(await cli.ok("logs", "--until", times[0] as string, "l1"), "line-1");
  await cli.ok("rm", "l1");
});

test("wait returns the code when it comes, to several waiters", async () => {
  await cli.ok("run", "-d", "--name", "w1", ...none, "bb:1", "sh", "-c", "sleep 0.5; exit 11");
  const [first, second] = await Promise.all([cli.ok("wait", "w1"), cli.ok("wait", "w1")]);
  assert.deepEqual([first, second], ["11", "11"]);
  await cli.ok("rm", "w1");
});

test("events come as they happen, in order, and --filter chooses", async () => {
  const child = cli.start("events", "--filter", "type=container", "--format", "{{.Action}}");
  await new Promise((resolve) => setTimeout(resolve, 300));
  await cli.ok("run", "--rm", "--name", "e1", ...none, "bb:1", "true");
  const text = await sees(child, "destroy");
  child.kill();
  assert.deepEqual(text.trim().split("\n"), ["create", "attach", "start", "die", "destroy"]);
});

test("stats stream one reading after another", async () => {
  await cli.ok("run", "-d", "--name", "st1", ...none, "bb:1", "sleep", "100");
  const child = cli.start("stats", "--format", "{{.Name}} {{.MemUsage}}", "st1");
  const text = await sees(child, /(st1.*){2}/s, 20_000);
  child.kill();
  assert.match(text, /st1 [\d.]+[KM]iB \/ /);
  await cli.ok("rm", "-f", "st1");
});

test("a client that is killed leaves no stream behind, and the container goes on", async () => {
  await cli.ok("run", "-d", "--name", "k1", ...none, "bb:1", "sh", "-c", "while :; do echo x; sleep 0.05; done");
  for (let turn = 0; turn < 5; turn++) {
    const child = cli.start("logs", "-f", "k1");
    await sees(child, "x");
    child.kill("SIGKILL");
  }
  assert.equal(await cli.ok("inspect", "-f", "{{.State.Running}}", "k1"), "true");
  await eventually("the daemon has no open request", async () => (daemon.active?.() ?? 0) === 0);
  await cli.ok("rm", "-f", "k1");
});

test("stop sends TERM, then KILL after the time, and tells 137", async () => {
  await cli.ok("run", "-d", "--name", "p1", ...none, "bb:1", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done");
  const began = Date.now();
  await cli.ok("stop", "-t", "1", "p1");
  const took = Date.now() - began;
  assert.ok(took >= 900 && took < 5000, `${took} ms`);
  assert.equal(await cli.ok("inspect", "-f", "{{.State.ExitCode}}", "p1"), "137");
  await cli.ok("rm", "p1");
});

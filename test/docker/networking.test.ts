import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { busyboxTar } from "./busybox-tar.ts";
import { startDaemon, type TestDaemon } from "./daemon.ts";
import { DockerCli, eventually } from "./docker-cli.ts";

/** Not as process 1, which signals of its own namespace do not reach. */
const get = "timeout 3 wget -qO-";
let daemon: TestDaemon;
let cli: DockerCli;

before(async () => {
  daemon = await startDaemon(9);
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

/** A web server that answers its own name, on port 80. */
function web(name: string, ...options: string[]): Promise<string> {
  const serve = `mkdir -p /www && echo ${name} > /www/index.html && exec httpd -f -h /www -p 80`;
  return cli.ok("run", "-d", "--name", name, ...options, "bb:1", "sh", "-c", serve);
}

async function page(address: string): Promise<string> {
  const answer = await fetch(`http://${address}/`, { headers: { connection: "close" } });
  return (await answer.text()).trim();
}

test("a published port answers on the loopback and on the machine's address, until the container stops", async () => {
  await web("w1", "-p", "80");
  const port = /:(\d+)/.exec(await cli.ok("port", "w1", "80"))?.[1] as string;
  await eventually("the page answers", async () => (await page(`127.0.0.1:${port}`).catch(() => "")) === "w1");
  const own = Object.values(networkInterfaces())
    .flat()
    .find((entry) => entry?.family === "IPv4" && !entry.internal)?.address;
  if (own !== undefined) assert.equal(await page(`${own}:${port}`), "w1");
  await cli.ok("stop", "-t", "0", "w1");
  await assert.rejects(page(`127.0.0.1:${port}`));
  await cli.ok("start", "w1");
  const again = /:(\d+)/.exec(await cli.ok("port", "w1", "80"))?.[1] as string;
  await eventually("the page answers again", async () => (await page(`127.0.0.1:${again}`).catch(() => "")) === "w1");
  await cli.ok("rm", "-f", "w1");
});

test("a port that is taken is refused in docker's words, and nothing is left of the container's network", async () => {
  await web("w2", "-p", "127.0.0.1:18439:80");
  const refused = await cli.run(["run", "-d", "--name", "w3", "-p", "127.0.0.1:18439:80", "bb:1", "true"]);
  assert.equal(refused.code, 125);
  assert.match(refused.err, /Bind for 127\.0\.0\.1:18439 failed: port is already allocated/);
  assert.equal(await cli.ok("inspect", "-f", "{{.State.Status}}", "w3"), "created");
  await cli.ok("rm", "-f", "w2", "w3");
});

test("containers of a user-defined network find each other by name and alias, others do not", async () => {
  await cli.ok("network", "create", "n1");
  await web("w4", "--network", "n1", "--network-alias", "other");
  const ask = (name: string, ...options: string[]): Promise<{ code: number | null; out: string }> =>
    cli.run(["run", "--rm", ...options, "bb:1", "sh", "-c", `${get} http://${name}/; exit $?`]);
  await eventually("the name answers", async () => (await ask("w4", "--network", "n1")).out === "w4\n");
  assert.equal((await ask("other", "--network", "n1")).out, "w4\n");
  assert.notEqual((await ask("w4")).code, 0);
  const address = await cli.ok("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "w4");
  assert.notEqual((await ask(address)).code, 0, "networks are apart");
  await cli.ok("network", "create", "n2");
  await cli.ok("run", "-d", "--name", "c1", "--network", "n2", "bb:1", "sleep", "100");
  await cli.ok("network", "connect", "n1", "c1");
  assert.equal(await cli.ok("exec", "c1", "timeout", "3", "wget", "-qO-", "http://w4/"), "w4");
  await cli.ok("network", "disconnect", "n1", "c1");
  assert.notEqual((await cli.run(["exec", "c1", "timeout", "3", "wget", "-qO-", "http://w4/"])).code, 0);
  await cli.ok("rm", "-f", "w4", "c1");
  await cli.ok("network", "rm", "n1", "n2");
});

test("a link on a user-defined network is a name in DNS that its owner alone has, also for one that comes later", async () => {
  await cli.ok("network", "create", "ln");
  await cli.ok("run", "-d", "--name", "asker", "--network", "ln", "--link", "late:db", "bb:1", "sleep", "100");
  assert.notEqual((await cli.run(["exec", "asker", "ping", "-c1", "-W1", "db"])).code, 0);
  await cli.ok("run", "-d", "--name", "late", "--network", "ln", "bb:1", "sleep", "100");
  await cli.ok("exec", "asker", "ping", "-c1", "-W2", "db");
  await cli.ok("exec", "asker", "ping", "-c1", "-W2", "db.ln");
  assert.notEqual((await cli.run(["exec", "late", "ping", "-c1", "-W1", "db"])).code, 0);
  // Another container under that name, at another address.
  await cli.ok("rm", "-f", "late");
  await cli.ok("run", "-d", "--name", "late", "--network", "ln", "bb:1", "sleep", "100");
  await cli.ok("exec", "asker", "ping", "-c1", "-W2", "db");
  assert.doesNotMatch(await cli.ok("exec", "asker", "cat", "/etc/hosts"), /\bdb\b/);
  assert.equal(await cli.ok("inspect", "-f", "{{json .HostConfig.Links}}", "asker"), "null");
  await cli.ok("rm", "-f", "asker", "late");
  await cli.ok("network", "rm", "ln");
});

test("a link on the default bridge survives a rename, gives the other a name, and is taken away by rm --link", async () => {
  const refused = await cli.run(["create", "--link", "nobody:db", "bb:1", "true"]);
  assert.match(refused.err, /could not get container for nobody: No such container: nobody/);
  await cli.ok("run", "-d", "--name", "db1", "bb:1", "sleep", "100");
  await cli.ok("run", "-d", "--name", "user", "--link", "db1:db", "bb:1", "sleep", "100");
  await cli.ok("rename", "db1", "db2");
  assert.equal(await cli.ok("inspect", "-f", "{{json .HostConfig.Links}}", "user"), '["/db2:/user/db"]');
  assert.equal(await cli.ok("inspect", "-f", "{{.Name}}", "user/db"), "/db2");
  assert.equal(await cli.ok("ps", "--no-trunc", "--filter", "name=db2", "--format", "{{.Names}}"), "db2,user/db");
  await cli.ok("restart", "-t0", "user");
  await cli.ok("exec", "user", "ping", "-c1", "-W2", "db");
  assert.match(await cli.ok("exec", "user", "env"), /^DB_NAME=\/user\/db$/m);
  await cli.ok("rm", "--link", "user/db");
  assert.equal(await cli.ok("inspect", "-f", "{{json .HostConfig.Links}}", "user"), "null");
  await cli.ok("rm", "-f", "user", "db2");
});

test("--network container: shares the addresses, host has the machine's, none has only the loopback", async () => {
  await web("w5");
  assert.equal(
    await cli.ok("run", "--rm", "--network", "container:w5", "bb:1", "wget", "-qO-", "http://127.0.0.1/"),
    "w5",
  );
  const links = async (...options: string[]): Promise<string> =>
    cli.ok("run", "--rm", ...options, "bb:1", "sh", "-c", "ls /sys/class/net | tr '\\n' ' '");
  assert.equal(await links("--network", "none"), "lo");
  assert.match(await links(), /eth0.*lo/);
  assert.match(await links("--network", "host"), /lo/);
  await cli.ok("rm", "-f", "w5");
});

test("the hosts file names the container, and a published port is reached from another container", async () => {
  await web("w6", "-p", "18440:80", "-h", "named");
  assert.match(await cli.ok("exec", "w6", "cat", "/etc/hosts"), /\tnamed$/m);
  const gateway = await cli.ok("inspect", "-f", "{{.NetworkSettings.Networks.bridge.Gateway}}", "w6");
  await eventually("the hairpin works", async () => {
    const done = await cli.run(["run", "--rm", "bb:1", "sh", "-c", `${get} http://${gateway}:18440/; exit $?`]);
    return done.out === "w6\n";
  });
  await cli.ok("rm", "-f", "w6");
});

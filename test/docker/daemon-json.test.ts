import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createCertificateAuthority, issueCertificate } from "#web/tls.ts";
import { TestInstance, eventually, machineState, projectRoot } from "../acceptance/instance.ts";

const instance = new TestInstance(`djson-${process.pid}`);
const file = join(instance.folder, "daemon.json");
const dataRoot = join(instance.folder, "containers");
const certificates = join(instance.folder, "certificates");
const extraSocket = join(instance.folder, "extra.sock");
const isolated = { bip: "10.243.17.5/24", pool: { base: "10.243.64.0/18", size: 27 } };
let stateBefore: ReturnType<typeof machineState>;
let registry: ChildProcess;
let registryPort = 0;
let tlsPort = 0;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function startRegistry(): Promise<void> {
  registryPort = await freePort();
  const config = join(instance.folder, "registry.yml");
  const storage = `{ filesystem: { rootdirectory: ${join(instance.folder, "registry")} } }`;
  writeFileSync(
    config,
    `version: 0.1\nlog: { level: error }\nstorage: ${storage}\nhttp:\n  addr: 127.0.0.1:${registryPort}\n`,
  );
  registry = spawn("docker-registry", ["serve", config], { stdio: "ignore" });
  for (let tries = 0; tries < 100; tries++) {
    if (
      await fetch(`http://127.0.0.1:${registryPort}/v2/`).then(
        (answer) => answer.ok,
        () => false,
      )
    )
      return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("docker-registry did not start");
}

/** Writes the server's certificates, and a client's folder as docker's `--tlsverify` wants it, by an authority. */
async function writeCertificates(client: string, withServer: boolean): Promise<void> {
  const authority = await createCertificateAuthority({ commonName: `${client} authority`, days: 1 });
  const folder = join(certificates, client);
  mkdirSync(folder, { recursive: true });
  const write = (name: string, text: string): void => writeFileSync(join(folder, `${name}.pem`), text);
  const pair = await issueCertificate(authority, { commonName: client, usages: ["client"], days: 1 });
  write("ca", authority.certPem);
  write("cert", pair.certPem);
  write("key", pair.keyPem);
  if (!withServer) return;
  const server = await issueCertificate(authority, {
    commonName: "docker",
    ipAddresses: ["127.0.0.1"],
    usages: ["server"],
    days: 1,
  });
  write("server-cert", server.certPem);
  write("server-key", server.keyPem);
}

let settings: Record<string, unknown> = {};
const save = (changes: Record<string, unknown>): void => {
  settings = { ...settings, ...changes };
  writeFileSync(file, JSON.stringify(settings, null, 2));
};

const failedUp = (...args: string[]): string => {
  const up = ["up", "--no-demo", "--no-switch", "--name", instance.name, "--root", instance.root];
  const { status, stderr } = instance.run(join(projectRoot, "gantry"), [...up, ...args]);
  assert.notEqual(status, 0);
  return stderr;
};

before(async () => {
  stateBefore = machineState();
  tlsPort = await freePort();
  await Promise.all([startRegistry(), writeCertificates("friend", true), writeCertificates("stranger", false)]);
});
after(async () => {
  instance.reset();
  registry.kill("SIGKILL");
});

test("up refuses a file that cannot be used, in dockerd's words, and starts nothing", () => {
  writeFileSync(file, '{"debug": true,}');
  assert.match(
    failedUp("--config-file", file),
    new RegExp(`unable to configure the Docker daemon with file ${file}: invalid character '}' looking for`),
  );
  writeFileSync(file, '{"storage": "x"}');
  assert.match(
    failedUp("--config-file", file),
    /the following directives don't match any configuration option: storage/,
  );
  writeFileSync(file, '{"hosts": ["tcp://127.0.0.1:2375"]}');
  assert.match(failedUp("--config-file", file), /tcp:\/\/127\.0\.0\.1:2375 needs "tlsverify": true/);
  writeFileSync(file, '{"bip": "10.64.0.1/8"}');
  assert.match(failedUp("--config-file", file), /bip: 10\.0\.0\.0\/8 overlaps the pods' addresses 10\./);
  assert.match(failedUp("--config-file", `${file}.absent`), /no such file or directory/);
  assert.equal(existsSync(`/run/gantry/${instance.name}/docker.sock`), false);
});

test("up with a configuration file: info shows its values", () => {
  save({
    "data-root": dataRoot,
    bip: isolated.bip,
    "default-address-pools": [isolated.pool],
    "registry-mirrors": [`http://127.0.0.1:${registryPort}`],
    "insecure-registries": ["registry.invalid:5000", "10.9.0.0/16"],
    dns: ["10.9.9.9"],
    "dns-search": ["corp.example"],
    "dns-opts": ["ndots:3"],
    "log-driver": "local",
    "log-opts": { "max-size": "5m" },
    "default-ulimits": { nofile: { Name: "nofile", Soft: 333, Hard: 444 } },
    "default-shm-size": "32M",
    labels: ["zone=a"],
    debug: true,
    hosts: [`tcp://127.0.0.1:${tlsPort}`, `unix://${extraSocket}`],
    tlsverify: true,
    tlscacert: join(certificates, "friend/ca.pem"),
    tlscert: join(certificates, "friend/server-cert.pem"),
    tlskey: join(certificates, "friend/server-key.pem"),
  });
  instance.up("--config-file", file);
  const info = JSON.parse(instance.docker("info", "--format", "{{json .}}")) as Record<string, unknown>;
  assert.deepEqual(info["Labels"], ["zone=a"]);
  assert.equal(info["Debug"], true);
  assert.equal(info["DockerRootDir"], dataRoot);
  assert.equal(info["LoggingDriver"], "local");
  assert.equal(info["LiveRestoreEnabled"], true);
  assert.deepEqual(info["DefaultAddressPools"], [{ Base: "10.243.64.0/18", Size: 27 }]);
  const config = info["RegistryConfig"] as {
    Mirrors: string[];
    InsecureRegistryCIDRs: string[];
    IndexConfigs: Record<string, { Secure: boolean }>;
  };
  assert.deepEqual(config.Mirrors, [`http://127.0.0.1:${registryPort}/`]);
  assert.ok(config.InsecureRegistryCIDRs.includes("10.9.0.0/16"));
  assert.equal(config.IndexConfigs["registry.invalid:5000"]?.Secure, false);
  assert.ok(statSync(join(dataRoot, "containers")).isDirectory());
  assert.match(instance.gantry("env"), new RegExp(`unix:///run/gantry/${instance.name}/docker.sock`));
});

test("containers have the bridge, the names, the limits and the log driver of the file", () => {
  const shell = "ip -4 -o addr show eth0; ip route; cat /etc/resolv.conf; ulimit -n; ulimit -Hn; df -k /dev/shm";
  const output = instance.docker("run", "--name", "values", "gantry/hello", "sh", "-c", shell);
  assert.match(output, /inet 10\.243\.17\.1\/24/);
  assert.match(output, /default via 10\.243\.17\.5 /);
  assert.match(output, /nameserver 10\.9\.9\.9/);
  assert.match(output, /search corp\.example/);
  assert.match(output, /options ndots:3/);
  assert.match(output, /\n333\n444\n/);
  assert.match(output, /32768 /);
  const log = instance.docker("inspect", "values", "--format", "{{json .HostConfig.LogConfig}}");
  assert.deepEqual(JSON.parse(log), { Type: "local", Config: { "max-size": "5m" } });
  assert.ok(readdirSync(join(dataRoot, "containers")).length > 0);
  instance.docker("rm", "values");
});

test("networks without a subnet take theirs from the pools", () => {
  instance.docker("network", "create", "first");
  instance.docker("network", "create", "second");
  const subnets = instance.docker(
    "network",
    "inspect",
    "first",
    "second",
    "--format",
    "{{(index .IPAM.Config 0).Subnet}}",
  );
  assert.deepEqual(subnets.trim().split("\n"), ["10.243.64.0/27", "10.243.64.32/27"]);
  instance.docker("network", "rm", "first", "second");
});

test("a pull of docker.io comes from the mirror", () => {
  const mirrored = `127.0.0.1:${registryPort}/library/mirrored:1`;
  instance.docker("tag", "gantry/hello", mirrored);
  instance.docker("push", mirrored);
  instance.docker("rmi", mirrored);
  assert.match(instance.docker("pull", "mirrored:1"), /Status: Downloaded newer image for mirrored:1/);
  assert.equal(instance.docker("run", "--rm", "mirrored:1", "echo", "hi"), "hi\n");
});

test("the API is served over TCP to holders of a certificate, and to nobody else", async () => {
  const tls = (client: string, ...args: string[]): { status: number; stdout: string; stderr: string } => {
    const name = (key: string, from = client): string => join(certificates, from, `${key}.pem`);
    const files = ["--tlscacert", name("ca", "friend"), "--tlscert", name("cert"), "--tlskey", name("key")];
    return instance.run("docker", ["--tlsverify", ...files, "-H", `tcp://127.0.0.1:${tlsPort}`, ...args], {
      input: "over TLS\n",
      timeoutMs: 30_000,
    });
  };
  const friend = tls("friend", "run", "--rm", "-i", "gantry/hello", "cat");
  assert.deepEqual(friend, { status: 0, stdout: "over TLS\n", stderr: "" });
  const stranger = tls("stranger", "version");
  assert.notEqual(stranger.status, 0);
  assert.doesNotMatch(stranger.stdout, /Server/);
  await assert.rejects(fetch(`http://127.0.0.1:${tlsPort}/_ping`));
  const plain = await new Promise<string>((resolve) => {
    const socket = connect(tlsPort, "127.0.0.1", () => socket.write("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"));
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
  });
  assert.doesNotMatch(plain, /OK/);
  assert.equal(instance.ok("docker", ["-H", `unix://${extraSocket}`, "ps", "-q"]), "");
});

test("SIGHUP reloads what dockerd reloads, and tells it; the rest waits; a broken file changes nothing", async () => {
  const pid = Number(readFileSync(`/run/gantry/${instance.name}/gantry.pid`, "utf8"));
  assert.equal(pid, instance.pid("node"));
  const labels = (): string => instance.docker("info", "--format", "{{json .Labels}} {{.Debug}}").trim();
  const since = Math.floor(Date.now() / 1000);
  save({ labels: ["zone=b"], debug: false, mtu: 1400 });
  process.kill(pid, "SIGHUP");
  await eventually("the reload", () => labels() === '["zone=b"] false');
  await eventually("the event", () =>
    /daemon reload .*labels=\["zone=b"\]/.test(
      instance.docker("events", "--since", `${since}`, "--until", "0s", "--filter", "type=daemon"),
    ),
  );
  const log = (): string => readFileSync(join(instance.root, "logs/node.log"), "utf8");
  assert.match(log(), /come in force with .*"keys":\["mtu"\]/);
  writeFileSync(file, "{");
  process.kill(pid, "SIGHUP");
  await eventually("the complaint", () => /was not reloaded.*unexpected end of JSON input/.test(log()));
  assert.equal(labels(), '["zone=b"] false');
});

test("the file is remembered; containers live on without Gantry, or not, as live-restore says", () => {
  save({ "live-restore": true, bip: isolated.bip });
  instance.docker("run", "-d", "--stop-timeout", "1", "--name", "steady", "gantry/hello", "sleep", "3600");
  const startedAt = (): string => instance.docker("inspect", "steady", "--format", "{{.State.StartedAt}}");
  const before = startedAt();
  instance.gantry("down", "--keep-containers");
  instance.up();
  assert.equal(startedAt(), before);
  assert.match(instance.docker("network", "inspect", "bridge"), /"com\.docker\.network\.driver\.mtu": "1400"/);
  instance.gantry("down", "--keep-containers");
  save({ "live-restore": false });
  instance.up();
  instance.gantry("down", "--keep-containers");
  save({ bip: "10.243.18.1/24" });
  instance.up();
  assert.equal(instance.docker("info", "--format", "{{.LiveRestoreEnabled}}").trim(), "false");
  assert.equal(instance.docker("inspect", "steady", "--format", "{{.State.Status}}").trim(), "exited");
  assert.match(instance.docker("run", "--rm", "gantry/hello", "ip", "-4", "-o", "addr"), /inet 10\.243\.18\.2\/24/);
});

test("the default bridge has the range, the second family, the isolation and the published address of the file", async () => {
  instance.gantry("down");
  save({
    bip: isolated.bip,
    "fixed-cidr": "10.243.17.128/25",
    ipv6: true,
    "fixed-cidr-v6": "fd00:243:17::/64",
    icc: false,
    ip: "127.0.0.1",
    "shutdown-timeout": 1,
    "default-ipc-mode": "shareable",
  });
  instance.up();
  const port = await freePort();
  const serve = "mkdir /w; echo served > /w/index.html; httpd -p 80 -h /w; sleep 3600";
  instance.docker("run", "-d", "--name", "server", "-p", `${port}:80`, "gantry/hello", "sh", "-c", serve);
  const format = "{{.NetworkSettings.IPAddress}} {{.NetworkSettings.GlobalIPv6Address}} {{.HostConfig.IpcMode}}";
  assert.equal(
    instance.docker("inspect", "server", "--format", format).trim(),
    "10.243.17.128 fd00:243:17::2 shareable",
  );
  assert.equal(instance.docker("port", "server").trim(), `80/tcp -> 127.0.0.1:${port}`);
  const page = await fetch(`http://127.0.0.1:${port}/`).then((answer) => answer.text());
  assert.equal(page, "served\n");
  const ask = ["wget", "-q", "-T", "2", "-O", "-", "http://10.243.17.128/"];
  const neighbour = instance.run("docker", ["run", "--rm", "gantry/hello", ...ask]);
  assert.notEqual(neighbour.status, 0);
  const before = performance.now();
  instance.gantry("down");
  assert.ok(performance.now() - before < 5_000, "shutdown-timeout is what containers get");
  instance.up();
});

test("install-service prints a unit that starts this instance and leaves containers alone", () => {
  const unit = instance.gantry("install-service");
  assert.match(unit, new RegExp(`ExecStart=${projectRoot}/gantry up --no-demo --no-switch --name ${instance.name} `));
  assert.match(unit, /KillMode=process/);
  assert.match(unit, /ExecReload=.*HUP \$MAINPID/);
  assert.match(unit, new RegExp(`PIDFile=/run/gantry/${instance.name}/gantry.pid`));
  assert.match(unit, /After=network-online\.target/);
});

test("reset takes the data root, the bridge and all routes with it", () => {
  instance.gantry("reset", "--yes");
  assert.equal(existsSync(dataRoot), false);
  const ours = (lines: string[] | undefined): string[] => (lines ?? []).filter((line) => line.includes("10.243."));
  const state = machineState();
  assert.deepEqual(ours(state["routes"]), ours(stateBefore["routes"]));
  assert.deepEqual(
    (state["tables"] ?? []).filter((table) => table.includes(instance.name)),
    [],
  );
  assert.deepEqual(
    (state["mounts"] ?? []).filter((mount) => mount.startsWith(instance.folder)),
    [],
  );
});

test("a folder with somebody's data is no data root", () => {
  const taken = join(instance.folder, "taken");
  mkdirSync(taken);
  writeFileSync(join(taken, "precious"), "");
  writeFileSync(file, JSON.stringify({ "data-root": taken }));
  assert.match(failedUp("--config-file", file), /holds data that is not Gantry's/);
  instance.gantry("reset", "--yes");
  assert.deepEqual(readdirSync(taken), ["precious"]);
});
